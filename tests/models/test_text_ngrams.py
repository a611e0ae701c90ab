"""N-grams of texts, against scikit-learn's analyzers."""

from __future__ import annotations

from collections import Counter
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.feature_extraction.text import CountVectorizer

from nlpseq.models.text_ngrams import (
    CHARACTERS,
    KINDS,
    PARTS,
    SECOND_GROUP,
    WORDS,
    NGrams,
    count_ngrams,
    locate_ngrams,
    portions,
    spaced_text,
)

WORD = r"\w+|[^\w\s]"
ODD = [
    "",
    " ",
    "\0",
    "\0\0 a\0",
    "a",
    "猫",
    "don't!",
    "\ud800",
    "a\udfff b",
    "\x1c\x85\u3000",
    "İstanbul ß ŉ",
    "a a  a\n\ta",
]
TEXTS = st.one_of(st.sampled_from(ODD), st.text("aab \0é'.\ud800猫\u2028", max_size=30), st.text(max_size=30))


def analysed(text: str, kind: str) -> list[Counter[str]]:
    """The n-grams of a text by scikit-learn, of both groups."""
    words = CountVectorizer(token_pattern=WORD, ngram_range=(1, 2), lowercase=False).build_analyzer()(text)
    found = CountVectorizer(token_pattern=WORD, lowercase=False).build_analyzer()(text)
    parts = CountVectorizer(analyzer="char_wb", ngram_range=(2, 5), lowercase=False).build_analyzer()
    characters = CountVectorizer(analyzer="char", ngram_range=(1, 3), lowercase=False).build_analyzer()
    if kind == CHARACTERS:
        return [Counter(characters(f" {' '.join(text.split())} ") if text.split() else []), Counter()]
    return [Counter(words), Counter(parts(" ".join(found)) if kind == PARTS else [])]


def located(text: str, kind: str) -> list[Counter[str]]:
    """Our n-grams of a text, spelled, of both groups."""
    spaced, spans = spaced_text(text, kind), locate_ngrams(text, kind)
    groups: list[Counter[str]] = [Counter(), Counter()]
    for start, end, key in zip(*spans, strict=True):
        groups[int(key >= SECOND_GROUP)][spaced[start:end]] += 1
    return groups


def table(found: NGrams, texts: int) -> dict[int, tuple[int, ...]]:
    """The counts in each text, by key."""
    counts: dict[int, list[int]] = {}
    for text, key, count in zip(*found, strict=True):
        counts.setdefault(int(key), [0] * texts)[int(text)] = int(count)
    return {key: tuple(row) for key, row in counts.items()}


@pytest.mark.parametrize("kind", KINDS)
@given(texts=st.lists(TEXTS, max_size=6))
def test_ngrams_are_those_of_scikit_learn(kind: str, texts: list[str]) -> None:
    assert [located(text, kind) for text in texts] == [analysed(text, kind) for text in texts]


@pytest.mark.parametrize("kind", KINDS)
@given(texts=st.lists(TEXTS, max_size=6))
def test_each_text_is_counted_as_by_scikit_learn(kind: str, texts: list[str]) -> None:
    found = table(count_ngrams(texts, kind), len(texts))
    oracle = [analysed(text, kind) for text in texts]
    for group in (0, 1):
        keys = [row for key, row in found.items() if (key >= int(SECOND_GROUP)) == bool(group)]
        ngrams = {ngram for counts in oracle for ngram in counts[group]}
        assert Counter(keys) == Counter(tuple(counts[group][ngram] for counts in oracle) for ngram in ngrams)


@pytest.mark.parametrize("kind", KINDS)
@given(texts=st.lists(TEXTS, max_size=6), characters=st.integers(1, 40))
def test_portions_change_nothing(kind: str, texts: list[str], characters: int) -> None:
    whole = count_ngrams(texts, kind)
    assert np.array_equal(whole.texts, np.sort(whole.texts))
    parts, first = [], 0
    for portion in portions(texts, characters):
        assert len(portion) == 1 or sum(map(len, portion)) <= characters
        assert portion == texts[first : first + len(portion)]
        found = count_ngrams(portion, kind)
        parts.append(found._replace(texts=found.texts + first))
        first += len(portion)
    assert first == len(texts)
    for name in NGrams._fields:
        joined = np.concatenate([getattr(part, name) for part in parts] or [np.empty(0, np.int64)])
        assert np.array_equal(getattr(whole, name), joined)


@pytest.mark.parametrize("kind", KINDS)
def test_a_text_of_a_megabyte(kind: str) -> None:
    words = [f"{'st' * (index % 3)}{chr(97 + index % 23)}{index % 7}" for index in range(60)]
    text = " ".join(np.random.default_rng(1).choice(words, 200_000))
    assert len(text) > 1_000_000
    expected = [count for counts in analysed(text, kind) for count in counts.values()]
    found = count_ngrams([text, "st"], kind)
    assert sorted(found.counts[found.texts == 0].tolist()) == sorted(expected)


@pytest.mark.parametrize("kind", [WORDS, PARTS])
def test_words_of_few_letters_have_keys_of_their_own(kind: str) -> None:
    letters = "abcdefghijklmnop"
    words = [*letters, *map("".join, product(letters, letters))]
    text = " ".join(f"{first} {second}" for first in words for second in words)
    counts = analysed(text, kind)
    keys = count_ngrams([text], kind).keys
    different = sum(map(len, counts))
    assert different > 70_000
    assert different - 10 <= len(keys) <= different  # one or two collide by chance


@pytest.mark.parametrize("kind", KINDS)
def test_blank_texts_have_no_ngrams(kind: str) -> None:
    for texts in ([], [""], [" \n", ""], ["\u3000"]):
        assert all(len(values) == 0 for values in count_ngrams(texts, kind))
    assert set(count_ngrams(["", "a", " "], kind).texts.tolist()) == {1}
    assert all(len(values) == 0 for values in locate_ngrams(" ", kind))
