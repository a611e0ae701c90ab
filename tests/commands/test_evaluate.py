"""`nlpseq evaluate` from the outside."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from typer.testing import Result

from nlpseq.models import classifier
from nlpseq.models.classifier import ClassifierOptions
from nlpseq.models.model_file import save_model
from nlpseq.text.tokenisers import train_tokeniser

Run = Callable[..., Result]

TEXT = "the cat sat on the mat.\n" * 200


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    path = tmp_path / "corpus.txt"
    path.write_text(TEXT)
    return path


def test_each_score_has_a_line(nlpseq: Run, model_path: Path, corpus: Path) -> None:
    done = nlpseq("evaluate", "-m", model_path, corpus)
    assert (done.exit_code, done.stderr) == (0, "")
    table, signature = done.stdout.split("\n\n")
    rows = [line.split() for line in table.splitlines()]
    names = ["loss", "perplexity", "perplexity", "bits_per_byte", "bits_per_character"]
    assert [row[0] for row in rows] == names
    assert [row[2] for row in rows] == ["token", "token", "word", "byte", "character"]
    assert all(float(row[1]) > 0 and len(row) == 3 for row in rows)
    assert all(len(line) <= 80 for line in done.stdout.splitlines())
    whole = json.loads(nlpseq("evaluate", "-m", model_path, corpus, "--json").stdout)["scores"]
    heading, *pattern = signature.split()
    assert heading == "signature:"
    told = ["".join(pattern).replace("NAME", name).replace("UNIT", unit) for name, _, unit in rows]
    assert told == [score["signature"] for score in whole]


def test_json_carries_parts_and_signatures(nlpseq: Run, model_path: Path, corpus: Path) -> None:
    made = json.loads(nlpseq("evaluate", "-m", model_path, corpus, "--json").stdout)
    assert made["model"] == str(model_path)
    score = made["scores"][0]
    assert set(score) == {"name", "value", "unit", "signature", "parts"}
    assert score["value"] == pytest.approx(score["parts"]["nats"] / len(TEXT))


def test_only_the_beginning_can_be_evaluated(nlpseq: Run, model_path: Path, corpus: Path) -> None:
    made = json.loads(nlpseq("evaluate", "-m", model_path, "--take", "50", corpus, "--json").stdout)
    assert made["scores"][0]["parts"]["characters"] == len(TEXT) // 4
    assert "corpus.txt@50" in made["scores"][0]["signature"]


def test_only_the_end_can_be_evaluated(nlpseq: Run, model_path: Path, corpus: Path) -> None:
    whole = TEXT * 3
    corpus.write_text(whole)
    made = json.loads(nlpseq("evaluate", "-m", model_path, "--held-out", corpus, "--json").stdout)
    assert made["scores"][0]["parts"]["characters"] == len(whole) // 10
    assert "corpus.txt:held-out#" in made["scores"][0]["signature"]


def test_without_a_corpus_it_is_the_text_of_training(
    nlpseq: Run, make_model: Callable[..., Path], corpus: Path
) -> None:
    digest = hashlib.sha256(TEXT.encode()).hexdigest()
    facts = {"corpus": ["x"], "train_until": None, "valid": [str(corpus)], "valid_is": "given", "valid_sha256": digest}
    model = make_model(data=facts)
    done = nlpseq("evaluate", "-m", model)
    assert done.stdout == nlpseq("evaluate", "-m", model, corpus).stdout
    assert done.stderr == ""
    corpus.write_text(TEXT + "more\n")
    assert "has changed since the model was trained" in nlpseq("evaluate", "-m", model).stderr


@pytest.mark.parametrize(
    ("contents", "said"),
    [
        (None, "there is no such file"),
        (b"", "it is empty"),
        (b"a\0b", "it is binary"),
        (b"caf\xe9 au lait\n", "it is not UTF-8"),
        ("hello\n".encode("utf-16"), "this is UTF-16"),
    ],
)
def test_a_bad_corpus_is_told_in_one_sentence(
    nlpseq: Run, model_path: Path, tmp_path: Path, contents: bytes | None, said: str
) -> None:
    path = tmp_path / "bad.txt"
    if contents is not None:
        path.write_bytes(contents)
    done = nlpseq("evaluate", "-m", model_path, path)
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr.startswith(f"error: {path}")
    assert said in done.stderr


@pytest.mark.parametrize("text", ["a", "\n", "ß猫\n"])
def test_the_shortest_texts_have_scores(nlpseq: Run, model_path: Path, tmp_path: Path, text: str) -> None:
    (tmp_path / "short.txt").write_text(text, encoding="utf-8")
    assert nlpseq("evaluate", "-m", model_path, tmp_path / "short.txt").exit_code == 0


def test_what_cannot_be_held_out_is_refused(nlpseq: Run, model_path: Path, tmp_path: Path) -> None:
    (tmp_path / "short.txt").write_text("short\n")
    done = nlpseq("evaluate", "-m", model_path, "--held-out", tmp_path / "short.txt")
    assert done.exit_code == 1
    assert "too short" in done.stderr


def test_a_model_that_does_not_know_its_text_asks_for_one(nlpseq: Run, model_path: Path) -> None:
    done = nlpseq("evaluate", "-m", model_path)
    assert done.exit_code == 1
    assert "does not say what text it was validated on\nhint:  nlpseq evaluate -m " in done.stderr


@pytest.mark.parametrize(
    ("corpus", "folder", "bundled"),
    [
        ("stories", "checkpoints/lm", "stories"),
        ("python-docs", "checkpoints/lm", "stories"),
        ("reviews", "checkpoints/sentiment", "reviews"),
        ("english-german", "checkpoints/translation", "english-german"),
        ("labels.csv", "checkpoints/sentiment", "reviews"),
        ("plain.txt", "checkpoints/lm", "stories"),
    ],
)
def test_the_usual_model_is_that_of_the_kind_of_the_corpus(
    nlpseq: Run, corpus: str, folder: str, bundled: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nlpseq.models.model_path.FOLDERS", (Path("nowhere"),))
    Path("labels.csv").write_text("label,text\n" + "good,a fine film\nbad,a dull film\n" * 20)
    Path("plain.txt").write_text(TEXT)
    done = nlpseq("evaluate", corpus)
    assert done.exit_code == 1
    assert f"error: {folder}: no such model" in done.stderr
    Path("nowhere").mkdir()
    Path("nowhere", f"{bundled}.safetensors").write_text("damaged")
    done = nlpseq("evaluate", corpus)
    assert done.stderr.startswith(f"note: no model in {folder} yet: using the bundled model {bundled} (")
    assert f"error: {bundled}: is damaged" in done.stderr


def test_the_usual_model_is_named_with_and_without_a_corpus(nlpseq: Run, make_model: Callable[..., Path]) -> None:
    Path("corpus.txt").write_text(TEXT)
    digest = hashlib.sha256(TEXT.encode()).hexdigest()
    facts = {"train_until": None, "valid": ["corpus.txt"], "valid_is": "given", "valid_sha256": digest}
    Path("checkpoints/lm").mkdir(parents=True)
    shutil.copy(make_model(data=facts), "checkpoints/lm/model.safetensors")
    for arguments in ((), ("corpus.txt",)):
        assert nlpseq("evaluate", *arguments).stderr == "note: the model is checkpoints/lm\n"
        assert nlpseq("evaluate", *arguments, "-q").stderr == ""
    assert nlpseq("evaluate", "-m", "checkpoints/lm").stderr == ""


@pytest.mark.parametrize(
    ("model", "text", "command"),
    [
        ("reviews", "in.txt", "nlpseq evaluate -m stories in.txt"),
        ("reviews", "pairs.tsv", "nlpseq evaluate -m english-german pairs.tsv"),
        ("english-german", "labels.tsv", "nlpseq evaluate -m reviews labels.tsv"),
    ],
)
def test_the_hint_for_a_text_of_another_kind_evaluates_it(nlpseq: Run, model: str, text: str, command: str) -> None:
    Path("in.txt").write_text(TEXT)
    Path("pairs.tsv").write_text("".join(f"the word {number}\tdas Wort {number}\n" for number in range(30)))
    Path("labels.tsv").write_text("label\ttext\n" + "positive\ta fine film\nnegative\ta dull film\n" * 3)
    done = nlpseq("evaluate", "-m", model, text)
    assert done.exit_code == 1
    assert command in done.stderr
    assert "train" not in done.stderr
    assert nlpseq(*command.split()[1:]).exit_code == 0


def test_a_text_that_is_not_read_is_told(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "nlpseq", "evaluate", "-m", "stories"]
    said = [
        subprocess.run([*words, *quiet], input=b"a text\n", capture_output=True, check=True).stderr
        for quiet in ([], ["-q"])
    ]
    assert b"note: standard input is not read: nlpseq evaluate - reads a text" in said[0]
    assert b"is not read" not in said[1]


def test_the_text_that_a_classifiers_training_made_is_not_looked_for(
    nlpseq: Run, make_model: Callable[..., Path], corpus: Path
) -> None:
    names = {"corpus": ["c/.unlabelled/texts.txt"], "valid": ["c/.unlabelled/held-out-of-texts.txt"]}
    hashes = {"sha256": "0" * 64, "valid_sha256": "0" * 64}
    model = make_model(data={**names, **hashes, "train_until": None, "valid_is": "given"})
    done = nlpseq("evaluate", "-m", model)
    assert (done.exit_code, done.stdout) == (1, "")
    assert "the text that it was trained with was not kept: it was made for the training of a" in done.stderr
    assert ".unlabelled" not in done.stderr and "folder" not in done.stderr
    assert done.stderr.endswith(f"hint:  nlpseq evaluate -m {model.parent} FILE\n")
    done = nlpseq("evaluate", "-m", model, corpus, "--baseline")
    assert done.stderr.endswith("hint:  leave out --baseline\n")
    assert nlpseq("evaluate", "-m", model, corpus).exit_code == 0


def test_the_hint_for_a_missing_rate_does_not_hurt(nlpseq: Run, corpus: Path) -> None:
    corpus.write_text(TEXT[:1200])
    done = nlpseq("evaluate", "-m", "stories", corpus, "--dynamic-tokens", 5)
    assert done.exit_code == 2
    hint = done.stderr.partition("hint:  ")[2].split()
    assert hint[2:] == ["--dynamic-tokens", "5"]
    static, adapted = (
        json.loads(nlpseq("evaluate", "-m", "stories", corpus, "--json", *options).stdout)["scores"][0]["value"]
        for options in ((), hint)
    )
    assert adapted < static


def test_without_a_mistake_there_is_no_table_of_them(nlpseq: Run) -> None:
    labels = [letter * 30 for letter in "abc"]
    options = ClassifierOptions(hidden_size=8, embedding_size=6, bidirectional=True, lowercase=True)
    tokeniser = train_tokeniser("char", ["abc"] * 2, 260)
    weights = classifier.initial_weights(options, tokeniser.size, np.array([1, 1, 1]), 1)
    model = Path("model.safetensors")
    save_model(model, classifier.TASK, asdict(options), weights, tokeniser, labels=labels)
    texts = ["abc", "cab", "bbb a"]
    found = nlpseq("classify", "--labels-only", "-m", model, *texts).stdout.splitlines()
    for wrong in (0, 1):
        others = [labels[labels.index(label) - 1] for label in found[:wrong]] + found[wrong:]
        rows = "".join(f"{label}\t{text}\n" for label, text in zip(others, texts, strict=True))
        Path("test.tsv").write_text(f"label\ttext\n{rows}")
        shown = nlpseq("evaluate", "-m", model, "test.tsv").stdout
        assert ("taken as" in shown) == bool(wrong)
        assert not shown.endswith("\n\n") and shown.count("\n\n") == 2 + wrong


def test_an_unknown_column_is_told_with_those_of_the_file(nlpseq: Run) -> None:
    Path("mails.csv").write_text("id,folder,body\n" + "".join(f"{n},positive,a fine film {n}\n" for n in range(9)))
    done = nlpseq("evaluate", "-m", "reviews", "mails.csv")
    assert done.stderr.startswith("error: mails.csv:1: no column is known as its label, only id, folder, body\n")
    hint = done.stderr.partition("hint:  ")[2].split()
    assert hint == ["--label-column", "folder", "--text-column", "body"]
    assert nlpseq("evaluate", "-m", "reviews", "mails.csv", *hint).exit_code == 0
