"""Weights of evidence of texts with several labels, against counting with dictionaries."""

from __future__ import annotations

import json
from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from nlpseq.models.evidence import look_up
from nlpseq.text.padding import side_by_side
from nlpseq.training.data import evidence
from nlpseq.training.data.evidence import FOLDS, CrossFitted
from nlpseq.training.data.labels import tokenise_labelled

WORDS = ["fine", "dull", "film", "plot", "not", "very"]


@pytest.mark.parametrize("at_once", [(1 << 16, 1 << 19), (7, 13)])
def test_each_label_is_weighed_against_the_rest(
    at_once: tuple[int, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evidence, "TEXTS_AT_ONCE", at_once[0])
    monkeypatch.setattr(evidence, "TOKENS_AT_ONCE", at_once[1])
    generator = np.random.default_rng(1)
    rows = [
        {"text": " ".join(generator.choice(WORDS, 5)), "label": [label for label in "abc" if generator.random() < 0.4]}
        for _ in range(60)
    ]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    corpus = tokenise_labelled([str(tmp_path / "a.jsonl")], (), tmp_path, tokens="word")
    train, fitted = corpus.train, CrossFitted(corpus, 2)
    folds = np.arange(len(train)) * FOLDS // len(train)
    assert fitted.folds[np.arange(len(train))].tolist() == folds.tolist()

    def ngrams(index: int) -> set[tuple[int, ...]]:
        ids = train.texts[index].tolist()
        return {*((one,) for one in ids), *pairwise(ids)}

    def expected(texts: list[int], ngram: tuple[int, ...]) -> list[float]:
        weights = []
        for label in range(3):
            counts = [Counter[tuple[int, ...]](), Counter[tuple[int, ...]]()]
            for index in texts:
                counts[train.labels[index, label]].update(ngrams(index))
            sizes = [sum(one.values()) for one in counts]
            both = sum(one[ngram] for one in counts)
            lifts = [
                np.log((one[ngram] + 1) / (both * size / sum(sizes) + 1))
                for one, size in zip(counts, sizes, strict=True)
            ]
            weights.append(lifts[1] - lifts[0])
        return weights

    chosen = np.array([0, 17, 40])
    ids, _ = side_by_side([train.texts[index] for index in chosen])
    cross = fitted.of(torch.from_numpy(ids), torch.from_numpy(fitted.folds[chosen])).numpy()
    whole = look_up(fitted.table, ids, corpus.tokeniser.size)
    for column, index in enumerate(chosen.tolist()):
        own, others = list(range(len(train))), [other for other in range(len(train)) if folds[other] != folds[index]]
        text = train.texts[index].tolist()
        for step in range(1, len(text)):
            for order, ngram in enumerate([(text[step],), (text[step - 1], text[step])]):
                part = slice(3 * order, 3 * order + 3)
                assert whole[step, column, part] == pytest.approx(expected(own, ngram), abs=1e-5)
                assert cross[step, column, part] == pytest.approx(expected(others, ngram), abs=1e-5)
    assert not fitted.table[200:256].any(), "what no text has says nothing"
