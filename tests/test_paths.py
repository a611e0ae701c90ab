"""What is at a path, and what may not be looked at or replaced."""

from __future__ import annotations

import os
import pickle
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from nlpseq import paths
from nlpseq.errors import CorpusError, ModelFileError, PathError, RunError
from nlpseq.files import replace_file

QUESTIONS = [paths.exists, paths.is_file, paths.is_folder]


def test_files_and_folders_are_told_apart(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("x")
    (tmp_path / "link").symlink_to(file)
    (tmp_path / "broken").symlink_to(tmp_path / "nothing")
    found = {
        name: tuple(question(tmp_path / name) for question in QUESTIONS)
        for name in ("file", "link", "broken", "nothing", "file/below", ".")
    }
    nothing = (False, False, False)
    assert found["file"] == found["link"] == (True, True, False) and found["."] == (True, False, True)
    assert found["broken"] == found["nothing"] == found["file/below"] == nothing


def deny(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Nothing below a folder may be looked at, as if it had no x permission; root is stopped too."""
    look = os.stat

    def stat(path: object, **options: object) -> os.stat_result:
        if str(path).startswith(f"{folder}/"):
            raise PermissionError(13, "Permission denied", str(path))
        return look(path, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "stat", stat)


@pytest.mark.parametrize("question", QUESTIONS)
def test_a_closed_folder_is_named(question: Callable[[object], bool], tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    closed = tmp_path / "a folder"
    deny(monkeypatch, closed)
    with pytest.raises(PathError) as raised:
        question(closed / "below" / "file.txt")
    assert raised.value.where == str(closed / "below" / "file.txt")
    assert raised.value.what == "it cannot be looked at: Permission denied"


def test_the_hint_names_the_folder_that_is_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    closed = tmp_path / "a folder"
    closed.mkdir()
    deny(monkeypatch, closed)
    with pytest.raises(PathError) as raised:
        paths.exists(closed / "below" / "file.txt")
    assert raised.value.hint == f"ls -ld '{closed}' shows who may enter it"


@pytest.mark.parametrize(
    ("name", "what"),
    [("x" * 300, "File name too long"), ("d/" * 3000, "File name too long"), ("a\0b", "null"), ("\ud800", "name")],
)
def test_a_name_that_no_file_can_have_is_refused(name: str, what: str) -> None:
    with pytest.raises(PathError, match=what):
        paths.exists(name)


def test_a_loop_of_links_is_refused(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(PathError, match="symbolic links"):
        paths.exists(tmp_path / "loop")


@pytest.mark.parametrize("kind", [CorpusError, ModelFileError, RunError])
def test_the_error_is_one_of_every_kind_of_file(kind: type[Exception]) -> None:
    with pytest.raises(kind) as raised:
        paths.exists("x" * 300)
    copy = pickle.loads(pickle.dumps(raised.value))
    assert type(copy) is PathError and str(copy) == str(raised.value)


@pytest.fixture(params=["folder", "pipe", "socket"])
def other(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The path of what is not a file."""
    path = tmp_path / request.param
    if request.param == "folder":
        path.mkdir()
    elif request.param == "pipe":
        os.mkfifo(path)
    else:
        monkeypatch.chdir(tmp_path)  # the name of a socket must be short
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(path.name)
    return path


def test_only_files_are_replaced(other: Path) -> None:
    before = other.lstat()
    with pytest.raises(RunError, match=f"is a {other.name}, not a file"):
        replace_file(other, b"x")
    assert other.lstat().st_ino == before.st_ino and len(os.listdir(other.parent)) == 1


@pytest.mark.parametrize("path", ["/dev/null", "/dev/stdout", "/dev/fd/1", "/dev/new"])
def test_no_file_takes_the_place_of_a_device(path: str) -> None:
    """The test calls `need_target` only, which writes nothing, even as root."""
    with pytest.raises(RunError) as raised:
        paths.need_target(path, "--save-state")
    assert raised.value.what == "is a device, not a file" and raised.value.hint == "--save-state FILE"


def test_a_file_and_a_new_name_may_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    paths.need_target(tmp_path / "file")
    paths.need_target(tmp_path / "new")
    replace_file(tmp_path / os.fsdecode(b"\xff\xfe"), b"odd")
    assert (tmp_path / os.fsdecode(b"\xff\xfe")).read_bytes() == b"odd"


@pytest.mark.skipif(not os.path.exists("/dev/zero"), reason="there is no /dev/zero here")
def test_devices_without_an_end_are_known(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    assert paths.is_endless("/dev/zero")
    assert not any(map(paths.is_endless, [os.devnull, tmp_path, tmp_path / "file", tmp_path / "nothing"]))
