"""Which scorer reads the lines of a model, and lines that have no text."""

from __future__ import annotations

import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from nlpseq.errors import CorpusError, OptionError
from nlpseq.evaluation.line_scores import LineScore, LineScorer, StreamScorer, score_fields
from nlpseq.evaluation.pair_scores import PairScorer
from nlpseq.evaluation.scorers import load_scorer
from nlpseq.models import translator
from nlpseq.models.model_file import save_model
from nlpseq.models.translator import TranslatorOptions
from nlpseq.text.tokenisers import ByteTokeniser


@pytest.fixture
def pair_model(tmp_path: Path) -> Path:
    """A translator of random weights over bytes."""
    options = TranslatorOptions(hidden_size=8, embedding_size=6)
    path = tmp_path / "model.safetensors"
    save_model(path, translator.TASK, asdict(options), translator.initial_weights(options, 256, 1), ByteTokeniser(()))
    return path


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    """Three sources, the second of which is too long."""
    path = tmp_path / "sources.txt"
    path.write_text("ab\n" + "a" * 3000 + "\nb\n")
    return path


def test_the_model_and_the_options_choose_the_scorer(model_path: Path, pair_model: Path, sources: Path) -> None:
    assert type(load_scorer(model_path)) is LineScorer
    assert type(load_scorer(model_path, follow=True)) is StreamScorer
    assert type(load_scorer(pair_model, sources)) is PairScorer


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"state": Path("s")}, "state: is for lines that follow each other"),
        ({"source": Path("a"), "follow": True}, "follow: is for language models"),
    ],
    ids=str,
)
def test_options_that_exclude_each_other_are_refused(model_path: Path, given: dict[str, Any], said: str) -> None:
    with pytest.raises(OptionError, match=said):
        load_scorer(model_path, **given)


def test_a_translator_needs_sources(pair_model: Path) -> None:
    with pytest.raises(OptionError, match="source: is missing"):
        load_scorer(pair_model)


@pytest.mark.parametrize("follow", [False, True])
def test_a_line_without_text_has_no_score_and_changes_no_other(model_path: Path, follow: bool) -> None:
    with_gaps = load_scorer(model_path, follow=follow).score_lines([None, "the cat", None, "sat"])
    assert with_gaps[::2] == [None, None]
    assert with_gaps[1::2] == load_scorer(model_path, follow=follow).score_lines(["the cat", "sat"])


def test_a_line_without_text_has_a_source_all_the_same(pair_model: Path, sources: Path) -> None:
    whole = load_scorer(pair_model, sources).score_lines(["x", "y", "z"])
    assert whole[1] is None and whole[0] is not None and whole[2] is not None, "only the second source is too long"
    scorer = load_scorer(pair_model, sources)
    assert scorer.score_lines([None]) + scorer.score_lines([None, "z"]) == [None, None, pytest.approx(whole[2])]
    scorer.finish()


def test_sources_and_lines_are_as_many(pair_model: Path, sources: Path) -> None:
    scorer = load_scorer(pair_model, sources)
    scorer.score_lines(["x"])
    with pytest.raises(CorpusError, match="more lines than the input, which has 1"):
        scorer.finish()
    with pytest.raises(CorpusError, match="fewer lines than the input: 3"):
        load_scorer(pair_model, sources).score_lines(["w", "x", "y", "z"])


def test_a_stream_goes_on_from_its_saved_state(model_path: Path, tmp_path: Path) -> None:
    lines = ["the cat", "sat", "on the mat"]
    whole = load_scorer(model_path, follow=True).score_lines(lines)
    first = load_scorer(model_path, follow=True)
    assert isinstance(first, StreamScorer)
    found = first.score_lines(lines[:2])
    first.save(tmp_path / "state")
    rest = load_scorer(model_path, follow=True, state=tmp_path / "state").score_lines(lines[2:])
    assert found + rest == whole


def test_numbers_have_names() -> None:
    fields = score_fields(LineScore(nats=2 * math.log(2), tokens=2, bytes=4))
    assert fields == {
        "log_probability": pytest.approx(-2 * math.log(2)),
        "tokens": 2,
        "perplexity": pytest.approx(2),
        "bits_per_byte": pytest.approx(0.5),
    }
    assert score_fields(None) == dict.fromkeys(fields)
