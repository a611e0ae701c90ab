"""The nearest text, against scikit-learn's TF-IDF."""

from __future__ import annotations

import numpy as np
import pytest

from nlpseq.evaluation.floors.nearest import NearestText

WORDS = ["the", "a", "dog", "cat", "man", "woman", "red", "blue", ",", ".", "runs", "sleeps", "sees", "über"]


def _texts(count: int, seed: int) -> list[str]:
    generator = np.random.default_rng(seed)
    return [" ".join(generator.choice(WORDS, generator.integers(1, 9))) for _ in range(count)]


def test_it_is_the_largest_cosine_of_tf_idf_vectors() -> None:
    text = pytest.importorskip("sklearn.feature_extraction.text")
    texts, queries = _texts(300, 1), [*_texts(60, 2), "the zebra dog", "The DOG , the dog"]
    vectorizer = text.TfidfVectorizer(token_pattern=r"\w+|[^\w\s]", ngram_range=(1, 2))
    known = vectorizer.fit_transform(texts)
    cosines = (vectorizer.transform(queries) @ known.T).toarray()
    nearest = NearestText(texts)
    for query, row in zip(queries, cosines, strict=True):
        found = nearest.index(query)
        assert found is not None and row[found] == pytest.approx(row.max(), rel=1e-12)


def test_the_first_of_equal_texts_is_found() -> None:
    nearest = NearestText(["a dog", "a cat", "a cat", "no dog"])
    assert nearest.index("A cat") == 1
    assert nearest.index("cat no dog") == 3


@pytest.mark.parametrize("texts", [["a dog", "a cat"], ["", ""], []])
def test_a_text_without_a_known_word_has_no_nearest_text(texts: list[str]) -> None:
    nearest = NearestText(texts)
    assert nearest.index("zebra") is None
    assert nearest.index("") is None


def test_texts_without_spaces_are_compared_by_characters() -> None:
    chinese = ["这个酒店的房间非常干净服务也很好", "这个酒店的房间非常肮脏服务也很差", "我们明天早上去机场坐飞机回家了"]
    nearest = NearestText(chinese)
    assert [nearest.index(text) for text in ("肮脏而且很差", "干净而且很好", "明天回家")] == [1, 0, 2]
