"""`nlpseq nearest`: notes about what is looked for and looked in, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

Run = Callable[..., Result]
MakeModel = Callable[..., Path]


@pytest.fixture
def known() -> Path:
    """A file with a line three times, and one that is not UTF-8."""
    Path("known.txt").write_bytes(b"the cat\na \xff dog\nthe cat\n\nthe log\nthe cat\n")
    return Path("known.txt")


def test_a_repeated_line_is_written_once(nlpseq: Run, model_path: Path, known: Path) -> None:
    done = nlpseq("nearest", "-m", model_path, "the cat", "--in", known)
    lines = [line.split("\t")[1] for line in done.stdout.splitlines()]
    assert lines[0] == "the cat" and len(lines) == len(set(lines)) == 3


def test_bytes_that_are_not_utf8_are_replaced_in_json(nlpseq: Run, model_path: Path, known: Path) -> None:
    done = nlpseq("nearest", "--json", "-m", model_path, "--in", known, input=b"a \xff dog\n")
    (found,) = map(json.loads, done.stdout.splitlines())
    assert found["text"] == found["nearest"][0]["line"] == "a \ufffd dog"
    assert "\\u" not in done.stdout


@pytest.mark.parametrize("argument", ["--top=1001", "--top=2000"])
def test_more_than_the_help_allows_is_refused(nlpseq: Run, model_path: Path, known: Path, argument: str) -> None:
    done = nlpseq("nearest", "-m", model_path, "cat", "--in", known, argument)
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.startswith("error: --top: must be at most 1000, was ")
    assert nlpseq("nearest", "-m", model_path, "cat", "--in", known, "--top", 1000).exit_code == 0


def test_the_pooling_of_lines_is_refused_for_words(nlpseq: Run, model_path: Path) -> None:
    done = nlpseq("nearest", "-m", model_path, "c", "--pooling", "max")
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.endswith("--pooling: is for the lines of a file\nhint:  --in FILE --pooling max\n")


def test_a_file_among_the_words_is_told(nlpseq: Run, make_model: MakeModel, known: Path) -> None:
    done = nlpseq("nearest", "-m", make_model("word"), "cat", known)
    note = "note: known.txt is a file of words to look for; nlpseq nearest cat --in known.txt looks in it\n"
    assert done.stderr.startswith(note)
    assert "is a file" not in nlpseq("nearest", "-m", make_model("word"), "cat", "--in", known).stderr


@pytest.mark.parametrize(
    ("text", "content", "note"),
    [
        ("", b"the cat\n", "note: there is no text to look for, only blank ones\n"),
        ("the cat", b"", "note: known.txt has no line to look in\n"),
        ("the cat", b"\n \n", "note: known.txt has no line to look in, only blank ones\n"),
    ],
)
def test_an_empty_answer_is_explained(nlpseq: Run, model_path: Path, text: str, content: bytes, note: str) -> None:
    Path("known.txt").write_bytes(content)
    done = nlpseq("nearest", "-m", model_path, text, "--in", "known.txt")
    assert (done.exit_code, done.stdout, done.stderr) == (0, "", note)
    assert nlpseq("nearest", "-q", "-m", model_path, text, "--in", "known.txt").stderr == ""


def test_tokens_that_are_no_words_are_told(nlpseq: Run, make_model: MakeModel) -> None:
    told = "note: this model's tokens are {}, and these are compared"
    characters = told.format("characters")
    assert nlpseq("nearest", "-m", make_model("char"), "c").stderr == f"{characters}\n"
    assert nlpseq("nearest", "-m", make_model("char"), "log").stderr == (
        f"{characters}; 'log' is 3 of them, and has the mean of their vectors\n"
    )
    assert nlpseq("nearest", "-m", make_model("char"), "log", "cat").stderr == (
        f"{characters}; a word of several has the mean of their vectors\n"
    )
    pieces = nlpseq("nearest", "-m", make_model("bpe"), "cat").stderr
    assert pieces.startswith(told.format("pieces of words"))
    assert nlpseq("nearest", "-m", make_model("word"), "cat").stderr == ""


def test_a_text_in_place_of_vectors_is_refused_with_a_name_for_them(nlpseq: Run, model_path: Path, known: Path) -> None:
    done = nlpseq("nearest", "-m", model_path, "cat", "--in", known, "--vectors", known)
    assert done.exit_code == 1
    assert done.stderr.splitlines()[1].startswith("hint:  nlpseq embed --output known.npy FILE")
    assert nlpseq("embed", "-q", "-m", model_path, "--output", "known.npy", known).exit_code == 0
    assert nlpseq("nearest", "-m", model_path, "cat", "--in", known, "--vectors", "known.npy").exit_code == 0


@pytest.mark.parametrize(("name", "hint"), [(".", "vectors.npy"), ("-", "vectors.npy"), ("a.txt", "a.npy")])
def test_the_hint_of_embed_is_a_name(nlpseq: Run, model_path: Path, name: str, hint: str) -> None:
    done = nlpseq("embed", "-m", model_path, f"--output={name}", "a")
    assert done.exit_code == 2
    assert done.stderr.endswith(f"hint:  --output {hint}\n")
    assert nlpseq("embed", "-m", model_path, "--output", hint, "a").stderr == (
        f"note: {hint} has 1 vector of 16 values\n"
    )


@pytest.mark.parametrize(
    ("words", "lines", "error"),
    [
        (("catt", "zzz"), 2, "none of 2 is in the model's vocabulary\nhint:  nlpseq nearest TEXT --in FILE"),
        (("zzz", "catt"), 2, "none of 2 is in the model's vocabulary\nhint:  did you mean cat?"),
    ],
)
def test_words_of_which_none_is_known_are_an_error(
    nlpseq: Run, make_model: MakeModel, words: tuple[str, ...], lines: int, error: str
) -> None:
    model = make_model("word")
    done = nlpseq("nearest", "-m", model, *words)
    notes = "".join(f"note: TEXT must be in the model's vocabulary, was '{word}'\n" for word in words)
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr == f"{notes}error: TEXT: {error}\n"
    piped = nlpseq("nearest", "--json", "-m", model, input="\n".join(("", *words)).encode())
    assert (piped.exit_code, len(piped.stdout.splitlines())) == (2, lines + 1)
    assert nlpseq("nearest", "-m", model, *words, "cat").exit_code == 0
    alone = nlpseq("nearest", "-q", "-m", model, input=b"zzz\n")
    assert alone.stderr == ("error: TEXT: is not in the model's vocabulary\nhint:  nlpseq nearest TEXT --in FILE\n")


@pytest.mark.parametrize(
    ("data", "said"),
    [(b"", "there is no text to look for"), (b"\n \n", "there is no text to look for, only blank ones")],
)
def test_no_text_at_all_is_told(nlpseq: Run, make_model: MakeModel, data: bytes, said: str) -> None:
    Path("lines.txt").write_text("the cat\n")
    for lines in ((), ("--in", "lines.txt")):
        done = nlpseq("nearest", "-m", make_model("word"), *lines, input=data)
        assert (done.exit_code, done.stdout, done.stderr) == (0, "", f"note: {said}\n")


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("knwon.txt", "did you mean known.txt?"),
        ("my folder/lins.txt", "did you mean 'my folder/lines.txt'?"),
        ("something.else", "ls . shows the files there; --in - reads lines from standard input"),
        ("my folder/x.tsv", "ls 'my folder' shows the files there; --in - reads lines from standard input"),
        ("gone/deep/x.txt", "ls . shows the files there; --in - reads lines from standard input"),
    ],
)
def test_the_hint_for_a_file_that_is_not_there_does_good(
    nlpseq: Run, model_path: Path, known: Path, name: str, hint: str
) -> None:
    Path("my folder").mkdir()
    Path("my folder/lines.txt").write_bytes(known.read_bytes())
    done = nlpseq("nearest", "-m", model_path, "the cat", "--in", name)
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr == f"error: {name}: there is no such file\nhint:  {hint}\n"


def test_the_hint_of_a_note_on_lines_looks_in_them(nlpseq: Run, model_path: Path) -> None:
    Path("mails.jsonl").write_text('{"label": "good", "text": "the cat"}\n')
    Path("page.html").write_text("<p>the cat\n")
    for name, rest in (
        ("mails.jsonl", "nlpseq corpus show --text-column text mails.jsonl | nlpseq nearest TEXT --in - reads "),
        ("page.html", "nlpseq corpus show page.html | nlpseq nearest TEXT --in - reads "),
    ):
        assert rest in nlpseq("nearest", "-m", model_path, "the cat", "--in", name).stderr
