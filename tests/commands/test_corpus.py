"""`nlpseq corpus` from the outside."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from threading import Thread
from typing import BinaryIO

import pytest
from typer.testing import Result

from nlpseq.text.bundled import BUNDLED

Run = Callable[..., Result]


def test_the_bundled_corpora_are_listed(nlpseq: Run) -> None:
    lines = nlpseq("corpus", "list").stdout.splitlines()
    assert [line.split()[0] for line in lines] == list(BUNDLED)
    assert [one["name"] for one in json.loads(nlpseq("corpus", "list", "--json").stdout)] == list(BUNDLED)


def test_a_corpus_is_shown_as_it_is(nlpseq: Run, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes("ö [bold]\x0b\u2028\n".encode())
    done = nlpseq("corpus", "show", tmp_path / "a.txt", tmp_path / "a.txt")
    assert done.stdout_bytes == "ö [bold]\x0b\u2028\n".encode() * 2
    assert len(nlpseq("corpus", "show", "python-docs").stdout_bytes) > 100_000


def test_a_corpus_is_shown_as_objects(nlpseq: Run, tmp_path: Path) -> None:
    lines = ["ö [bold]\x0b\u2028", "", '"quoted"']
    (tmp_path / "a.txt").write_bytes("\n".join(lines).encode())
    shown = nlpseq("corpus", "show", "--json", tmp_path / "a.txt", tmp_path / "a.txt").stdout_bytes
    assert [json.loads(line) for line in shown.splitlines()] == [{"text": line} for line in lines] * 2
    (tmp_path / "b.csv").write_text("id;text\n1;one\n2;two\n")
    column = nlpseq("corpus", "show", "--json", "--text-column", "text", tmp_path / "b.csv").stdout
    assert column == '{"text": "one"}\n{"text": "two"}\n'


def test_text_anywhere_is_shown_and_checked(nlpseq: Run, tmp_path: Path) -> None:
    (tmp_path / "books").mkdir()
    (tmp_path / "books" / "a.html").write_text("<title>no</title><p>one")
    (tmp_path / "books" / "b.txt").write_text("two")
    (tmp_path / "books" / "c.png").write_bytes(b"\x89PNG\0")
    assert nlpseq("corpus", "show", tmp_path / "books").stdout == "one\ntwo\n"
    assert nlpseq("corpus", "show", f"{tmp_path}/books/*.txt", "-", input=b"three\n").stdout == "two\nthree\n"
    done = nlpseq("corpus", "check", tmp_path / "books")
    assert done.exit_code == 0 and "1 of its 3 files is left out: 1 not text" in done.stdout
    done = nlpseq("corpus", "check", "-", input=b"one\ntwo\r\n")
    assert done.exit_code == 1 and "hint:  COMMAND | tr -d '\\r' > input.lf" in done.stdout
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as pictures:
        for number in range(12):
            pictures.writestr(f"{number}.png", b"\x89PNG\0")
    done = nlpseq("corpus", "show", tmp_path / "x.zip")
    assert done.stderr == f"error: {tmp_path / 'x.zip'}: it has no text, 12 files of other kinds\n"
    done = nlpseq("corpus", "check", "-q", tmp_path / "x.zip")
    assert done.stdout == f"fault: {tmp_path / 'x.zip'}: it has no text, 12 files of other kinds\n"


@pytest.mark.parametrize(
    ("command", "what", "hint"),
    [
        (("sentiment", "a.epub"), "it is an EPUB book, not a table", "nlpseq train lm a.epub; with labels: .tsv, .csv"),
        (("translation", "a.html"), "it is a web page, not a table", "name a table (.tsv, "),
        (
            ("translation", "--source", "a.docx", "--target", "a.docx"),
            "it is a Word document, not one text in each line",
            "nlpseq corpus show a.docx > a.txt",
        ),
    ],
)
def test_other_tasks_say_what_they_can_read(nlpseq: Run, command: tuple[str, ...], what: str, hint: str) -> None:
    for name in ("a.epub", "a.html", "a.docx"):
        Path(name).write_text("text\n")
    done = nlpseq("train", *command)
    assert done.exit_code == 1 and what in done.stderr and hint in done.stderr
    assert not Path("checkpoints").exists()


def test_a_sound_corpus_has_no_faults(nlpseq: Run, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one\ntwo\n")
    done = nlpseq("corpus", "check", tmp_path / "a.txt")
    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout.startswith(f"note: {tmp_path / 'a.txt'}: ")
    assert nlpseq("corpus", "check", "-q", tmp_path / "a.txt").stdout == ""


def test_a_fault_is_told_with_its_line(nlpseq: Run, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"one\ncaf\xe9\n")
    done = nlpseq("corpus", "check", "-q", tmp_path / "a.txt")
    assert done.exit_code == 1
    assert done.stdout.startswith(f"fault: {tmp_path / 'a.txt'}:2: ")
    found = json.loads(nlpseq("corpus", "check", "--json", tmp_path / "a.txt").stdout)
    assert {"corpus", "level", "line", "what", "hint"} == set(found[0])
    assert "fault" in {one["level"] for one in found}


def test_lines_that_stand_in_both_texts_are_found(nlpseq: Run, tmp_path: Path) -> None:
    line = "this is a line that is long enough to tell one text from another\n"
    (tmp_path / "a.txt").write_text(line * 3)
    done = nlpseq("corpus", "check", tmp_path / "a.txt", "--against", tmp_path / "a.txt")
    assert done.exit_code == 1


def test_every_odd_file_is_looked_through(nlpseq: Run, odd_file: bytes, tmp_path: Path) -> None:
    (tmp_path / "odd.txt").write_bytes(odd_file)
    assert nlpseq("corpus", "check", tmp_path / "odd.txt").exit_code in (0, 1)


def test_an_unknown_corpus_is_told_with_the_nearest(nlpseq: Run) -> None:
    for verb in ("show", "check"):
        done = nlpseq("corpus", verb, "storys")
        assert done.exit_code == 1
        assert "stories" in done.stderr


def test_parallel_text_is_checked_as_such(nlpseq: Run, tmp_path: Path) -> None:
    (tmp_path / "a.en").write_text("one\ntwo\n\n" + "".join(f"text {number}\n" for number in range(20)))
    (tmp_path / "a.de").write_text("eins\nzwei\ndrei\n" + "".join(f"Wort {number}\n" for number in range(20)))
    (tmp_path / "a.tsv").write_text("one\teins\n")
    files = ("--source", tmp_path / "a.en", "--target", tmp_path / "a.de")
    done = nlpseq("corpus", "check", *files)
    assert done.exit_code == 0 and "1 of 23 pairs (4.3%) with a blank side" in done.stdout
    done = nlpseq("corpus", "check", "--pairs", tmp_path / "a.tsv")
    assert done.exit_code == 1 and "1 pair," in done.stdout and "needs at least 20 pairs" in done.stdout
    assert "9,000 pairs" in nlpseq("corpus", "check", "english-german").stdout
    done = nlpseq("corpus", "check", *files, "--against", tmp_path / "a.tsv", "-q")
    assert done.exit_code == 1 and "of the sources of" in done.stdout
    assert nlpseq("corpus", "check", *files, tmp_path / "a.tsv").exit_code == 2
    assert nlpseq("corpus", "check").exit_code == 2


def test_one_column_of_a_table_is_shown_as_text(nlpseq: Run, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('id;text\n1;"one; ""two"""\n2;"three\nfour"\n\n3;\n')
    wanted = 'one; "two"\nthree four\n\n'
    assert nlpseq("corpus", "show", "--text-column", "Text", tmp_path / "a.csv").stdout == wanted
    assert nlpseq("corpus", "show", "--text-column", "2", tmp_path / "a.csv").stdout == wanted
    (tmp_path / "b.jsonl").write_text('{"id": 1, "text": "one"}\n{"id": 2, "text": null}\n')
    assert nlpseq("corpus", "show", "--text-column", "text", tmp_path / "b.jsonl").stdout == "one\n\n"
    (tmp_path / "c.tsv").write_text("1\tone\n2\ttwo\n")
    assert nlpseq("corpus", "show", "--text-column", "2", tmp_path / "c.tsv").stdout == "one\ntwo\n"
    assert len(nlpseq("corpus", "show", "--text-column", "text", "reviews").stdout.splitlines()) == 5000
    done = nlpseq("corpus", "show", "--text-column", "review", tmp_path / "a.csv")
    assert done.exit_code == 1 and "it has no column `review`, only id, text" in done.stderr


def test_a_row_with_too_many_cells_is_answered_with_a_cure(nlpseq: Run, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("a,b\nx,y,z\n")
    shown = nlpseq("corpus", "check", "--pairs", tmp_path / "a.csv").stdout
    assert "between quotation marks; to see it: sed -n 2p" in shown
    (tmp_path / "b.jsonl").write_text('{"text": "a"}\n{"text" "b"}\n')
    shown = nlpseq("corpus", "check", "--labels", tmp_path / "b.jsonl").stdout
    assert f"{tmp_path / 'b.jsonl'}:2: it is not JSON: Expecting ':' delimiter at character 9\n" in shown


def test_the_beginning_of_a_corpus_is_shown_and_checked(nlpseq: Run, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one\ntwo\nthree\n")
    (tmp_path / "a.csv").write_text("id,text\n" + "".join(f"{number},text {number}\n" for number in range(30)))
    assert nlpseq("corpus", "show", "--take", "2", tmp_path / "a.txt", tmp_path / "a.txt").stdout == "one\ntwo\n" * 2
    assert nlpseq("corpus", "show", f"{tmp_path}/a.txt@1").stdout == "one\n"
    assert (
        nlpseq("corpus", "show", "--take", 2, "--text-column", "text", tmp_path / "a.csv").stdout == "text 0\ntext 1\n"
    )
    assert "2 lines, 6 characters" in nlpseq("corpus", "check", "--take", "2", tmp_path / "a.txt").stdout
    done = nlpseq("corpus", "check", "--take", "25", "--source", tmp_path / "a.csv", "--target", tmp_path / "a.csv")
    assert "25 pairs" in done.stdout
    assert nlpseq("corpus", "check", "--take", "0", tmp_path / "a.txt").exit_code == 2
    done = nlpseq("corpus", "show", "--take", "2", "-", input=b"one\n")
    assert done.exit_code == 2 and "standard input is read to its end" in done.stderr


def test_a_long_standard_input_is_shown_from_its_start(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "nlpseq", "corpus", "show", "-"]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=tmp_path, env=environment
    ) as process:
        assert process.stdin is not None and process.stdout is not None and process.stderr is not None

        def write(stream: BinaryIO) -> None:
            with suppress(BrokenPipeError):
                while True:  # without end
                    stream.write(b"one line\n" * 10_000)

        writer = Thread(target=write, args=(process.stdin,), daemon=True)
        writer.start()
        assert process.stdout.readline() == b"one line\n"
        process.stdout.close()
        assert process.wait(30) == 0 and process.stderr.read() == b""
        writer.join(30)
        with suppress(BrokenPipeError):
            process.stdin.close()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
@pytest.mark.parametrize(
    "command",
    [
        ("train", "lm", "PIPE"),
        ("train", "sentiment", "PIPE"),
        ("train", "translation", "--source", "FILE", "--target", "PIPE"),
        ("train", "translation", "english-german", "--valid", "PIPE"),
        ("corpus", "check", "--source", "FILE", "--target", "PIPE"),
    ],
    ids=" ".join,
)
def test_a_pipe_is_refused_before_it_is_read(
    nlpseq: Run, command: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    os.mkfifo("PIPE")  # to open it would wait for a writer
    Path("FILE").write_text("text\n")
    done = nlpseq(*command)
    assert done.exit_code == 1
    assert done.stderr == (
        "error: PIPE: it is a pipe, but must be a file, because it is read more than once\n"
        "hint:  cat PIPE > FILE, and name FILE instead\n"
    )
    assert not Path("checkpoints").exists()
