"""Many texts in the making on a device: blocks of tokens come from there, and the host makes text of them.

While the host spells one block, the device makes the next. Stop strings and lengths are the host's business: it cuts a
text inside a block, and takes texts that have stopped out of the batch once they are half of it, for every change of
the batch is a new graph. Where memory does not hold all texts, they go on in halves, one after the other.

What a text draws depends on the random seed and the text's number, not on the texts beside it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from nlpseq import arrays
from nlpseq.decoding.continuation import Continuation
from nlpseq.decoding.device.prompts import read_prompts
from nlpseq.decoding.device.steps import Batch, BatchedSteps, Coming, Drawn
from nlpseq.decoding.sampling import SamplingOptions
from nlpseq.device import in_halves
from nlpseq.models import language_model
from nlpseq.models.language_model import LanguageModelOptions, LanguageModelState, Weights

BLOCK = 16  # tokens of each text between two transfers
SIDE_BY_SIDE = 1024  # texts
EVEN = 64  # beyond it batches are multiples of it, up to there powers of two


@dataclass(frozen=True)
class Part:
    """Some of the texts, in the first rows of a batch; the rows after them are there for the batch's size only."""

    texts: tuple[int, ...]
    batch: Batch

    def take(self, rows: Sequence[int]) -> Part:
        """Those of the texts that stand in some rows."""
        return Part(tuple(self.texts[row] for row in rows), self.batch.take(filled_up(rows)))


def filled_up(rows: Sequence[int]) -> list[int]:
    """Rows, one or more, and the last of them again and again, up to a size that batches have."""
    size = len(rows)
    even = 1 << (size - 1).bit_length() if size <= EVEN else -(-size // EVEN) * EVEN
    return [*rows, *[rows[-1]] * (even - size)]


class BatchedTexts:
    """B texts on a device, each as far as its prompt."""

    def __init__(self, steps: BatchedSteps, state: LanguageModelState) -> None:
        self.steps = steps
        self._begun = state
        self._parts: list[Part] = []
        self._first: list[int] = []  # tokens of the first text

    @property
    def state(self) -> LanguageModelState:
        """The state of the first text after all its tokens: it is read again, for blocks end elsewhere."""
        one = language_model.take_texts(self._begun, slice(1))
        return read_prompts(self.steps.weights, self.steps.options, [np.array(self._first, np.int64)], one)

    def lengthen(self, texts: Sequence[Continuation], length: int, block: int = BLOCK) -> Iterator[None]:
        """Lengthen each text by `block` tokens at a time until it stops or is `length` long; yields after each block.

        Raises BackendError where the device's memory does not hold a single text.
        """
        recent = arrays.from_numpy(self._recent(texts, length), self._begun.recent)
        self._parts = [Part(tuple(range(len(texts))), Batch(self._begun, recent)).take(range(len(texts)))]
        launched = block
        coming = self._launch(texts, block)
        while coming:
            following = self._launch(texts, block) if launched < length else []
            launched += block
            for part, one in coming:
                self._hand_out(part, one.wait(), texts, length)
            yield
            coming = [] if all(text.stopped for text in texts) else following

    def _recent(self, texts: Sequence[Continuation], length: int) -> np.ndarray:
        """The tokens [B, W] that a repetition penalty begins with; the size of the vocabulary fills up a row."""
        known = [text.sampler.recent for text in texts]
        options = self.steps.sampling
        widest = 0 if options.repetition_penalty == 1 else max(map(len, known)) + length
        recent = np.full((len(texts), min(options.repetition_window, widest)), self.steps.vocabulary_size, np.int64)
        for row, tokens in zip(recent, known, strict=True):
            row[len(row) - len(tokens) :] = tokens
        return recent

    def _launch(self, texts: Sequence[Continuation], block: int) -> list[tuple[Part, Coming]]:
        """Have the device make the next block of all texts that go on."""
        made: list[tuple[Part, Coming]] = []
        for part in self._parts:
            rows = [row for row, text in enumerate(part.texts) if not texts[text].stopped]
            if rows:
                going = part.take(rows) if 2 * len(rows) <= len(part.texts) else part
                made += self._advance(going, texts, block)
        self._parts = [part for part, _ in made]
        return made

    def _advance(self, part: Part, texts: Sequence[Continuation], block: int) -> list[tuple[Part, Coming]]:
        uniforms = np.zeros((block, len(part.batch.recent)))
        for row, text in enumerate(part.texts):
            uniforms[:, row] = texts[text].sampler.uniforms(block)
        return in_halves(partial(self._advance_some, part, uniforms), range(len(part.texts)))

    def _advance_some(self, part: Part, uniforms: np.ndarray, rows: Sequence[int]) -> tuple[Part, Coming]:
        if len(rows) < len(part.texts):  # memory did not hold them all
            self.steps.forget()
            part, uniforms = part.take(rows), uniforms[:, filled_up(rows)]
        batch, coming = self.steps.advance(part.batch, uniforms)
        return Part(part.texts, batch), coming

    def _hand_out(self, part: Part, drawn: Drawn, texts: Sequence[Continuation], length: int) -> None:
        """Give each text its tokens of a block, up to where it stops."""
        columns = zip(part.texts, drawn.tokens.T.tolist(), drawn.log_probabilities.T.tolist(), strict=False)
        for place, tokens, likely in columns:
            text = texts[place]
            if text.stopped:
                continue
            left = length - text.tokens
            taken = text.add_all(tokens[:left], likely[:left])
            if not place:
                self._first += tokens[:taken]
            if not text.stopped and text.tokens == length:
                text.finish()


class DeviceEngine:
    """How texts are made on a device: what `nlpseq.decoding.generation` asks for."""

    side_by_side = SIDE_BY_SIDE

    def __init__(self, weights: Weights, options: LanguageModelOptions, sampling: SamplingOptions) -> None:
        """`weights` are tensors."""
        self.weights = weights
        self.options = options
        self.steps = BatchedSteps(weights, options, sampling)

    def read(self, prompts: Sequence[np.ndarray], start: LanguageModelState) -> LanguageModelState:
        """The state after each prompt's ids, each from the state `start` of one text."""
        return read_prompts(self.weights, self.options, prompts, start)

    def begin(self, state: LanguageModelState) -> BatchedTexts:
        """Texts that go on from a state."""
        return BatchedTexts(self.steps, state)

    def lengthen(
        self, steps: BatchedTexts, texts: Sequence[Continuation], length: int, *, at_once: bool
    ) -> Iterator[None]:
        """As `BatchedTexts.lengthen`, a token at a time where each is to be seen `at_once`."""
        return steps.lengthen(texts, length, 1 if at_once else BLOCK)
