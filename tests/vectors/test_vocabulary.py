"""Nearest words of an embedding, against a sort of all cosines."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from nlpseq.errors import OptionError
from nlpseq.models.model_file import Model, load_model
from nlpseq.vectors.vocabulary import Vocabulary

MakeModel = Callable[..., Path]


def _expected(model: Model, ids: list[int], first: int) -> list[str]:
    table = model.weights["embedding.weight"].astype(np.float64)
    vector = table[ids].mean(0)
    cosines = table @ vector / np.linalg.norm(table, axis=1) / np.linalg.norm(vector)
    known = [token for token in range(first, len(table)) if not model.tokeniser.spell(token).startswith("<0x")]
    order = sorted(known, key=lambda token: -cosines[token])
    return [model.tokeniser.spell(token) for token in order if token not in ids]


@pytest.mark.parametrize(("kind", "word", "first"), [("word", "cat", 256), ("char", "c", 0), ("bpe", "cat", 256)])
def test_the_nearest_words_are_those_of_a_whole_sort(make_model: MakeModel, kind: str, word: str, first: int) -> None:
    model = load_model(make_model(kind))
    tokens = min(model.tokeniser.encode(" " + word), model.tokeniser.encode(word), key=len).tolist()
    ids = sorted({token for token in tokens if kind != "word" or token != 32})
    expected = _expected(model, ids, first)
    found = Vocabulary(model).nearest(word, 4)
    assert [each.word for each in found] == expected[:4]
    assert [each.similarity for each in found] == sorted((each.similarity for each in found), reverse=True)
    assert len(Vocabulary(model).nearest(word, 10_000)) == len(expected)


def test_a_word_that_is_not_known_is_told_with_one_that_is(make_model: MakeModel) -> None:
    vocabulary = Vocabulary(load_model(make_model("word")))
    with pytest.raises(OptionError, match=r"^word: must be in the model's vocabulary, was 'catt'") as refused:
        vocabulary.nearest("catt", 3)
    assert refused.value.hint == "did you mean cat?"
    with pytest.raises(OptionError, match="must not be blank"):
        vocabulary.nearest(" ", 3)


def test_two_words_have_the_mean_of_their_vectors(make_model: MakeModel) -> None:
    model = load_model(make_model("word"))
    ids = model.tokeniser.encode("cat dog").tolist()
    assert [each.word for each in Vocabulary(model).nearest("cat dog", 3)] == _expected(model, ids, 256)[:3]


@pytest.mark.parametrize(
    ("kind", "word", "tokens", "count"),
    [("word", "cat", "words", 1), ("char", "cat", "characters", 3), ("byte", "é", "bytes", 2)],
)
def test_a_vocabulary_says_what_its_tokens_are(
    make_model: MakeModel, kind: str, word: str, tokens: str, count: int
) -> None:
    vocabulary = Vocabulary(load_model(make_model(kind)))
    assert (vocabulary.tokens, vocabulary.count(word)) == (tokens, count)


def test_a_byte_that_is_no_character_is_not_found(make_model: MakeModel) -> None:
    found = [each.word for each in Vocabulary(load_model(make_model("byte"))).nearest("a", 300)]
    assert 80 < len(found) < 110 and not any("<0x" in word for word in found)
