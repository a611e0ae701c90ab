"""Lines scored side by side, against one step after another."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from nlpseq.evaluation import line_scores
from nlpseq.evaluation.line_scores import LineScore, LineScorer, StreamScorer
from nlpseq.evaluation.perplexity import text_loss
from nlpseq.models import language_model
from nlpseq.native.extension import Unavailable, load_library
from nlpseq.text.tokenisers import NEWLINE

MakeModel = Callable[..., Path]

LINES = ["the cat", "", "x" * 200, "où 猫 \udcff", "a" * 63, "a" * 64, "a" * 65, "\r\x00\u2028", " the  mat "] * 15
FORMS = [("byte", 1), ("char", 3), ("word", 1), ("bpe", 4)]


def _by_hand(path: Path, line: str) -> float:
    model, options = language_model.load(path)
    state, previous, nats = language_model.begin(model.weights, options, 1), NEWLINE, 0.0
    for token in model.tokeniser.encode(line + "\n", exact=False).tolist():
        predicted, state = language_model.step(model.weights, options, np.array([previous]), state)
        nats -= float(predicted[0, token])
        previous = token
    return nats


def _nats(scores: list[LineScore]) -> list[float]:
    return [score.nats for score in scores]


@pytest.mark.parametrize(("kind", "ngrams"), FORMS)
def test_lines_cost_what_they_cost_step_by_step(make_model: MakeModel, kind: str, ngrams: int) -> None:
    path = make_model(kind, ngrams=ngrams, ngram_buckets=64)
    scores = LineScorer(*language_model.load(path)).score(LINES[:9])
    for line, score in zip(LINES[:9], scores, strict=True):
        assert score.nats == pytest.approx(_by_hand(path, line), rel=1e-5), line


@pytest.mark.parametrize(("kind", "ngrams"), FORMS)
def test_one_line_or_many_at_once_give_the_same(make_model: MakeModel, kind: str, ngrams: int) -> None:
    scorer = LineScorer(*language_model.load(make_model(kind, ngrams=ngrams, ngram_buckets=64)))
    together = scorer.score(LINES)
    for line, score in zip(LINES[:9], together[:9], strict=True):
        (alone,) = scorer.score([line])
        assert score.nats == (alone.nats if is_compiled() else pytest.approx(alone.nats, rel=1e-5))
        assert score[1:] == alone[1:]
    assert _nats(together[:9]) == _nats(together[-9:])


def is_compiled() -> bool:
    """Whether results hold to the bit here."""
    try:
        load_library()
    except Unavailable:
        return False
    return True


def test_a_score_counts_the_closing_newline(model_path: Path) -> None:
    blank, word = LineScorer(*language_model.load(model_path)).score(["", "où"])
    assert (blank.tokens, blank.bytes) == (1, 1)
    assert (word.tokens, word.bytes) == (3, 4)
    assert word.perplexity == pytest.approx(math.exp(word.nats / 3))
    assert word.bits_per_byte == pytest.approx(word.nats / math.log(2) / 4)


def test_a_very_long_line_costs_the_same_in_streams(model_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scorer = LineScorer(*language_model.load(model_path))
    lines = ["the cat sat. " * 200, "short"]
    whole = scorer.score(lines)
    monkeypatch.setattr(line_scores, "LONG", 100)
    assert _nats(scorer.score(lines)) == pytest.approx(_nats(whole), rel=1e-5)


def test_a_stream_of_lines_costs_what_the_text_costs(make_model: MakeModel) -> None:
    model, options = language_model.load(make_model(ngrams=3, ngram_buckets=64))
    scorer = StreamScorer(model, options)
    nats = sum(score.nats for batch in (LINES[:4], LINES[4:9]) for score in scorer.score(batch))
    tokens = model.tokeniser.encode("".join(line + "\n" for line in LINES[:9]), exact=False)
    assert nats == pytest.approx(text_loss(model.weights, options, tokens), rel=1e-5)


def test_a_stream_goes_on_from_a_state(model_path: Path) -> None:
    model, options = language_model.load(model_path)
    whole = StreamScorer(model, options).score(LINES[:6])
    first = StreamScorer(model, options)
    begun = first.score(LINES[:3])
    rest = StreamScorer(model, options, first.state).score(LINES[3:6])
    assert _nats([*begun, *rest]) == pytest.approx(_nats(whole), rel=1e-6)


def test_no_lines_have_no_scores(model_path: Path) -> None:
    assert LineScorer(*language_model.load(model_path)).score([]) == []
