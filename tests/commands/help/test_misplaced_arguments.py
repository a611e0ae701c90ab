"""Arguments of the wrong kind or at the wrong place, and the command line that is hinted at."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

Run = Callable[..., Result]
ONE_TASK = "a corpus comes after one"


@pytest.fixture(autouse=True)
def files() -> None:
    """Texts, tables and a page in the working folder."""
    for name in ("en.txt", "de.txt", "my text.txt"):
        Path(name).write_text("one\ntwo\n")
    Path("labels.tsv").write_text("label\ttext\ngood\ta film\n")
    Path("pairs.csv").write_text("source,target\na,b\n")
    Path("tabs.txt").write_text("a\tb\n")
    Path("books").mkdir()
    Path("books/one.txt").write_text("one\n")


def _assert_hint(done: Result, hint: str, says: str = "") -> None:
    assert done.exit_code in (1, 2) and done.stdout == ""
    assert done.stderr.endswith(f"\nhint:  {hint}\n")
    assert done.stderr.startswith("error: ") and says in done.stderr


@pytest.mark.parametrize(
    ("typed", "hint"),
    [
        ("en.txt --steps 5", "lm en.txt --steps 5"),
        ("'my text.txt'", "lm 'my text.txt'"),
        ("books", "lm books"),
        ("'books/*.txt'", "lm 'books/*.txt'"),
        ("stories", "lm stories"),
        ("hf:name -q", "lm hf:name -q"),
        ("-", "lm -"),
        ("missing.txt", "lm missing.txt"),
        ("labels.tsv --minutes 2", "sentiment labels.tsv --minutes 2"),
        ("pairs.csv", "translation pairs.csv"),
        ("english-german", "translation english-german"),
        ("--steps 5 en.txt", "lm --steps 5 en.txt"),
        ("--steps 5 sentiment labels.tsv", "sentiment --steps 5 labels.tsv"),
    ],
)
def test_a_corpus_without_a_task_is_trained_as_its_kind(nlpseq: Run, typed: str, hint: str) -> None:
    _assert_hint(nlpseq("train", *shlex.split(typed), prog_name="nlpseq"), f"nlpseq train {hint}")


def test_a_word_that_is_no_corpus_has_the_help(nlpseq: Run) -> None:
    _assert_hint(nlpseq("train", "nothing", prog_name="nlpseq"), "nlpseq train --help")


@pytest.mark.parametrize(
    ("typed", "hint"),
    [
        ("'The harbour'", "--seed 'The harbour'"),
        ("The harbour --length 5 -n 2", "--seed 'The harbour' --length 5 -n 2"),
        ("-n 2 -- -5 degrees", "--seed '-5 degrees' -n 2"),
        ("--seed Once upon a time -q", "--seed 'Once upon a time' -q"),
        ("--seed=Once upon", "--seed 'Once upon'"),
        ("-", "--seed -"),
        ("en.txt", "< en.txt"),
        ("'my text.txt' --length 5", "--length 5 < 'my text.txt'"),
        ("books -q", "-m books -q"),
        ("books -m other", "--help"),
    ],
)
def test_an_argument_of_generate_goes_where_it_is_taken(nlpseq: Run, typed: str, hint: str) -> None:
    done = nlpseq("generate", *shlex.split(typed), prog_name="nlpseq")
    _assert_hint(done, f"nlpseq generate {hint}", "unexpected argument")


@pytest.mark.parametrize(("argument", "hint"), [("books", "-m books"), ("no-such-folder", "--help")])
def test_a_path_without_a_flag_is_that_of_a_model(nlpseq: Run, argument: str, hint: str) -> None:
    done = nlpseq("inspect", "model", argument, prog_name="nlpseq")
    _assert_hint(done, f"nlpseq inspect model {hint}", f"unexpected argument {argument}")


def test_two_texts_are_a_source_and_a_target(nlpseq: Run) -> None:
    done = nlpseq("train", "translation", "en.txt", "--steps", "5", "de.txt", prog_name="nlpseq")
    hint = "nlpseq train translation --source en.txt --target de.txt --steps 5"
    _assert_hint(done, hint, "en.txt and de.txt: they are texts, not tables of pairs")


@pytest.mark.parametrize("names", [("en.txt", "tabs.txt"), ("en.txt",), ("en.txt", "pairs.csv")], ids=" ".join)
def test_other_corpora_of_a_translator_are_read_as_tables(nlpseq: Run, names: tuple[str, ...]) -> None:
    done = nlpseq("train", "translation", *names, prog_name="nlpseq")
    assert done.exit_code == 1 and "en.txt:1: it is not a table" in done.stderr


@pytest.mark.parametrize(
    ("typed", "hint"),
    [
        (
            "train lm http://a.org/b.txt --steps 5",
            "curl -LO http://a.org/b.txt && nlpseq train lm b.txt --steps 5",
        ),
        (
            "train lm 'https://a.org/b.txt?x=1&y=[2]'",
            "curl -LO 'https://a.org/b.txt?x=1&y=[2]' && nlpseq train lm b.txt",
        ),
        ("evaluate FTP://a.org/c/d.gz", "curl -LO FTP://a.org/c/d.gz && nlpseq evaluate d.gz"),
        ("corpus check http://a.org/", "curl -L http://a.org/ -o page.html && nlpseq corpus check page.html"),
        ("corpus show https://a.org", "curl -L https://a.org -o page.html && nlpseq corpus show page.html"),
        ("tokenize train http://a.org/b", "curl -LO http://a.org/b && nlpseq tokenize train b"),
        (
            "train translation --source http://a.org/x.de --target=http://a.org/x.en",
            "curl -LO http://a.org/x.de && curl -LO http://a.org/x.en && "
            "nlpseq train translation --source x.de --target=x.en",
        ),
        ("train lm https://huggingface.co/datasets/a/b/tree/main", "nlpseq train lm hf:a/b"),
    ],
)
def test_a_web_address_is_downloaded_first(nlpseq: Run, typed: str, hint: str) -> None:
    done = nlpseq(*shlex.split(typed), prog_name="nlpseq")
    _assert_hint(done, hint, "it is a web address, and must be a file")


def _piped(*arguments: str, stdin: bytes = b"one\n") -> subprocess.CompletedProcess[bytes]:
    program = [sys.executable, "-m", "nlpseq", *arguments]
    return subprocess.run(program, input=stdin, capture_output=True, check=False, env={**os.environ})


@pytest.mark.parametrize(
    ("typed", "hint"), [("corpus check -q", "corpus check -q -"), ("corpus show", "corpus show -")]
)
def test_a_text_on_standard_input_is_named(typed: str, hint: str) -> None:
    done = _piped(*typed.split())
    assert done.returncode == 2
    assert (
        done.stderr.decode() == f"error: nlpseq {typed.removesuffix(' -q')}: CORPUS is missing\nhint:  nlpseq {hint}\n"
    )
    assert _piped(*hint.split()).returncode == 0


def test_an_empty_standard_input_is_not_named() -> None:
    done = _piped("corpus", "check", stdin=b"")
    assert done.stderr.endswith(b"hint:  nlpseq corpus check FILE\n")
