"""Beam search on a device: batches of sources to hypotheses, with one transfer for each batch.

The steps of a search are replayed as a graph, one for each shape of a batch. The host never waits for a step: every
LOOK steps it reads which texts were done LOOK steps earlier. The cost is up to 2 * LOOK steps without work at the end.
When half of the texts are done, the others move to a smaller beam, because few texts are much longer than the rest.
Each shape has its own memory, up to MOST_SHAPES shapes; for more shapes all memory is released.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from nlpseq.decoding.beam import BeamOptions, Hypothesis, Rows
from nlpseq.decoding.device.batches import POSITIONS, Capacity, batches, capacity_of, free_bytes, rounded_up
from nlpseq.decoding.device.beam import DeviceBeam
from nlpseq.decoding.device.decoder import DeviceMember, TensorDecoder
from nlpseq.decoding.device.results import Finished, hypotheses
from nlpseq.decoding.ensemble import Member
from nlpseq.device import in_halves
from nlpseq.text.padding import side_by_side
from nlpseq.text.tokenisers import NEWLINE

if TYPE_CHECKING:
    from torch import Tensor

    from nlpseq.kernels.replay import Recorder, Replay

LOOK = 4  # steps
MOST_SHAPES = 40
FEWEST = 64  # a beam must have more texts before they move to a smaller one
STEPS = 64  # the largest number of steps of a beam is rounded up to a multiple of this
ON_A_CPU = Capacity(2048, 4096)


class Shape(NamedTuple):
    """The sizes of a batch."""

    positions: int  # of a source
    texts: int
    steps: int


Advance = Callable[[DeviceBeam], None]


class Watch:
    """Reads which texts are not done, without waiting for the last launched step."""

    def __init__(self, alive: Tensor) -> None:
        self.alive = alive
        self.copy: Any = None
        self.copied: Any = None

    def look(self) -> Rows | None:
        """The rows of texts that are not done: on a GPU at the last look, None at the first; elsewhere at present."""
        import torch

        if not self.alive.is_cuda:
            return np.flatnonzero(self.alive.numpy())
        rows = None
        if self.copy is None:
            self.copy = torch.empty(self.alive.shape, dtype=torch.bool, pin_memory=True)
            self.copied = torch.cuda.Event()  # type: ignore[no-untyped-call]
        else:
            self.copied.synchronize()
            rows = np.flatnonzero(self.copy.numpy())
        self.copy.copy_(self.alive, non_blocking=True)
        self.copied.record()
        return rows


def run(beam: DeviceBeam, steps: tuple[int, int], advance: Advance, few: int = 0) -> tuple[int, Rows]:
    """Run a beam until at most `few` texts are not done; `steps` are the number of past steps and the largest number.

    Returns the number of past steps, and the rows of the texts that are not done.
    """
    watch = Watch(beam.alive)
    step, most = steps
    while step < most:
        advance(beam)
        step += 1
        if step % LOOK == 0 and step < most:
            unfinished = watch.look()
            if unfinished is not None and (not len(unfinished) or (len(unfinished) <= few and step + LOOK < most)):
                return step, unfinished
    return step, np.empty(0, np.int64)


class DeviceSearch:
    """Searches with one or several translators whose weights are tensors."""

    def __init__(self, members: Sequence[Member], options: BeamOptions, recorder: Recorder | None = None) -> None:
        """`recorder` is passed to `Replay`."""
        import torch

        self.options = options
        self.recorder = recorder
        with torch.no_grad():
            self.members = [DeviceMember(member) for member in members]
        self.like: Tensor = self.members[0].bias
        free = free_bytes(self.like)
        models = [(member.weights, member.options) for member in members]
        self.capacity = ON_A_CPU if free is None else capacity_of(free, models, options.beam)
        self.beams: dict[Shape, tuple[TensorDecoder, DeviceBeam]] = {}
        self._replay = self._new_replay()
        self._current: DeviceBeam | None = None

    def batches(self, lengths: Rows) -> Iterator[Rows]:
        """Groups of indices of sources of these lengths to search together."""
        return batches(lengths, lambda: self.capacity)

    def search(
        self, sources: Sequence[Rows], limits: Sequence[int], may_loop: Sequence[bool]
    ) -> list[list[Hypothesis]]:
        """As `beam.search`, for sources that end in their newline.

        If the device's memory does not hold all sources, they are searched in halves. Raises BackendError if it does
        not hold a single source.
        """
        items = list(zip(sources, limits, may_loop, strict=True))
        return [best for half in in_halves(self._try, items) for best in half]

    def _try(self, items: Sequence[tuple[Rows, int, bool]]) -> list[list[Hypothesis]]:
        import torch

        sources, limits, may_loop = zip(*items, strict=True)
        try:
            with torch.no_grad():
                return self.search_batch(sources, limits, may_loop)
        except RuntimeError:
            self.capacity = self.capacity.halved()
            self.forget()
            raise

    def forget(self) -> None:
        """Release all memory."""
        import torch

        self._replay = self._new_replay()
        self.beams.clear()
        self._current = None
        if self.like.is_cuda:
            torch.cuda.empty_cache()

    def _new_replay(self) -> Replay:
        from nlpseq.kernels.replay import Replay

        return Replay(self._step, recorder=self.recorder)

    def search_batch(
        self, sources: Sequence[Rows], limits: Sequence[int], may_loop: Sequence[bool]
    ) -> list[list[Hypothesis]]:
        """As `search`, for sources that fit in the device's memory together."""
        columns, lengths = side_by_side(sources)
        shape = Shape(rounded_up(len(columns), POSITIONS), rounded_up(len(sources)), rounded_up(max(limits) + 1, STEPS))
        decoder, beam = self._beam(shape)
        decoder.read(*_filled_up(columns, lengths, shape))
        beam.reset(limits, may_loop)
        return hypotheses(self._run(shape, np.array(limits)), limits, self.options)

    def _run(self, shape: Shape, limits: Rows) -> list[Finished]:
        """Search until all texts are done, in smaller and smaller beams."""
        finished: list[Finished] = []
        texts, step, unfinished = np.arange(len(limits)), 0, np.arange(len(limits))
        while len(unfinished):
            self._current = beam = self._beam(shape)[1]
            steps = step, int(limits[texts].max()) + 1
            step, unfinished = run(beam, steps, partial(self._advance, shape), self._few(shape))
            ended = np.delete(np.arange(len(texts)), unfinished)
            finished.append(Finished(beam, ended, texts[ended], step))
            if len(unfinished):
                shape = self._move(shape, unfinished, step)
                texts = texts[unfinished]
        return finished

    def _few(self, shape: Shape) -> int:
        """The number of unfinished texts at which they move to a smaller beam; 0: they do not move."""
        return shape.texts // 2 if shape.texts > FEWEST and len(self.beams) < MOST_SHAPES else 0

    def _move(self, shape: Shape, unfinished: Rows, steps: int) -> Shape:
        """Move the unfinished texts to a smaller beam, whose size is a power of two; returns its shape."""
        import torch

        texts = 1 << (len(unfinished) - 1).bit_length()
        smaller = shape._replace(texts=texts)
        (old_decoder, old_beam), (decoder, beam) = self._beam(shape), self._beam(smaller)
        chosen = torch.from_numpy(np.resize(unfinished, texts)).to(self.like.device)
        decoder.take(old_decoder, chosen, beam.take(old_beam, chosen, len(unfinished), steps))
        return smaller

    def _beam(self, shape: Shape) -> tuple[TensorDecoder, DeviceBeam]:
        """The decoder and the beam for batches of a shape."""
        if shape not in self.beams:
            if len(self.beams) == MOST_SHAPES:
                self.forget()
            decoder = TensorDecoder(self.members, self.options.beam, coverage=self.options.coverage_penalty > 0)
            beam = DeviceBeam(decoder, self.options, (shape.texts, shape.steps), (NEWLINE, NEWLINE), self.like)
            self.beams[shape] = decoder, beam
        return self.beams[shape]

    def _advance(self, shape: Shape, beam: DeviceBeam) -> None:
        self._replay(beam.last, key=shape)

    def _step(self, ids: Tensor) -> tuple[Tensor, ...]:
        assert self._current is not None
        self._current.step(ids)
        return ()


def _filled_up(columns: Rows, lengths: Rows, shape: Shape) -> tuple[Rows, Rows]:
    """Sources padded to a shape: with newlines to its positions, and with empty lines to its number of texts."""
    positions, texts, _ = shape
    filled = np.full((positions, texts), NEWLINE, np.int64)
    filled[: columns.shape[0], : columns.shape[1]] = columns
    return filled, np.concatenate([lengths, np.ones(texts - len(lengths), np.int64)])
