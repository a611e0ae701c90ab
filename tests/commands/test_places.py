"""Every option that takes a path, with paths that may not be looked at, are too long or have odd bytes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import Result

from nlpseq.commands.cli import app

PLACES = ("FILE", "PATH", "DIR", "RUN", "CORPUS", "MODEL")  # in the metavar of a parameter that takes a path
WITH = {  # what else a command needs to come as far as its paths
    "distil": ["reviews"],
    "nearest": ["cat"],
    "tokenize train": ["stories"],
    "train lm": ["stories"],
    "train sentiment": ["reviews"],
    "train translation": ["english-german"],
}
BESIDE = {"--vectors": ["--in", "stories.txt"], "--state": [], "--source": ["--target", "x.txt"]}
NO_PATH = {"tune"}  # needs a library that may not be installed, and shares its paths with `train`


def commands(command: Any, words: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """All commands, by their words."""
    if hasattr(command, "list_commands"):
        for name in command.list_commands(None):
            yield from commands(command.get_command(None, name), (*words, name))
    else:
        yield words, command


def lines() -> Iterator[tuple[list[str], str]]:
    """For each parameter that takes a path: the words before it, and its name."""
    for words, command in commands(typer.main.get_command(app)):
        for parameter in command.params:
            takes_path = any(place in (getattr(parameter, "metavar", None) or "") for place in PLACES)
            if not takes_path or words[0] in NO_PATH:
                continue
            if parameter.param_type_name == "argument":
                yield [*words], "argument"
            else:
                option = next(name for name in parameter.opts if name.startswith("--"))
                more = WITH.get(" ".join(words), [])
                beside = [] if words[0] in ("score", "evaluate") else BESIDE.get(option, [])
                yield [*words, *more, *beside, option], option


LINES = list(lines())


def test_the_options_that_take_a_path_are_found() -> None:
    told = {" ".join(words) for words, _ in LINES}
    assert len(told) > 80
    assert {"generate --model", "train lm stories --valid", "corpus check --against", "runs"} <= told


def assert_told(done: Result) -> None:
    """A failure is one sentence, with at most a hint: never a traceback."""
    assert done.exit_code in (1, 2), done.output
    found = [line for line in done.stderr.splitlines() if not line.startswith(("note:", "reading "))]
    assert found[0].startswith("error: ") and len(found) <= 2, done.stderr


@pytest.mark.parametrize(("words", "name"), LINES, ids=lambda part: part if isinstance(part, str) else " ".join(part))
def test_a_path_that_is_too_long_is_told(words: list[str], name: str, nlpseq: Callable[..., Result]) -> None:
    done = nlpseq(*words, f"{'x' * 300}.npy", input=b"")
    if name == "argument" and done.exit_code == 0:
        assert words[0] not in ("corpus", "train", "distil", "evaluate")  # a filter takes what is so long for a text
    else:
        assert_told(done)


@pytest.mark.parametrize("kind", ["closed", "odd"])
@pytest.mark.parametrize(
    "words",
    [
        ["classify"],
        ["corpus", "show"],
        ["corpus", "check", "stories", "--against"],
        ["evaluate", "-m", "stories"],
        ["generate", "-m"],
        ["generate", "--seed", "x", "--state"],
        ["generate", "--config"],
        ["nearest", "cat", "--in"],
        ["runs"],
        ["score", "-m", "english-german", "--source"],
        ["tokenize", "encode", "x", "-t"],
        ["train", "lm"],
        ["train", "lm", "stories", "--init-from"],
        ["train", "lm", "stories", "--like"],
        ["train", "lm", "stories", "--valid"],
        ["train", "sentiment", "reviews", "--unlabelled"],
    ],
    ids=" ".join,
)
def test_permission_denied_is_said_where_that_is_true(
    words: list[str], kind: str, nlpseq: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "closed"
    folder.mkdir()
    look = os.stat

    def stat(path: Any, *rest: Any, **options: Any) -> os.stat_result:
        if isinstance(path, str | os.PathLike) and str(path).startswith(f"{folder}/"):
            raise PermissionError(13, "Permission denied", str(path))
        return look(path, *rest, **options)

    if kind == "closed":
        monkeypatch.setattr(os, "stat", stat)
    done = nlpseq(*words, folder / (os.fsdecode(b"\xff\xfe") + "file.txt"), input=b"")
    assert_told(done)
    denied = "Permission denied" in done.stderr
    assert denied == (kind == "closed" and "--config" not in words), done.stderr  # a run file is opened, not looked at


def test_an_error_of_the_system_is_one_sentence(nlpseq: Callable[..., Result], monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*ignored: object, **options: object) -> None:
        raise OSError(28, "No space left on device", "a\x1bb")

    monkeypatch.setattr("nlpseq.commands.corpus.open_corpus", full)
    done = nlpseq("corpus", "show", "stories")
    assert done.exit_code == 1
    assert done.stderr == (
        "error: a\\x1bb: No space left on device\nhint:  free some space on the disk, then run the command again\n"
    )


def test_what_the_name_of_a_file_holds_reaches_no_terminal(nlpseq: Callable[..., Result], tmp_path: Path) -> None:
    path = tmp_path / "a\x1b]0;x\x07\u202e.txt"
    path.write_text("the cat\n")
    done = nlpseq("score", "-m", "stories", path)
    assert done.exit_code == 0 and "\x1b" not in done.stderr and "\u202e" not in done.stderr


def test_a_tokeniser_that_never_ends_is_refused(nlpseq: Callable[..., Result], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nlpseq.commands.tokenize.LARGEST_FILE", 1 << 20)
    done = nlpseq("tokenize", "encode", "-t", "/dev/zero", "x")
    assert done.exit_code == 1 and "/dev/zero: is no tokeniser: it has more than 1 MiB" in done.stderr


@pytest.mark.parametrize("command", ["classify", "score", "translate", "embed"])
def test_a_device_without_an_end_is_no_file_of_lines(command: str, nlpseq: Callable[..., Result]) -> None:
    done = nlpseq(command, "/dev/zero")
    assert done.exit_code == 1 and "/dev/zero: this is a device, not a file" in done.stderr


def test_a_line_that_never_ends_is_refused(nlpseq: Callable[..., Result], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nlpseq.commands.tokenize.LONGEST_WHOLE", 100)
    done = nlpseq("tokenize", "encode", "-m", "stories", input=b"x" * 101)
    assert done.exit_code == 1 and "a line has more than" in done.stderr
    assert nlpseq("tokenize", "encode", "-m", "stories", input=b"x" * 100).exit_code == 0
