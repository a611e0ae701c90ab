"""The report on a classifier: the texts of its training found again, the columns it reads, and its baselines."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sklearn

from nlpseq.decoding.classification import TextClassifier
from nlpseq.errors import CorpusError, ModelFileError
from nlpseq.evaluation.classifier_report import ClassifierReport, classifier_report
from nlpseq.models import classifier
from nlpseq.models.classifier import ClassifierOptions
from nlpseq.models.model_file import save_model
from nlpseq.text.tables.label_tables import NOT_NAMED, LabelColumns
from nlpseq.text.tokenisers import train_tokeniser

Rows = Sequence[tuple[str, str]]
Report = Callable[..., ClassifierReport]

LABELS = ("bad", "good")
TRAIN = [
    (label, f"a {word} film {number}") for number in range(20) for label, word in (("bad", "dull"), ("good", "fine"))
]
TEST = [("good", "a fine song"), ("bad", "a dull song"), ("bad", "an odd song")]


def _sha256(rows: Rows) -> str:
    return hashlib.sha256("".join(f"{label}\t{text}\n" for label, text in rows).encode()).hexdigest()


def _table(name: str, rows: Rows, header: str = "label\ttext") -> str:
    lines = [header] * bool(header) + [f"{label}\t{text}" for label, text in rows]
    Path(name).write_text("".join(f"{line}\n" for line in lines))
    return name


def _facts(**others: Any) -> dict[str, Any]:
    hashes = {"sha256": _sha256(TRAIN), "valid_sha256": _sha256(TEST)}
    return {"corpus": ["train.tsv"], "columns": None, "valid": ["test.tsv"], "valid_is": "given", **hashes, **others}


@pytest.fixture
def report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Report:
    """`report(facts, *corpora, baseline=True)`: that of a small classifier of random weights, trained on `facts`."""
    monkeypatch.chdir(tmp_path)
    _table("train.tsv", TRAIN)
    _table("test.tsv", TEST)

    def make(
        facts: dict[str, Any], *corpora: str, columns: LabelColumns = NOT_NAMED, **settings: Any
    ) -> ClassifierReport:
        options = ClassifierOptions(hidden_size=8, embedding_size=6, bidirectional=True, lowercase=True)
        tokeniser = train_tokeniser("char", ["a dull fine film"] * 2, 270)
        weights = classifier.initial_weights(options, tokeniser.size, np.array([1, 1]), 1)
        details: dict[str, Any] = {"labels": list(LABELS), "temperature": 1.5, "data": facts}
        if facts.get("several_labels"):
            details |= {"several_labels": True, "threshold": 0.25}
        save_model(tmp_path / "model.safetensors", classifier.TASK, asdict(options), weights, tokeniser, **details)
        return classifier_report(TextClassifier.load(tmp_path / "model.safetensors"), corpora, columns, **settings)

    return make


def test_texts_that_a_teacher_labelled_are_told(report: Report) -> None:
    Path("plain.txt").write_text("".join(f"{text}\n" for _, text in TRAIN))
    facts = _facts(corpus=["plain.txt"], valid=["plain.txt"], valid_is="held out")
    with pytest.raises(ModelFileError, match=r"its training texts have no labels, .*: plain.txt") as refused:
        report(facts)
    assert refused.value.hint.endswith(" FILE, a table with labels")
    with pytest.raises(ModelFileError, match="its training texts have no labels") as refused:
        report(facts, "test.tsv", baseline=True)
    assert refused.value.hint == "leave out --baseline"
    assert report(facts, "test.tsv").scores[0].parts["texts"] == len(TEST)


def test_named_validation_texts_are_read_though_training_texts_have_no_labels(report: Report) -> None:
    Path("plain.txt").write_text("".join(f"{text}\n" for _, text in TRAIN))
    notes: list[str] = []
    found = report(_facts(corpus=["plain.txt"]), note=notes.append)
    assert found.scores == report(_facts()).scores
    assert found.scores[0].signature.endswith(f"|texts:3|test.tsv:given#{_sha256(TEST)[:8]}")
    assert notes == []
    with pytest.raises(ModelFileError, match=r"its validation texts have no labels, .*: plain.txt"):
        report(_facts(valid=["plain.txt"]))


def test_training_texts_that_are_gone_are_told(report: Report) -> None:
    Path("train.tsv").unlink()
    assert report(_facts()).scores, "validation texts do not need them"
    with pytest.raises(ModelFileError, match=r"cannot be read: train.tsv: there is no such file") as refused:
        report(_facts(), baseline=True)
    assert refused.value.hint == "leave out --baseline; or change to the folder it was trained in"


@pytest.mark.parametrize(
    ("trained", "header"),
    [
        (("folder", "body"), "folder\tbody"),
        (("Folder", None), "folder\tbody"),
        (("folder", "body", ";"), "folder\tbody"),
        (("1", "2"), ""),
        (("1", "2"), "folder\tbody"),
    ],
)
def test_the_columns_of_training_are_read_again(report: Report, trained: tuple[str | None, ...], header: str) -> None:
    numbered = [(f"{label}\t{text}", str(number)) for number, (label, text) in enumerate(TEST)]
    _table("mails.tsv", numbered, header and f"{header}\tid")
    if header == "" or trained == ("1", "2"):
        with pytest.raises(CorpusError):
            report(_facts(), "mails.tsv")
    found = report(_facts(columns=list(trained)), "mails.tsv")
    named = report(_facts(), "mails.tsv", columns=LabelColumns("1", "2"))
    assert found.scores == named.scores
    assert found.confusion.sum(1).tolist() == [2, 1]


@pytest.mark.parametrize("trained", [("folder", "body"), ("3", "1"), ("2", "1"), ("2", None), (None, None)])
def test_a_file_without_the_columns_of_training_is_read_by_its_own(report: Report, trained: tuple[str, ...]) -> None:
    assert report(_facts(columns=list(trained)), "test.tsv").scores == report(_facts(), "test.tsv").scores


def test_named_columns_come_before_those_of_training(report: Report) -> None:
    rows = [(f"{label}\tgood", text) for label, text in TEST]
    _table("both.tsv", rows, "mood\tfolder\tbody")
    trained = _facts(columns=["folder", "body"])
    texts = {text: label for label, text in TEST}
    by_folder = report(trained, "both.tsv")
    by_mood = report(trained, "both.tsv", columns=LabelColumns("mood"))
    assert by_folder.confusion.sum(1).tolist() == [0, len(TEST)]
    assert by_mood.confusion.sum(1).tolist() == [list(texts.values()).count(label) for label in LABELS]


def test_baselines_say_what_they_are(report: Report) -> None:
    found = report(_facts(), "test.tsv", baseline=True)
    assert [each.name for each in found.baselines] == ["tf-idf", "nb-svm"]
    of_texts = f"trained-on:train.tsv:texts-40#{_sha256(TRAIN)[:8]}|scikit-learn:{sklearn.__version__}|version:"
    first, second = (each.signature for each in found.baselines)
    assert first.startswith("tf-idf|logistic-regression|C:4|words:1-2|case:lower|") and of_texts in first
    assert second.startswith("nb-svm|linear-svm|C:0.1|interpolation:0.25|words:1-2|case:lower|") and of_texts in second
    signatures = {score.name: score.signature for score in found.scores}
    for each in found.baselines:
        assert {score.name: score.signature for score in each.scores} == {
            name: signatures[name] for name in ("accuracy", "macro_f1")
        }
    assert report(_facts(), "test.tsv").baselines == []


def test_baselines_of_several_labels_have_their_own_threshold(report: Report) -> None:
    facts = _facts(columns=[None, None, ";"], several_labels=True)
    found = report(facts, "test.tsv", baseline=True)
    assert "|threshold:0.2500|temperature:1.5000|" in found.scores[0].signature
    usual, best, other = found.baselines
    assert [each.name for each in found.baselines] == ["tf-idf", "tf-idf (best)", "nb-svm (best)"]
    assert "|one-against-the-rest|threshold:0.5|trained-on:" in usual.signature
    end = found.scores[0].signature.partition("|texts:")[2]
    assert usual.scores[0].signature == f"micro_f1|labels:2|several|threshold:0.5|texts:{end}"
    for each in (best, other):
        threshold = each.scores[0].signature.split("|threshold:best:")[1].split("|")[0]
        assert f"|threshold:best:{threshold}|" in each.signature
        assert 0.05 <= float(threshold) <= 0.95


def test_changed_training_texts_have_no_baselines(report: Report) -> None:
    _table("train.tsv", TRAIN[2:])
    with pytest.raises(ModelFileError, match="its training texts have changed") as refused:
        report(_facts(), "test.tsv", baseline=True)
    assert refused.value.hint == "leave out --baseline"
