"""Scores are what their formulas say, and carry their parts and their signature."""

from __future__ import annotations

import json
import math

import pytest

from nlpseq.evaluation.scores import Score, TextSize, language_model_scores


def test_a_text_is_measured_in_every_unit() -> None:
    size = TextSize()
    size.add("a bé  c\n")
    size.add("\nd\n")
    assert (size.words, size.characters, size.bytes) == (4 + 3, 11, 12)


def test_bytes_that_are_no_text_are_counted_as_bytes() -> None:
    size = TextSize()
    size.add(b"\xff\n".decode("utf-8", "surrogateescape"))
    assert (size.characters, size.bytes) == (2, 2)


def test_scores_are_their_formulas() -> None:
    scores = language_model_scores(693.0, TextSize(tokens=500, words=100, characters=1000, bytes=1100), "tok:x")
    found = {(score.name, score.unit): score.value for score in scores}
    assert found == pytest.approx(
        {
            ("loss", "token"): 1.386,
            ("perplexity", "token"): math.exp(1.386),
            ("perplexity", "word"): math.exp(6.93),
            ("bits_per_byte", "byte"): 693 / 1100 / math.log(2),
            ("bits_per_character", "character"): 693 / 1000 / math.log(2),
        }
    )


def test_a_uniform_model_has_the_perplexity_of_its_vocabulary() -> None:
    scores = language_model_scores(50 * math.log(64), TextSize(tokens=50, words=10, characters=50, bytes=50), "")
    assert scores[1].value == pytest.approx(64)
    assert scores[3].value == pytest.approx(6), "six bits tell 64 bytes apart"


def test_a_score_carries_parts_and_signature_as_json() -> None:
    score = language_model_scores(10.0, TextSize(5, 2, 9, 10), "tok:x|version:1")[0]
    assert score.signature == "loss|unit:token|tok:x|version:1"
    assert json.loads(json.dumps(score.as_json())) == {
        "name": "loss",
        "value": 2.0,
        "unit": "token",
        "signature": score.signature,
        "parts": {"nats": 10.0, "tokens": 5, "words": 2, "characters": 9, "bytes": 10},
    }
    assert str(score) == f"loss 2.0000 per token  {score.signature}"


def test_signatures_of_different_units_differ() -> None:
    scores = language_model_scores(10.0, TextSize(5, 2, 9, 10), "x")
    assert len({score.signature for score in scores}) == len(scores)


def test_a_hopeless_model_has_an_infinite_perplexity_and_no_error() -> None:
    scores = language_model_scores(1e6, TextSize(5, 0, 0, 0), "x")
    assert scores[1].value == math.inf
    assert isinstance(scores[1], Score)
