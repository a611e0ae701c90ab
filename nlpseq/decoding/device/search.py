"""Beam search on a device: batches of sources in, hypotheses out, with one transfer a batch.

The steps of a search are replayed as a graph, one for each shape of a batch. The host never waits for a step: every
LOOK steps it reads which texts were done at the look before. The cost is up to 2 * LOOK steps without work at the end.
When half of the texts are done, the others move to a smaller beam, since few texts are much longer than the rest. Each
shape has memory of its own, up to MOST_SHAPES shapes; beyond that all memory is released.
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
FEWEST = 64  # texts of a beam that texts leave for a smaller one
STEPS = 64  # the most steps of a beam are rounded up to a multiple of this
ON_A_CPU = Capacity(2048, 4096)


class Shape(NamedTuple):
    """The sizes of a batch."""

    positions: int  # of a source
    texts: int
    steps: int


Advance = Callable[[DeviceBeam], None]


class Watch:
    """Reads which texts are not done yet, without waiting for the step that was launched last."""

    def __init__(self, alive: Tensor) -> None:
        self.alive = alive
        self.copy: Any = None
        self.copied: Any = None

    def look(self) -> Rows | None:
        """The rows of these texts: on a GPU as of the look before, None at the first look; elsewhere as of now."""
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
    """Make steps, from a number made up to a greatest number, until at most `few` texts are not done.

    Returns the number of steps made, and the rows of the texts that are not done.
    """
    watch = Watch(beam.alive)
    made, most = steps
    while made < most:
        advance(beam)
        made += 1
        if made % LOOK == 0 and made < most:
            left = watch.look()
            if left is not None and (not len(left) or (len(left) <= few and made + LOOK < most)):
                return made, left
    return made, np.empty(0, np.int64)


class DeviceSearch:
    """The search of one or several translators whose weights are tensors."""

    def __init__(self, members: Sequence[Member], options: BeamOptions, recorder: Recorder | None = None) -> None:
        """`recorder` is that of `Replay`."""
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
        """The indices of sources of these lengths that are searched together."""
        return batches(lengths, lambda: self.capacity)

    def search(
        self, sources: Sequence[Rows], limits: Sequence[int], may_loop: Sequence[bool]
    ) -> list[list[Hypothesis]]:
        """As `beam.search`, of sources each with its newline.

        Sources that the device's memory does not hold together are searched in halves. Raises BackendError if it does
        not hold a single one.
        """
        items = list(zip(sources, limits, may_loop, strict=True))
        return [found for half in in_halves(self._try, items) for found in half]

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
        """As `search`, of sources that the device's memory holds together."""
        columns, lengths = side_by_side(sources)
        shape = Shape(rounded_up(len(columns), POSITIONS), rounded_up(len(sources)), rounded_up(max(limits) + 1, STEPS))
        decoder, beam = self._beam(shape)
        decoder.read(*_filled_up(columns, lengths, shape))
        beam.reset(limits, may_loop)
        return hypotheses(self._run(shape, np.array(limits)), limits, self.options)

    def _run(self, shape: Shape, limits: Rows) -> list[Finished]:
        """Search until all texts are done, in smaller and smaller beams."""
        finished: list[Finished] = []
        texts, made, left = np.arange(len(limits)), 0, np.arange(len(limits))
        while len(left):
            self._current = beam = self._beam(shape)[1]
            steps = made, int(limits[texts].max()) + 1
            made, left = run(beam, steps, partial(self._advance, shape), self._few(shape))
            ended = np.delete(np.arange(len(texts)), left)
            finished.append(Finished(beam, ended, texts[ended], made))
            if len(left):
                shape = self._move(shape, left, made)
                texts = texts[left]
        return finished

    def _few(self, shape: Shape) -> int:
        """The number of texts from which on they move to a smaller beam; 0: they do not move."""
        return shape.texts // 2 if shape.texts > FEWEST and len(self.beams) < MOST_SHAPES else 0

    def _move(self, shape: Shape, left: Rows, steps: int) -> Shape:
        """Move the texts that are left to a smaller beam, for a power of two of them; returns its shape."""
        import torch

        texts = 1 << (len(left) - 1).bit_length()
        smaller = shape._replace(texts=texts)
        (old, beam), (decoder, taker) = self._beam(shape), self._beam(smaller)
        chosen = torch.from_numpy(np.resize(left, texts)).to(self.like.device)
        decoder.take(old, chosen, taker.take(beam, chosen, len(left), steps))
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
    """Sources padded with newlines to the positions and with empty lines to the texts of a shape."""
    positions, texts, _ = shape
    filled = np.full((positions, texts), NEWLINE, np.int64)
    filled[: columns.shape[0], : columns.shape[1]] = columns
    return filled, np.concatenate([lengths, np.ones(texts - len(lengths), np.int64)])
