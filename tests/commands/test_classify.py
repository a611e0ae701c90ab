"""`nlpseq train sentiment`, `classify`, `evaluate` and `inspect words`: from a table to a filter and to numbers."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import Result

from nlpseq.models import classifier
from nlpseq.models.classifier import ClassifierOptions
from nlpseq.models.model_file import save_model
from nlpseq.text.tokenisers import train_tokeniser

Run = Callable[..., Result]
Lines = Callable[[bytes], list[bytes]]
ROWS = [(label, f"a {word} {thing} {place}") for place in range(40) for thing in ("film", "song")
        for label, word in (("up", "fine"), ("down", "dull"))]  # fmt: skip


@pytest.fixture(scope="module")
def untrained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small classifier of random weights."""
    options = ClassifierOptions(hidden_size=8, embedding_size=6, bidirectional=True, lowercase=True)
    tokeniser = train_tokeniser("char", ["abc äöü 猫"] * 2, 270)
    path = tmp_path_factory.mktemp("classifier") / "model.safetensors"
    weights = classifier.initial_weights(options, tokeniser.size, np.array([1, 1, 1]), 1)
    details: dict[str, Any] = {"labels": ["a, b", "b", "ü"], "temperature": 1.5}
    save_model(path, classifier.TASK, asdict(options), weights, tokeniser, **details)
    return path


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Texts of two labels."""
    path = tmp_path_factory.mktemp("table") / "texts.tsv"
    path.write_text("label\ttext\n" + "".join(f"{label}\t{text}\n" for label, text in ROWS))
    return path


@pytest.fixture(scope="module")
def trained(table: Path) -> Path:
    """A classifier that was trained on them."""
    sizes = ("--hidden-size", 12, "--embedding-size", 8, "--steps", 150, "--batch-size", 10, "--tokens", "word")
    command = [
        "train",
        "sentiment",
        table,
        "--out",
        table.parent / "run",
        "-q",
        "--json",
        *sizes,
        "--dropout",
        0,
        "--learning-rate",
        0.01,
    ]
    done = subprocess.run(
        [sys.executable, "-m", "nlpseq", *map(str, command)], capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout.splitlines()[-1])["valid"]["accuracy"] == 100
    return table.parent / "run"


def test_from_a_table_to_a_filter(nlpseq: Run, trained: Path) -> None:
    made = nlpseq("classify", "-m", trained, input=b"a dull film\n\nA FINE song\r\n")
    assert made.exit_code == 0, made.stderr
    first, blank, third = made.stdout.split("\n")[:3]
    assert (first.split("\t")[0], blank, third.split("\t")[0]) == ("down", "", "up")
    assert all(0.5 <= float(line.split("\t")[1]) <= 1 for line in (first, third))


def test_each_line_has_one_whatever_it_is(nlpseq: Run, untrained: Path, odd_file: bytes, lines_of: Lines) -> None:
    done = nlpseq("classify", "-m", untrained, "-q", input=odd_file)
    assert done.exit_code == 0
    assert len(lines_of(done.stdout_bytes)) == len(lines_of(odd_file))


def test_all_labels_or_labels_alone(nlpseq: Run, untrained: Path) -> None:
    everything = nlpseq("classify", "-m", untrained, "--all", input=b"abc\n").stdout.rstrip("\n").split("\t")
    assert sorted(everything[::2]) == ["a, b", "b", "ü"]
    shares = [float(one) for one in everything[1::2]]
    assert sum(shares) == pytest.approx(1, abs=1e-5) and shares == sorted(shares, reverse=True)
    only = nlpseq("classify", "-m", untrained, "--labels-only", input=b"abc\n").stdout
    assert only == everything[0] + "\n"


def test_it_abstains_where_it_is_not_sure(nlpseq: Run, untrained: Path) -> None:
    sure = nlpseq("classify", "-m", untrained, input=b"abc\n").stdout
    probability = float(sure.split("\t")[1])
    settings = ("--threshold", probability + 0.01)
    assert nlpseq("classify", "-m", untrained, *settings, input=b"abc\n").stdout == f"unsure\t{probability:.6f}\n"
    named = nlpseq("classify", "-m", untrained, *settings, "--abstain", "?", "--labels-only", input=b"abc\n")
    assert named.stdout == "?\n"
    assert nlpseq("classify", "-m", untrained, "--threshold", probability - 0.01, input=b"abc\n").stdout == sure


def test_objects_keep_their_fields_and_tell_their_status(nlpseq: Run, untrained: Path) -> None:
    lines = [b'{"id": 1, "text": "abc"}', b"[]", b'{"text": " "}', b'{"text": 3}']
    done = nlpseq("classify", "-m", untrained, "--jsonl", "--all", input=b"\n".join(lines))
    made = [json.loads(line) for line in done.stdout.splitlines()]
    assert [one["status"] for one in made] == ["ok", "invalid-json", "blank", "no-text"]
    taken = nlpseq("classify", "-m", untrained, "--jsonl", input=b'{"text": "abc", "label": "gold", "x": "caf\xe9"}')
    kept = json.loads(taken.stdout)
    assert kept["given_label"] == "gold" and kept["label"] == made[0]["label"] and kept["status"] == "invalid-utf8"
    assert made[0]["id"] == 1 and sum(made[0]["probabilities"].values()) == pytest.approx(1, abs=1e-5)
    assert [one["label"] for one in made[1:]] == [None] * 3


def test_a_file_that_is_named_is_taken_for_what_it_is(nlpseq: Run, untrained: Path) -> None:
    done = nlpseq("classify", "-m", untrained, "in.txt")
    assert done.exit_code == 1 and "error: in.txt: there is no such file\n" in done.stderr
    done = nlpseq("classify", "-m", __file__, input=b"abc\n")
    assert done.exit_code == 1 and "test_classify.py: is no model file" in done.stderr


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--abstain", "x"), "--abstain: has no effect without a threshold"),
        (("--abstain", "a\tb", "--threshold", 0.5), "--abstain: must be a word without tabs"),
        (("--abstain", "b", "--threshold", 0.5), "--abstain: must not be a label of the model"),
        (("--all", "--labels-only"), "exclude each other"),
        (("--all", "--threshold", 0.5), "--all: writes every label"),
    ],
)
def test_what_does_not_go_together_is_refused(
    nlpseq: Run, untrained: Path, flags: tuple[object, ...], said: str
) -> None:
    done = nlpseq("classify", "-m", untrained, *flags, input=b"abc\n")
    assert done.exit_code == 2 and said in done.stderr and "hint:" in done.stderr


def test_a_threshold_is_a_probability(nlpseq: Run, untrained: Path) -> None:
    done = nlpseq("classify", "-m", untrained, "--threshold", 2, input=b"abc\n")
    assert done.exit_code == 2 and "--threshold: must be at most 1, was 2" in done.stderr


def test_a_batch_of_one_is_judged_as_a_batch_of_many(nlpseq: Run, untrained: Path) -> None:
    generator = np.random.default_rng(1)
    lines = ["".join(generator.choice(list("abc äöü"), generator.integers(1, 3000))) + "x" for _ in range(30)]
    together = nlpseq("classify", "-m", untrained, "--all", input="\n".join(lines).encode()).stdout.splitlines()
    for line, expected in zip(lines, together, strict=True):
        (alone,) = nlpseq("classify", "-m", untrained, "--all", input=line.encode()).stdout.splitlines()
        for one, other in zip(alone.split("\t"), expected.split("\t"), strict=True):
            assert one == other or float(one) == pytest.approx(float(other), abs=2e-6)


def test_an_answer_comes_before_the_next_line_and_no_torch(untrained: Path) -> None:
    program = (
        "import sys\nfrom nlpseq.__main__ import main\ntry:\n    main()\nfinally:\n"
        "    heavy = {'torch', 'datasets', 'rich', 'sklearn'}\n    print(*heavy & set(sys.modules), file=sys.stderr)"
    )
    command = [sys.executable, "-c", program, "classify", "-m", str(untrained)]
    with subprocess.Popen(command, stdin=-1, stdout=-1, stderr=-1, env={**os.environ}) as running:
        assert running.stdin and running.stdout and running.stderr
        running.stdin.write(b"abc\n")
        running.stdin.flush()
        first = running.stdout.readline()
        time.sleep(0.1)
        running.stdin.write(b"cba\n")
        running.stdin.close()
        second = running.stdout.readline()
        assert first.count(b"\t") == second.count(b"\t") == 1
        assert running.stderr.read().strip() == b""


def test_a_reader_that_has_gone_is_no_fault(untrained: Path) -> None:
    classify = shlex.join([sys.executable, "-m", "nlpseq", "classify", "-m", str(untrained)])
    command = f"yes abc | head -200000 | {classify} | head -1"
    done = subprocess.run(["bash", "-o", "pipefail", "-c", command], capture_output=True, check=False)
    assert done.stderr == b"" and done.stdout.count(b"\n") == 1


def test_scores_of_what_it_was_validated_on_are_those_reported(nlpseq: Run, trained: Path) -> None:
    made = json.loads(nlpseq("evaluate", "-m", trained, "--json").stdout)
    reported = json.loads(nlpseq("inspect", "model", "-m", trained, "--json").stdout)["scores"]
    for one, other in zip(made["scores"], reported, strict=True):
        assert one["signature"] == other["signature"] and one["value"] == pytest.approx(other["value"], abs=1e-5)
    assert made["confusion"] == {"labels": ["down", "up"], "table": [[8, 0], [0, 8]]}


def test_scores_of_given_texts_and_baselines_beside_them(nlpseq: Run, trained: Path, tmp_path: Path) -> None:
    (tmp_path / "test.csv").write_text("mood,words\nup,a fine film\ndown,a fine song\ndown,a dull song\n")
    columns = ("--label-column", "mood", "--text-column", "words")
    done = nlpseq("evaluate", "-m", trained, tmp_path / "test.csv", *columns, "--baseline")
    assert done.exit_code == 0, done.stderr
    scores, _, beside, signatures, confusion = (
        {line.split()[0]: line.split() for line in lines.splitlines()} for lines in done.stdout.split("\n\n")
    )
    assert [line for line in signatures if line.startswith(("tf-idf|", "nb-svm|"))] == list(signatures)[1::2]
    assert float(scores["accuracy"][1]) == pytest.approx(66.6667)
    assert scores["accuracy"][2:] == ["%", "text", "labels:2"]
    assert "\n  NAME|DETAILS|texts:3|test.csv:given#" in done.stdout
    assert beside["score"] == ["score", "unit", "model", "tf-idf", "nb-svm"]
    assert beside["accuracy"][:5] == ["accuracy", "text", *scores["accuracy"][1:3], scores["accuracy"][1]]
    assert beside["macro_f1"][:4] == ["macro_f1", "label", *scores["macro_f1"][1:3]]
    assert all(len(line) <= 80 for line in done.stdout.splitlines())
    assert confusion["down"] == ["down", "100.00", "%", "50.00", "%", "2", "1", "1"]
    (tmp_path / "odd.tsv").write_text("label\ttext\nsideways\tx\n")
    done = nlpseq("evaluate", "-m", trained, tmp_path / "odd.tsv")
    assert done.exit_code == 1 and "odd.tsv:2: training had no such labels: 'sideways'" in done.stderr


def test_texts_that_were_trained_on_are_counted(nlpseq: Run, trained: Path, table: Path, tmp_path: Path) -> None:
    done = nlpseq("evaluate", "-m", trained, table)
    assert f"{len(ROWS) - 16} of the {len(ROWS)} texts were trained on" in done.stderr
    (tmp_path / "new.tsv").write_text("up\tsomething\n")
    assert "trained on" not in nlpseq("evaluate", "-m", trained, tmp_path / "new.tsv").stderr


def test_a_corpus_that_has_changed_is_told(nlpseq: Run, trained: Path, table: Path) -> None:
    held = table.read_text()
    try:
        table.write_text(held + "".join(f"up\tnew {place}\n" for place in range(50)))
        done = nlpseq("evaluate", "-m", trained)
        assert done.exit_code == 0 and "has changed since the model was trained" in done.stderr
        done = nlpseq("evaluate", "-m", trained, "--baseline")
        assert done.exit_code == 1 and "its training texts have changed" in done.stderr
    finally:
        table.write_text(held)


def test_flags_of_other_tasks_are_refused(nlpseq: Run, trained: Path, model_path: Path) -> None:
    for model, flag in ((trained, "--held-out"), (trained, "--order=3"), (model_path, "--label-column=1")):
        done = nlpseq("evaluate", "-m", model, flag)
        assert done.exit_code == 2 and f"{flag.partition('=')[0]}: is for" in done.stderr


def test_words_that_carried_the_decision(nlpseq: Run, trained: Path, tmp_path: Path) -> None:
    page = tmp_path / "words.html"
    done = nlpseq("inspect", "words", "a fine film", "-m", trained, "--json", "--html", page)
    assert done.exit_code == 0, done.stderr
    made = json.loads(done.stdout)
    weights = {one["word"]: one["weight"] for one in made["words"]}
    assert made["label"] == "up" and max(weights, key=lambda word: weights[word]) == "fine"
    assert "<b>up</b>" in page.read_text()
    lines = nlpseq("inspect", "words", "a fine film", "-m", trained, "--label", "down").stdout.splitlines()
    assert [line.split("\t")[0] for line in lines] == ["a", "fine", "film"] and float(lines[1].split("\t")[1]) < 0
    for flags, said in ((("--label", "x"), "must be one of down, up"), (("--html", "a.txt"), "ends in .html")):
        assert said in nlpseq("inspect", "words", "a", "-m", trained, *flags).stderr
    assert "must not be blank" in nlpseq("inspect", "words", " ", "-m", trained).stderr


def test_labelled_texts_are_checked(nlpseq: Run, table: Path) -> None:
    done = nlpseq("corpus", "check", "--labels", table)
    assert done.exit_code == 0 and "160 texts" in done.stdout and "'up' 80 (50.0%)" in done.stdout
    done = nlpseq("corpus", "check", "--labels", table, "--against", table)
    assert done.exit_code == 1 and "100.0% of the texts" in done.stdout
    assert nlpseq("corpus", "check", "--labels", "--pairs", table).exit_code == 2


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ("label\ttext\n" + "one\tx y\n" * 30, "it needs texts of at least two labels"),
        ("", "it is empty"),
        ("label\ttext\none\tx\ntwo\n", "it must have 2 columns, like the first row, but has 1"),
    ],
)
def test_what_cannot_be_trained_on_leaves_nothing(nlpseq: Run, tmp_path: Path, data: str, said: str) -> None:
    (tmp_path / "a.tsv").write_text(data)
    done = nlpseq("train", "sentiment", tmp_path / "a.tsv", "--out", tmp_path / "run", "--steps", 1)
    assert done.exit_code == 1 and said in done.stderr
    assert not (tmp_path / "run").exists()


def test_a_text_of_a_hundred_thousand_characters(nlpseq: Run, untrained: Path) -> None:
    done = nlpseq("classify", "-m", untrained, input=b"abc " * 30_000 + b"\nabc\n")
    assert done.exit_code == 0 and len(done.stdout.splitlines()) == 2
