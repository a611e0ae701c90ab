"""Weights of evidence, against counting with dictionaries."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from nlpseq.models import classifier
from nlpseq.models.classifier import ClassifierOptions
from nlpseq.models.evidence import BUCKETS, evidence_rows, look_up, table_rows, weigh
from nlpseq.text.padding import side_by_side
from nlpseq.text.tokenisers import NEWLINE
from nlpseq.training.data import evidence
from nlpseq.training.data.evidence import FOLDS, CrossFitted
from nlpseq.training.data.labels import LabelledCorpus, tokenise_labelled

Close = Callable[..., None]
WORDS = ["fine", "dull", "film", "plot", "not", "very"]


@pytest.fixture
def corpus(tmp_path: Path) -> LabelledCorpus:
    """Sixty texts of words by chance, in three labels."""
    generator = np.random.default_rng(1)
    rows = [f"{'abc'[place % 3]}\t{' '.join(generator.choice(WORDS, 5))}" for place in range(60)]
    (tmp_path / "texts.tsv").write_text("label\ttext\n" + "\n".join(rows) + "\n")
    return tokenise_labelled([str(tmp_path / "texts.tsv")], (), tmp_path, tokens="word")


def _ngrams(text: np.ndarray, longest: int) -> list[tuple[int, ...]]:
    """Of each length up to `longest` those that end in each token and begin within the text."""
    ids = text.tolist()
    return [tuple(ids[place - order : place + 1]) for order in range(longest) for place in range(order, len(ids))]


@pytest.mark.parametrize("at_once", [(1 << 16, 1 << 19), (7, 1 << 19), (1 << 16, 30), (7, 13)])
def test_they_are_counted_on_the_other_folds(
    at_once: tuple[int, int], corpus: LabelledCorpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evidence, "TEXTS_AT_ONCE", at_once[0])
    monkeypatch.setattr(evidence, "TOKENS_AT_ONCE", at_once[1])
    longest, train = 2, corpus.train
    fitted = CrossFitted(corpus, longest)
    folds = np.zeros(len(train), int)
    for label in range(3):
        places = np.flatnonzero(train.labels == label)
        folds[places] = np.arange(len(places)) * FOLDS // len(places)
    everything = [Counter[tuple[int, ...]]() for _ in range(3)]
    others = [[Counter[tuple[int, ...]]() for _ in range(3)] for _ in range(FOLDS)]
    for place in range(len(train)):
        seen = set(_ngrams(train.texts[place], longest))
        everything[train.labels[place]].update(seen)
        for fold in set(range(FOLDS)) - {folds[place]}:
            others[fold][train.labels[place]].update(seen)

    def expected(counts: list[Counter[tuple[int, ...]]], ngram: tuple[int, ...]) -> np.ndarray:
        totals = np.array([sum(one.values()) for one in counts], float)
        share = totals / totals.mean()
        found = np.log([(one[ngram] + part) / part for one, part in zip(counts, share, strict=True)])
        return found - found.mean()

    chosen = np.array([0, 17, 40])
    ids, _ = side_by_side([train.texts[place] for place in chosen])
    cross = fitted.of(torch.from_numpy(ids), torch.from_numpy(fitted.folds[chosen])).numpy()
    whole = look_up(fitted.table, ids, corpus.tokeniser.size)
    assert cross.shape == whole.shape == (*ids.shape, 2 * 3)
    for column, place in enumerate(chosen):
        text = train.texts[place].tolist()
        for step in range(1, len(text)):
            for order in (1, 2):
                ngram, part = tuple(text[step - order + 1 : step + 1]), slice(3 * order - 3, 3 * order)
                assert cross[step, column, part] == pytest.approx(expected(others[folds[place]], ngram), abs=1e-5)
                assert whole[step, column, part] == pytest.approx(expected(everything, ngram), abs=1e-5)


def test_what_nobody_has_seen_says_nothing_however_unequal_labels_are() -> None:
    weights = weigh(np.array([[0, 0], [90, 10], [9, 1], [1, 90]]))
    assert weights[0] == pytest.approx([0, 0], abs=1e-6)
    assert weights.sum(1) == pytest.approx(np.zeros(4), abs=1e-5)
    assert weights[3, 1] > 1 > weights[2, 0]


def test_rows_are_of_the_table_and_of_the_ngram(assert_close: Close) -> None:
    ids = np.random.default_rng(1).integers(0, 300, (50, 7))
    rows = evidence_rows(ids, 3, 300)
    assert len(rows) == 3 and np.array_equal(rows[0], ids)
    for order, one in enumerate(rows[1:], 1):
        low = 300 + (order - 1) * BUCKETS
        assert one.min() >= low and one.max() < low + BUCKETS < table_rows(3, 300) + 1
    again = evidence_rows(np.concatenate([np.full((1, 7), NEWLINE), ids]), 3, 300)
    assert all(np.array_equal(one[1:], other) for one, other in zip(again, rows, strict=True))
    table = np.random.default_rng(2).standard_normal((table_rows(2, 300), 2)).astype(np.float32)
    assert_close(look_up(torch.from_numpy(table), torch.from_numpy(ids), 300), look_up(table, ids, 300))


def test_a_model_reads_its_table_and_padding_says_nothing(assert_close: Close) -> None:
    options = ClassifierOptions(hidden_size=4, embedding_size=3, bidirectional=True, ngrams=1, evidence=2)
    weights = classifier.initial_weights(options, 300, np.array([1, 1]), 1)
    table = np.random.default_rng(2).standard_normal((table_rows(2, 300), 2)).astype(np.float32)
    texts = [np.arange(3, 9), np.arange(5), np.arange(20)]
    held = {**weights, "evidence.table": table}
    together = classifier.logits(held, options, classifier.read(held, options, *side_by_side(texts)))
    for place, text in enumerate(texts):
        column, lengths = side_by_side([text])
        given = look_up(table, column, 300)
        outputs = classifier.read(weights, options, column, lengths, evidence=given)
        assert_close(outputs.evidence, given[:, 0].sum(0)[None] / len(text) ** 0.5, "float32")
        assert_close(classifier.logits(weights, options, outputs)[0], together[place], "float32")
