"""The linear model of n-grams, against dense features of scikit-learn."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.feature_extraction.text import CountVectorizer, TfidfTransformer

from nlpseq.models.linear import LinearModel, Vocabulary, network_weights
from nlpseq.models.text_ngrams import CHARACTERS, KINDS, PARTS, SECOND_GROUP, locate_ngrams, spaced_text

Close = Callable[..., None]

TRAIN = ["a dull film", "the film was fine, fine, fine", "not dull!", "où est le film?", "a cat", "a a a b"] * 2
OTHERS = [
    "a fine film, not dull",
    "",
    "x",
    "cats; cats? cats!",
    "THE film",
    "the the the film " * 20,
    " \n",
    "\ud800 a",
]
WORDS = {"token_pattern": r"\w+|[^\w\s]", "ngram_range": (1, 2), "lowercase": False}
GROUPS = {
    "words": [(WORDS, str)],
    PARTS: [(WORDS, str), ({"analyzer": "char_wb", "ngram_range": (2, 5), "lowercase": False}, "spaced")],
    CHARACTERS: [({"analyzer": "char", "ngram_range": (1, 3), "lowercase": False, "preprocessor": str}, "spaced")],
}


def key_of(ngram: str, kind: str, group: int) -> int:
    """The key of an n-gram of the training texts."""
    for text in TRAIN:
        spaced = spaced_text(text, kind)
        for start, end, key in zip(*locate_ngrams(text, kind), strict=True):
            if spaced[start:end] == ngram and (key >= SECOND_GROUP) == bool(group):
                return int(key)
    raise AssertionError(ngram)


def features(kind: str) -> tuple[Vocabulary, np.ndarray]:
    """A vocabulary of all n-grams of TRAIN, and the dense features [N, F] of OTHERS, both by scikit-learn."""
    keys: list[int] = []
    idf: list[float] = []
    columns: list[np.ndarray] = []
    for group, (settings, form) in enumerate(GROUPS[kind]):
        train, others = (
            [spaced_text(text, kind) if form == "spaced" else text for text in texts] for texts in (TRAIN, OTHERS)
        )
        counts = CountVectorizer(**settings)
        weigh = TfidfTransformer(sublinear_tf=True, smooth_idf=True).fit(counts.fit_transform(train))
        keys += [key_of(ngram, kind, group) for ngram in counts.get_feature_names_out()]
        idf += weigh.idf_.tolist()
        columns.append(weigh.transform(counts.transform(others)).toarray())
    order = np.argsort(keys)
    vocabulary = Vocabulary(kind, np.array(keys, np.uint32)[order], np.array(idf, np.float32)[order])
    return vocabulary, np.hstack(columns)[:, order]


def model_of(vocabulary: Vocabulary, labels: int, columns: int) -> LinearModel:
    generator = np.random.default_rng(3)
    weight = generator.standard_normal((len(vocabulary.keys), columns)).astype(np.float32)
    return LinearModel(vocabulary, weight, generator.standard_normal(labels).astype(np.float32))


@pytest.mark.parametrize(("labels", "columns"), [(3, 3), (2, 2), (1, 1), (70, 70)])
@pytest.mark.parametrize("kind", KINDS)
def test_logits_are_weighted_tfidf_of_each_group(kind: str, labels: int, columns: int, assert_close: Close) -> None:
    vocabulary, dense = features(kind)
    model = model_of(vocabulary, labels, columns)
    assert_close(model.logits(OTHERS), dense @ model.weight + model.bias, "float32")
    assert np.array_equal(model.logits([""])[0], model.bias)
    assert model.logits([]).shape == (0, labels)


@pytest.mark.parametrize("kind", KINDS)
def test_the_logits_of_two_labels_are_opposite(kind: str, assert_close: Close) -> None:
    vocabulary, dense = features(kind)
    model = model_of(vocabulary, 2, 1)
    found = model.logits(OTHERS) - model.bias
    assert_close(found[:, 1], dense @ model.weight[:, 0] / 2, "float32")
    assert np.allclose(found.sum(1), 0, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_a_text_is_judged_to_the_same_bits_whatever_is_beside_it(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    vocabulary, _ = features(kind)
    model = model_of(vocabulary, 3, 3)
    together = model.logits(OTHERS)
    for text, expected in zip(OTHERS, together, strict=True):
        assert np.array_equal(model.logits([text])[0], expected)
    assert np.array_equal(model.logits(OTHERS[::-1])[::-1], together)
    shorter = [text[:5000] for text in OTHERS] * 3
    monkeypatch.setattr("nlpseq.models.text_ngrams.portions.__defaults__", (30,))
    assert np.array_equal(model.logits(shorter)[: len(OTHERS)], together)


@given(
    st.lists(st.integers(0, 2**32 - 1) | st.integers(0, 9) | st.integers(2**32 - 9, 2**32 - 1), unique=True),
    st.lists(st.integers(0, 2**32 - 1) | st.integers(0, 12) | st.integers(2**32 - 12, 2**32 - 1)),
)
def test_keys_are_found_in_a_vocabulary(known: list[int], asked: list[int]) -> None:
    keys = np.array(sorted(known), np.uint32)
    vocabulary = Vocabulary("words", keys, np.ones(len(keys), np.float32))
    found, indices = vocabulary.look_up(np.array(asked, np.uint32))
    assert found.tolist() == [index for index, key in enumerate(asked) if key in known]
    assert keys[indices].tolist() == [key for key in asked if key in known]


def test_keys_that_share_their_leading_bits_are_found() -> None:
    keys = np.concatenate([np.arange(1000), np.arange(1 << 31, (1 << 31) + 3000, 3), [2**32 - 1]]).astype(np.uint32)
    vocabulary = Vocabulary("parts", keys, np.ones(len(keys), np.float32))
    asked = np.concatenate([keys, keys + np.uint32(1), keys - np.uint32(1)])
    found, indices = vocabulary.look_up(asked)
    assert np.array_equal(found, np.flatnonzero(np.isin(asked, keys)))
    assert np.array_equal(keys[indices], asked[found])


@pytest.mark.parametrize(("labels", "columns"), [(3, 3), (2, 1), (1, 1)])
def test_the_arrays_of_a_model_make_it_again(labels: int, columns: int, assert_close: Close) -> None:
    vocabulary, _ = features(PARTS)
    model = model_of(vocabulary, labels, columns)
    arrays: dict[str, Any] = {**model.weights(), "output.bias": np.zeros(labels)}
    again = LinearModel.of(arrays, PARTS)
    assert again is not None and again.vocabulary.kind == PARTS
    assert np.array_equal(again.logits(OTHERS), model.logits(OTHERS))
    scaled = LinearModel.of(model.weights(0.3), PARTS)
    assert scaled is not None
    assert_close(scaled.logits(OTHERS), 0.3 * model.logits(OTHERS), "float32")
    assert network_weights(arrays).keys() == {"output.bias"}


def test_a_classifier_may_be_without_a_linear_model() -> None:
    vocabulary, _ = features(PARTS)
    arrays = model_of(vocabulary, 3, 3).weights()
    assert LinearModel.of(arrays, None) is None
    assert LinearModel.of(arrays, "none") is None
    assert LinearModel.of({"output.bias": np.zeros(3)}, PARTS) is None


def test_a_vocabulary_may_be_empty() -> None:
    bias = np.array([1, -1], np.float32)
    nothing = Vocabulary(PARTS, np.empty(0, np.uint32), np.empty(0, np.float32))
    assert LinearModel(nothing, np.empty((0, 1), np.float32), bias).logits(["a", ""]).tolist() == [[1, -1], [1, -1]]
