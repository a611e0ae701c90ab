"""Scores of a corpus, of its end, and of what training was validated on."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nlpseq.errors import CorpusError, ModelFileError
from nlpseq.evaluation.perplexity import text_loss
from nlpseq.evaluation.text_scores import EvaluationText, chosen_text, held_out_text, recorded_text, text_scores
from nlpseq.models import language_model
from nlpseq.text.splits import CorpusSpan

MakeModel = Callable[..., Path]

TEXT = "the cat sat on the mat, où es-tu?\nthe dog sat on the log.\n\nöl 猫\n" * 40


@pytest.fixture
def corpus(tmp_path: Path) -> str:
    path = tmp_path / "corpus.txt"
    path.write_text(TEXT * 5, encoding="utf-8")
    return str(path)


def _facts(corpus: str, valid_is: str, start: int | None) -> dict[str, Any]:
    part = (TEXT * 5)[start or 0 :]
    digest = hashlib.sha256(part.encode()).hexdigest()
    return {"corpus": [corpus], "train_until": start, "valid": [corpus], "valid_is": valid_is, "valid_sha256": digest}


def test_a_text_costs_what_all_its_tokens_cost(model_path: Path, corpus: str) -> None:
    model, options = language_model.load(model_path)
    notes: list[str] = []
    scores = text_scores(model, options, EvaluationText(CorpusSpan((corpus, corpus))), notes.append)
    text = TEXT * 10
    nats = text_loss(model.weights, options, model.tokeniser.encode(text))
    assert not notes
    assert scores[0].value == pytest.approx(nats / len(text), rel=1e-6)
    assert scores[0].parts["bytes"] == len(text.encode())
    assert "text:corpus.txt+corpus.txt#" in scores[0].signature


@pytest.mark.parametrize(("valid_is", "start"), [("given", None), ("training text", None), ("held out", 9000)])
def test_the_text_of_training_is_found_again(
    make_model: MakeModel, corpus: str, valid_is: str, start: int | None
) -> None:
    model, options = language_model.load(make_model(data=_facts(corpus, valid_is, start)))
    notes: list[str] = []
    scores = text_scores(model, options, recorded_text(model), notes.append)
    assert not notes
    assert scores[0].parts["characters"] == len(TEXT * 5) - (start or 0)
    Path(corpus).write_text(TEXT * 6, encoding="utf-8")
    text_scores(model, options, recorded_text(model), notes.append)
    assert notes == [f"{corpus} has changed since the model was trained on it"]


def test_a_text_of_training_that_is_gone_is_told(make_model: MakeModel, tmp_path: Path) -> None:
    path = make_model(data=_facts(str(tmp_path / "gone.txt"), "given", None))
    model, options = language_model.load(path)
    what = r"the text that it was trained with cannot be read: .*gone\.txt: there is no such file"
    with pytest.raises(ModelFileError, match=what) as refused:
        text_scores(model, options, recorded_text(model))
    assert refused.value.where == str(path)
    assert refused.value.hint.startswith(f"nlpseq evaluate -m {path.parent} FILE")
    with pytest.raises(CorpusError, match="there is no such file"):
        text_scores(model, options, EvaluationText(CorpusSpan((str(tmp_path / "gone.txt"),))))


ALL = "the model was trained on this text: its scores are too good"
MOST = "the model was trained on this text but its end: the scores are too good; --held-out scores the end"


@pytest.mark.parametrize(("until", "whole", "end"), [(None, [ALL], [ALL]), (9000, [MOST], [])])
def test_a_text_of_training_is_told_by_its_hash(
    make_model: MakeModel, corpus: str, tmp_path: Path, until: int | None, whole: list[str], end: list[str]
) -> None:
    facts = {"sha256": hashlib.sha256((TEXT * 5).encode()).hexdigest(), "train_until": until}
    model, options = language_model.load(make_model(data=facts))
    (tmp_path / "other.txt").write_text(TEXT, encoding="utf-8")
    for names, held_out, expected in (
        ((corpus,), False, whole),
        ((corpus,), True, end),
        ((str(tmp_path / "other.txt"),) * 5, False, whole),  # the same text in other files
        ((corpus, corpus), False, []),
        ((corpus, corpus), True, []),
    ):
        notes: list[str] = []
        text_scores(model, options, chosen_text(model, names, held_out=held_out), notes.append)
        assert notes == expected


def test_a_model_may_not_know_its_text(model_path: Path) -> None:
    with pytest.raises(ModelFileError, match="does not say what text"):
        recorded_text(language_model.load(model_path)[0])


@pytest.mark.parametrize("kind", ["char", "bpe"])
def test_the_end_of_a_corpus_is_cut_as_in_training(corpus: str, kind: str) -> None:
    text = held_out_text([corpus], kind)
    end = "".join(text.span.pieces())
    assert text.origin == "held out"
    assert (TEXT * 5).endswith(end)
    assert len(end) == pytest.approx(len(TEXT) / 2, abs=60)
    assert kind == "char" or (TEXT * 5)[: -len(end)].endswith("\n")


def test_a_short_corpus_has_no_end_to_hold_out(tmp_path: Path) -> None:
    (tmp_path / "short.txt").write_text("too short\n")
    with pytest.raises(CorpusError, match="too short to hold out a part of it: 10 characters"):
        held_out_text([str(tmp_path / "short.txt")], "char")


def test_no_text_has_no_score(model_path: Path, corpus: str) -> None:
    model, options = language_model.load(model_path)
    with pytest.raises(CorpusError, match="no text to evaluate"):
        text_scores(model, options, EvaluationText(CorpusSpan((corpus,), 10**9)))
