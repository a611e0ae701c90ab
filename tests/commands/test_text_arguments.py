"""Every filter takes texts and files as arguments, and answers them as it answers standard input."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import Result

from nlpseq.models import classifier, translator
from nlpseq.models.classifier import ClassifierOptions
from nlpseq.models.model_file import save_model
from nlpseq.models.translator import TranslatorOptions
from nlpseq.text.tokenisers import ByteTokeniser, train_tokeniser

Run = Callable[..., Result]

FILTERS = ("classify", "translate", "score", "embed", "encode", "decode")
FIRST = {"classify": "label", "translate": "translation", "score": "log_probability", "embed": "vector"}
FIRST |= {"encode": "ids", "decode": "text"}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory, model_path: Path) -> dict[str, Path]:
    """A model of random weights, or a tokeniser, for each filter."""
    folder = tmp_path_factory.mktemp("models")
    found = {"score": model_path, "embed": model_path, "encode": folder / "bytes.json", "decode": folder / "bytes.json"}
    found["encode"].write_bytes(train_tokeniser("byte", [], 256).to_bytes())
    options = TranslatorOptions(hidden_size=8, embedding_size=6)
    weights = translator.initial_weights(options, 256, 1)
    found["translate"] = folder / "translator.safetensors"
    save_model(found["translate"], translator.TASK, asdict(options), weights, ByteTokeniser(()))
    shape = ClassifierOptions(hidden_size=8, embedding_size=6)
    weights = classifier.initial_weights(shape, 256, np.array([1, 1]), 1)
    found["classify"] = folder / "classifier.safetensors"
    details: dict[str, Any] = {"labels": ["a", "b"], "temperature": 1.0}
    save_model(found["classify"], classifier.TASK, asdict(shape), weights, ByteTokeniser(()), **details)
    return found


@pytest.fixture
def filtered(nlpseq: Run, models: dict[str, Path]) -> Callable[..., Result]:
    """`filtered("score", "a text", input=b"")`: a filter with its model."""

    def run(verb: str, *arguments: object, **settings: Any) -> Result:
        words = ("tokenize", verb, "-t") if verb in ("encode", "decode") else (verb, "-m")
        more = ("--longest", 4, "-q") if verb == "translate" else ("-q",)
        return nlpseq(*words, models[verb], *more, *arguments, **settings)

    return run


@pytest.mark.parametrize("verb", FILTERS)
def test_arguments_are_answered_as_standard_input_is(filtered: Run, tmp_path: Path, verb: str) -> None:
    (tmp_path / "a.txt").write_bytes(b"100 101\n\n99\xff\r\n98")
    (tmp_path / "b.txt.gz").write_bytes(gzip.compress(b"97 97\n" * 3))
    arguments = ("97 98", tmp_path / "a.txt", "-", tmp_path / "b.txt.gz", "a b\nc")
    done = filtered(verb, *arguments, input=b"1 2\n3")
    joined = b"97 98\n100 101\n\n99\xff\r\n98\n1 2\n3\n97 97\n97 97\n97 97\na b\nc\n"
    expected = filtered(verb, input=joined)
    assert done.exit_code == expected.exit_code
    assert done.stdout_bytes == expected.stdout_bytes
    assert done.stdout_bytes.count(b"\n") == 12


@pytest.mark.parametrize("verb", ["classify", "translate", "score", "embed"])
def test_files_of_objects(filtered: Run, tmp_path: Path, verb: str) -> None:
    (tmp_path / "a.jsonl").write_bytes(b'\xef\xbb\xbf{"id": 1, "text": "ab"}\r\n[]\n')
    done = filtered(verb, "--jsonl", tmp_path / "a.jsonl", '{"id":2,"text":"a/b.txt"}')
    made = [json.loads(line) for line in done.stdout.splitlines()]
    assert [fields["status"] == "invalid-json" for fields in made] == [False, True, False]
    assert made[2]["id"] == 2 and made[2][FIRST[verb]] is not None


@pytest.mark.parametrize("verb", FILTERS)
def test_json_takes_lines_and_writes_objects(filtered: Run, verb: str) -> None:
    done = filtered(verb, "--json", "97 98", "", '{"text": "a"}')
    made = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(made) == 3 and all(next(iter(fields)) == FIRST[verb] for fields in made)
    assert all("status" in fields for fields in made) == (verb not in ("encode", "decode"))


def test_pieces_and_damaged_ids_are_objects_too(filtered: Run) -> None:
    assert json.loads(filtered("encode", "--json", "--pieces", "ab").stdout) == {"pieces": ["a", "b"]}
    done = filtered("decode", "--json", "97", "x")
    assert [json.loads(line) for line in done.stdout.splitlines()] == [{"text": "a"}, {"text": None}]
    assert done.exit_code == 1


@pytest.mark.parametrize("verb", ["classify", "translate", "score", "embed"])
def test_two_forms_exclude_each_other(filtered: Run, verb: str) -> None:
    done = filtered(verb, "--json", "--jsonl", "a")
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.startswith("error: --json and --jsonl: exclude each other")


def test_attention_and_every_label_go_to_the_objects_of_lines(filtered: Run) -> None:
    assert "attention" in json.loads(filtered("translate", "--json", "--attention", "-", "ab").stdout)
    assert filtered("translate", "--attention", "-", "ab").exit_code == 2
    made = json.loads(filtered("classify", "--json", "--all", "--threshold", 0.5, "ab").stdout)
    assert set(made["probabilities"]) == {"a", "b"}


def test_a_byte_order_mark_is_dropped_from_each_file(filtered: Run, tmp_path: Path) -> None:
    for name in ("a.txt", "b.txt"):
        (tmp_path / name).write_bytes(b"\xef\xbb\xbfab\n")
    plain = filtered("translate", "ab", "ab").stdout
    assert filtered("translate", tmp_path / "a.txt", tmp_path / "b.txt").stdout == plain


@pytest.mark.parametrize("verb", FILTERS)
def test_a_mistyped_file_is_refused_before_anything_is_written(filtered: Run, tmp_path: Path, verb: str) -> None:
    (tmp_path / "notes.txt").write_text("97\n")
    done = filtered(verb, "97", tmp_path / "notes.tx")
    command = f"nlpseq {'tokenize ' * (verb in ('encode', 'decode'))}{verb}"
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr == (
        f"error: {tmp_path}/notes.tx: there is no such file\n"
        f"hint:  did you mean {tmp_path}/notes.txt? as a text: echo {tmp_path}/notes.tx | {command}\n"
    )


def test_a_tokeniser_is_checked_on_texts_and_files(nlpseq: Run, models: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"one\n\xff\n")
    done = nlpseq("tokenize", "check", "-t", models["encode"], "a text", tmp_path / "a.txt")
    assert done.stdout == "3 lines, all come back byte for byte\n"


@pytest.mark.parametrize("flags", [("--seed", "the cat"), ()], ids=["seed", "input"])
def test_the_text_of_a_pipe_is_continued(nlpseq: Run, model_path: Path, flags: tuple[str, ...]) -> None:
    same = ("generate", "-m", model_path, "--length", 9, "--random-seed", 3)
    expected = nlpseq(*same, "--seed", "the cat").stdout
    assert nlpseq(*same, *flags, input=b"the cat\n").stdout == expected
    assert expected.startswith("the cat")


def test_an_empty_seed_leaves_standard_input_alone(nlpseq: Run, model_path: Path) -> None:
    same = ("generate", "-m", model_path, "--length", 9, "--json")
    assert json.loads(nlpseq(*same, "--seed", "", input=b"the cat\n").stdout)["seed"] == ""
    assert json.loads(nlpseq(*same, input=b"").stdout)["seed"] == ""
    assert json.loads(nlpseq(*same, input=b"the cat\nsat\n").stdout)["seed"] == "the cat\nsat"


def test_several_texts_continue_the_text_of_a_pipe(nlpseq: Run, model_path: Path) -> None:
    done = nlpseq("generate", "-m", model_path, "-n", 2, "--length", 4, "--json", input="größe")
    assert [json.loads(line)["seed"] for line in done.stdout.splitlines()] == ["größe", "größe"]


def test_a_seed_that_is_not_utf8_says_so(nlpseq: Run, model_path: Path) -> None:
    done = nlpseq("generate", "-m", model_path, "--length", 3, input=b"a\xff")
    assert done.stdout_bytes.startswith(b"a") and done.exit_code == 0
    assert done.stderr == "note: the text was not UTF-8, and read byte by byte\n"


def test_a_pipe_and_a_file_reach_the_whole_program(model_path: Path, tmp_path: Path) -> None:
    (tmp_path / "seed.txt").write_text("the cat\n")
    program = [sys.executable, "-m", "nlpseq", "generate", "-m", str(model_path), "--length", "5", "-q"]
    piped = subprocess.run(program, input=b"the cat\n", capture_output=True, check=True)
    with (tmp_path / "seed.txt").open("rb") as file:
        read = subprocess.run(program, stdin=file, capture_output=True, check=True)
    null = subprocess.run(program, stdin=subprocess.DEVNULL, capture_output=True, check=True)
    assert piped.stdout.startswith(b"the cat") and read.stdout.startswith(b"the cat")
    assert null.stdout.endswith(b"\n") and not piped.stderr + read.stderr + null.stderr


def test_a_terminal_is_answered_line_by_line_and_told_how(models: dict[str, Path]) -> None:
    pty = pytest.importorskip("pty")
    keyboard, terminal = pty.openpty()
    program = [sys.executable, "-m", "nlpseq", "tokenize", "encode", "-t", str(models["encode"])]
    with subprocess.Popen(program, stdin=terminal, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout and process.stderr
        assert process.stderr.readline() == b"note: type a text and press Enter; Ctrl-D ends\n"
        for typed, answer in ((b"ab\n", b"97 98\n"), (b"\n", b"\n"), (b"c\n", b"99\n")):
            os.write(keyboard, typed)
            assert process.stdout.readline() == answer
        os.write(keyboard, b"\x04")
        assert (process.stdout.read(), process.stderr.read(), process.wait()) == (b"", b"", 0)
    os.close(keyboard)
    os.close(terminal)


ONE_MODEL = (
    ("generate",),
    ("classify", "a text"),
    ("score", "a text"),
    ("embed", "a text"),
    ("nearest", "a"),
    ("evaluate",),
    ("inspect", "model"),
    ("inspect", "words", "a text"),
    ("tokenize", "encode", "a text"),
)


@pytest.mark.parametrize("words", ONE_MODEL, ids=" ".join)
def test_two_models_are_refused_where_one_is_taken(nlpseq: Run, words: tuple[str, ...]) -> None:
    for flag in ("-m", "--model"):
        done = nlpseq(*words, "-m", "first", flag, "second", input=b"")
        assert (done.exit_code, done.stdout) == (2, "")
        assert done.stderr.startswith("error: --model: takes one value, was set 2 times\n")


def test_two_models_translate_together(filtered: Run, models: dict[str, Path]) -> None:
    model = models["translate"]
    assert filtered("translate", "-m", model, "ab").stdout == filtered("translate", "ab").stdout


@pytest.mark.parametrize("text", ["-5 degrees", "- an item", "-- a dash"])
def test_a_text_that_starts_with_a_dash_comes_after_two(filtered: Run, text: str) -> None:
    done = filtered("encode", text)
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.endswith(f"hint:  nlpseq tokenize encode -- '{text}'\n")
    assert filtered("encode", "--", text).stdout == filtered("encode", input=text.encode()).stdout


def test_a_model_that_is_named_as_a_text_is_told(filtered: Run, models: dict[str, Path]) -> None:
    done = filtered("classify", models["classify"])
    assert done.exit_code == 1
    assert done.stderr.endswith(f"this is a model, not a text\nhint:  nlpseq classify -m {models['classify']}\n")


def test_inspect_takes_the_path_of_a_model(nlpseq: Run, model_path: Path) -> None:
    for path in (model_path, model_path.parent):
        expected = nlpseq("inspect", "model", "-m", path, "--json")
        assert nlpseq("inspect", path, "--json").stdout == expected.stdout
    assert "there is no command 'modle'" in nlpseq("inspect", "modle").stderr
    done = nlpseq("inspect", "no/where")
    assert (done.exit_code, "no/where: no such model" in done.stderr) == (1, True)
    assert nlpseq("inspect", model_path, "-m", model_path).exit_code == 2


def test_attention_is_inspected_of_a_text_from_anywhere(nlpseq: Run, models: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("ab c\n")
    same = ("inspect", "attention", "-m", models["translate"], "--longest", 4, "--json")
    expected = nlpseq(*same, "ab c").stdout
    assert json.loads(expected)["text"] == "ab c"
    assert nlpseq(*same, tmp_path / "a.txt").stdout == expected
    assert nlpseq(*same, "-", input=b"ab c\n").stdout == expected
    assert nlpseq(*same, input=b"ab c").stdout == expected
    done = nlpseq(*same, input=b"")
    assert done.stderr == "error: stdin: it is empty\nhint:  nlpseq inspect attention 'A man is sleeping.'\n"


def test_words_are_inspected_of_a_text_from_anywhere(nlpseq: Run, models: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a dull\nfilm\n")
    same = ("inspect", "words", "-m", models["classify"], "--json")
    expected = nlpseq(*same, "a dull\nfilm").stdout
    assert nlpseq(*same, tmp_path / "a.txt").stdout == expected
    assert nlpseq(*same, input=b"a dull\nfilm\n").stdout == expected
    assert "".join(word["word"] + " " for word in json.loads(expected)["words"]).split() == ["a", "dull", "film"]
