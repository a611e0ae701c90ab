"""Generates many texts on a device, which draws blocks of tokens while the host turns them into text.

While the host spells a block, the device draws the next. The host watches stop strings and lengths, and cuts a text
inside a block. It removes stopped texts once they are half of the batch, because every change of the batch needs a new
graph. If memory does not hold all texts, halves of them run one after the other.

The tokens of a text depend on the random seed and on the number of the text, not on the texts beside it.
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
EVEN = 64  # larger batches are multiples of this, smaller batches powers of two


@dataclass(frozen=True)
class PaddedBatch:
    """Texts in the first rows of a batch; its other rows are padding."""

    texts: tuple[int, ...]
    batch: Batch

    def take(self, rows: Sequence[int]) -> PaddedBatch:
        """The texts in `rows`."""
        return PaddedBatch(tuple(self.texts[row] for row in rows), self.batch.take(filled_up(rows)))


def filled_up(rows: Sequence[int]) -> list[int]:
    """One or more rows, with the last row repeated up to an allowed size of batches."""
    size = len(rows)
    even = 1 << (size - 1).bit_length() if size <= EVEN else -(-size // EVEN) * EVEN
    return [*rows, *[rows[-1]] * (even - size)]


class BatchedTexts:
    """B texts on a device, each at the end of its prompt."""

    def __init__(self, steps: BatchedSteps, state: LanguageModelState) -> None:
        self.steps = steps
        self._start = state
        self._batches: list[PaddedBatch] = []
        self._first: list[int] = []  # tokens of the first text

    @property
    def state(self) -> LanguageModelState:
        """The state of the first text after its last token; it is computed again, because blocks end elsewhere."""
        first = language_model.take_texts(self._start, slice(1))
        return read_prompts(self.steps.weights, self.steps.options, [np.array(self._first, np.int64)], first)

    def lengthen(self, texts: Sequence[Continuation], length: int, block: int = BLOCK) -> Iterator[None]:
        """Lengthen each text by `block` tokens at a time until it stops or is `length` long; yields after each block.

        Raises BackendError if the device's memory does not hold a single text.
        """
        recent = arrays.from_numpy(self._recent(texts, length), self._start.recent)
        batch = PaddedBatch(tuple(range(len(texts))), Batch(self._start, recent))
        self._batches = [batch.take(range(len(texts)))]
        launched = block
        coming = self._launch(texts, block)
        while coming:
            following = self._launch(texts, block) if launched < length else []
            launched += block
            for batch, tokens in coming:
                self._hand_out(batch, tokens.wait(), texts, length)
            yield
            coming = [] if all(text.stopped for text in texts) else following

    def _recent(self, texts: Sequence[Continuation], length: int) -> np.ndarray:
        """The tokens [B, W] that a repetition penalty starts with, padded with the size of the vocabulary."""
        known = [text.sampler.recent for text in texts]
        options = self.steps.sampling
        widest = 0 if options.repetition_penalty == 1 else max(map(len, known)) + length
        recent = np.full((len(texts), min(options.repetition_window, widest)), self.steps.vocabulary_size, np.int64)
        for row, tokens in zip(recent, known, strict=True):
            row[len(row) - len(tokens) :] = tokens
        return recent

    def _launch(self, texts: Sequence[Continuation], block: int) -> list[tuple[PaddedBatch, Coming]]:
        """Let the device draw the next block of all texts that have not stopped."""
        launched: list[tuple[PaddedBatch, Coming]] = []
        for batch in self._batches:
            rows = [row for row, text in enumerate(batch.texts) if not texts[text].stopped]
            if rows:
                smaller = batch.take(rows) if 2 * len(rows) <= len(batch.texts) else batch
                launched += self._advance(smaller, texts, block)
        self._batches = [batch for batch, _ in launched]
        return launched

    def _advance(
        self, batch: PaddedBatch, texts: Sequence[Continuation], block: int
    ) -> list[tuple[PaddedBatch, Coming]]:
        uniforms = np.zeros((block, len(batch.batch.recent)))
        for row, text in enumerate(batch.texts):
            uniforms[:, row] = texts[text].sampler.uniforms(block)
        return in_halves(partial(self._advance_rows, batch, uniforms), range(len(batch.texts)))

    def _advance_rows(
        self, batch: PaddedBatch, uniforms: np.ndarray, rows: Sequence[int]
    ) -> tuple[PaddedBatch, Coming]:
        if len(rows) < len(batch.texts):  # memory did not hold all rows
            self.steps.forget()
            batch, uniforms = batch.take(rows), uniforms[:, filled_up(rows)]
        after, coming = self.steps.advance(batch.batch, uniforms)
        return PaddedBatch(batch.texts, after), coming

    def _hand_out(self, batch: PaddedBatch, drawn: Drawn, texts: Sequence[Continuation], length: int) -> None:
        """Give each text its tokens of a block, up to the token at which it stops."""
        columns = zip(batch.texts, drawn.tokens.T.tolist(), drawn.log_probabilities.T.tolist(), strict=False)
        for index, tokens, log_probabilities in columns:
            text = texts[index]
            if text.stopped:
                continue
            left = length - text.tokens
            taken = text.add_all(tokens[:left], log_probabilities[:left])
            if index == 0:
                self._first += tokens[:taken]
            if not text.stopped and text.tokens == length:
                text.finish()


class DeviceEngine:
    """How texts grow on a device: an `Engine` of `nlpseq.decoding.engine`."""

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
        """As `BatchedTexts.lengthen`, with blocks of a single token if each is to be shown `at_once`."""
        return steps.lengthen(texts, length, 1 if at_once else BLOCK)
