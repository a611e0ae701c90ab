"""Translating: source texts in batches of about one length through encoder and beam."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from nlpseq.arrays import Array
from nlpseq.decoding.beam import BeamOptions, Hypothesis, Rows, Values, search
from nlpseq.models import translator
from nlpseq.models.attention import Memory
from nlpseq.models.model_file import Model
from nlpseq.models.stack import StackState
from nlpseq.models.translator import LONGEST, Source, TranslatorOptions
from nlpseq.text.tokenisers import NEWLINE

TOKENS_AT_ONCE = 2048  # of sources, padding included
LONGER = 2  # a translation has at most so many times the tokens of its source
AND_MORE = 20  # and so many more


class Translation(NamedTuple):
    """One translation of a line."""

    text: str
    log_probability: float  # nats, the end included
    score: float  # what translations are ranked by


class TranslationDecoder:
    """The decoder of some source texts, as `nlpseq.decoding.beam` asks for it."""

    def __init__(self, weights: translator.Weights, options: TranslatorOptions, source: Source, width: int) -> None:
        self.weights = weights
        self.options = options
        self.memory: Memory = source.memory
        batch = source.memory.values.shape[0]
        self.state: StackState = _take(source.state, np.arange(batch).repeat(width))

    def step(self, ids: Rows) -> Values:
        """Logits [B * K, V] of what follows."""
        logits, self.state, _ = translator.step(self.weights, self.options, ids, self.memory, self.state)
        found: Values = logits
        return found

    def select(self, texts: Rows, rows: Rows) -> None:
        """Go on with some texts and hypotheses."""
        if len(texts) < len(self.memory.values):
            self.memory = Memory(*(one[texts] for one in self.memory))
        self.state = _take(self.state, rows)


def _take(state: StackState, rows: Rows) -> StackState:
    def take(value: Array) -> Array:
        return value[rows]

    return tuple(tuple(type(one)(*map(take, one)) for one in layer) for layer in state)


class Translations:
    """A translator at work on lines."""

    def __init__(self, model: Model, options: TranslatorOptions, beam: BeamOptions) -> None:
        self.model = model
        self.options = options
        self.beam = beam

    def translate(self, lines: Sequence[str]) -> list[list[Translation]]:
        """The best translations of each line, best first; of a blank line "", of too long a line none."""
        ids = [translator.line_ids(self.model.tokeniser, line) for line in lines]
        found = [[] if len(one) > LONGEST else [Translation("", 0.0, 0.0)] for one in ids]
        waiting = [number for number, line in enumerate(lines) if line.strip() and len(ids[number]) <= LONGEST]
        waiting.sort(key=lambda number: len(ids[number]))
        while waiting:
            count = 1
            while count < len(waiting) and (count + 1) * len(ids[waiting[count]]) <= TOKENS_AT_ONCE:
                count += 1
            group, waiting = waiting[:count], waiting[count:]
            for number, best in zip(group, self._translate([ids[one] for one in group]), strict=True):
                found[number] = [Translation(self._spell(one.tokens), one.log_probability, one.score) for one in best]
        return found

    def _spell(self, tokens: Sequence[int]) -> str:
        """Tokens as text; bytes that are no character become U+FFFD."""
        return self.model.tokeniser.decode_bytes(tokens).decode("utf-8", "replace")

    def _translate(self, sources: Sequence[Rows]) -> list[list[Hypothesis]]:
        columns, lengths = translator.side_by_side(sources)
        source = translator.encode(self.model.weights, self.options, columns, lengths)
        decoder = TranslationDecoder(self.model.weights, self.options, source, self.beam.beam)
        limits = [LONGER * length + AND_MORE for length in lengths.tolist()]
        return search(decoder, limits, NEWLINE, NEWLINE, self.beam)
