"""Word pieces as tokens: sentencepiece's unigram and BPE."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from nlpseq.text.tokenisers.segmentation import CUTS, Segmentations
from nlpseq.text.tokenisers.subwords import SubwordModel, sample_lines, train_subword_model
from nlpseq.text.tokenisers.tokeniser import NUM_BYTES, Tokeniser, damaged


class SubwordTokeniser(Tokeniser):
    """Word pieces of a sentencepiece model; characters that it would change are spelled in bytes."""

    def __init__(self, model: bytes) -> None:
        self._model = SubwordModel(model)
        super().__init__(self._model.units)

    @classmethod
    def train(cls, lines: Iterable[str], vocabulary_size: int) -> Self:
        sample = sample_lines(lines)
        tokeniser = cls(train_subword_model(cls.kind, sample, vocabulary_size - NUM_BYTES))
        tokeniser.learned_from = sum(map(len, sample)) + len(sample)
        return tokeniser

    @classmethod
    def from_payload(cls, payload: Any) -> Self:
        if not isinstance(payload, str):
            raise damaged("the sentencepiece model is not text")
        try:
            return cls(base64.b64decode(payload, validate=True))
        except binascii.Error:
            raise damaged("the sentencepiece model is not base64") from None

    def payload(self) -> Any:
        return base64.b64encode(self._model.model).decode("ascii")

    def encode(self, text: str, *, exact: bool = True) -> NDArray[np.int32]:
        return self._model.encode(text)

    def remember(self, words: int) -> None:
        if self._model.model:
            self._model.words.most = words

    def segmentations(self, dropout: float, seed: int) -> Segmentations:
        """Random segmentations, for which a fraction `dropout` of the merges, or of the pieces, are left out."""
        return Segmentations(CUTS[self.kind], self._model.scores if self.units else {}, NUM_BYTES, dropout, seed)


class UnigramTokeniser(SubwordTokeniser):
    """The pieces with the greatest product of probabilities (Kudo, 2018)."""

    kind = "unigram"
    description = "word pieces by likelihood (sentencepiece)"


class BpeTokeniser(SubwordTokeniser):
    """Pieces from repeatedly merging the most frequent pair (Sennrich et al., 2016)."""

    kind = "bpe"
    description = "word pieces by merging pairs (sentencepiece)"
