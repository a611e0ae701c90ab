"""A corpus is looked through as what it is, and the commands of the hints do good."""

from __future__ import annotations

import gzip
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from nlpseq.errors import OptionError
from nlpseq.text.checks.corpus import check_corpora, check_corpus, corpus_kind
from nlpseq.text.checks.syntax import syntax_note
from nlpseq.text.formats import read_text
from nlpseq.text.tables.label_tables import LabelColumns

ROOT = Path(__file__).parents[3]

KINDS = [
    ("a.txt", "one\ntwo\n", "text"),
    ("a.txt", "__label__a one\n", "labels"),
    ("a.txt", "one\ttwo\n", "text"),
    ("a.tsv", "one\teins\n", "text"),
    ("a.tsv", "en\tde\none\teins\n", "pairs"),
    ("a.csv", "source,target\none,eins\n", "pairs"),
    ("a.csv", "label,text\ngood,fine\n", "labels"),
    ("a.csv", "id,text\n1,fine\n", "text"),
    ("a.jsonl", '{"text": "fine"}\n', "text"),
    ("a.jsonl", '{"text": "fine", "label": 1}\n', "labels"),
    ("a.jsonl", '{"translation": {"en": "one", "de": "eins"}}\n', "pairs"),
    ("a.jsonl", '[{"text": "fine"}]\n', "pairs"),
    ("a.po", 'msgid "a"\nmsgstr "b"\n', "pairs"),
    ("a.po", 'msgid "a\n', "pairs"),
    ("a.tmx", "<tmx><body></body></tmx>", "pairs"),
]


@pytest.mark.parametrize(("name", "text", "kind"), KINDS)
def test_a_corpus_says_what_it_is(name: str, text: str, kind: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    assert corpus_kind(str(tmp_path / name)) == kind


def test_bundled_corpora_and_folders_say_what_they_are(tmp_path: Path) -> None:
    assert [corpus_kind(name) for name in ("stories", "english-german", "reviews")] == ["text", "pairs", "labels"]
    (tmp_path / "good").mkdir()
    (tmp_path / "good" / "a.txt").write_text("fine")
    assert corpus_kind(str(tmp_path)) == "labels"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"kind": "labels", "columns": ("a", "b")}, "is for pairs"),
        ({"kind": "pairs", "label_columns": LabelColumns("a")}, "is for texts with labels"),
        ({"columns": ("a", "b"), "label_columns": LabelColumns("a")}, "is for pairs"),
        ({"kind": "text", "against": ("a", "b")}, "is one text for a text"),
    ],
)
def test_options_of_another_kind_are_refused(options: dict[str, object], said: str, tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text("a\tb\n")
    with pytest.raises(OptionError, match=said):
        check_corpus(str(tmp_path / "a.tsv"), **options)  # type: ignore[arg-type]


SYNTAX = [
    ("tweets.csv", 'id,text\n1,"one, ""two"""\n2,"three\nfour"\n', 'one, "two"\nthree four\n'),
    ("v.csv", "v1;v2;\nham;one, two;\nspam;three;\n", "v2\none, two\nthree\n"),
    ("my tweets.tsv", "id\ttext\n1\tone\n2\ttwo\n", "one\ntwo\n"),
    ("lm.jsonl", '{"id": 1, "text": "one\\ntwo"}\n{"id": 2, "text": "three"}\n', "one two\nthree\n"),
    (
        "src.sgm",
        '<srcset setid="x">\n<seg id="1">A &amp; B</seg>\n<seg id="2">C</seg>\n</srcset>\n',
        "A & B\nC\n",
    ),
]


@pytest.mark.parametrize(("name", "text", "plain"), SYNTAX, ids=[row[0] for row in SYNTAX])
@pytest.mark.skipif(shutil.which("sh") is None or shutil.which("sed") is None, reason="there is no shell")
def test_the_command_of_the_hint_makes_text(name: str, text: str, plain: str, tmp_path: Path) -> None:
    path = tmp_path / "here" / name
    path.parent.mkdir()
    path.write_text(text)
    note = syntax_note(str(path))
    assert note is not None and "learned" in note[0]
    (tmp_path / "python").symlink_to(sys.executable)
    program = tmp_path / "nlpseq"
    program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m nlpseq "$@"\n')
    program.chmod(0o755)
    environment = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    subprocess.run(note[1], shell=True, check=True, cwd=tmp_path, env=environment)
    assert "".join(read_text(tmp_path / f"{path.stem}.txt")) == plain
    findings = check_corpus(str(path), "text")
    assert any(finding.what.startswith(note[0]) and finding.hint == note[1] for finding in findings)


@pytest.mark.parametrize("text", ["plain\n", "1 < 2\n", "<s> a </s>\n"])
def test_plain_text_has_no_syntax(text: str, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(text)
    assert syntax_note(str(tmp_path / "a.txt")) is None


def test_what_was_chosen_is_a_finding(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text("1\ta\t2\tb\n3\tc\t4\td\n")
    found = check_corpus(str(tmp_path / "a.tsv"), columns=("2", "4"))
    assert "source: column 2, target: column 4" in [finding.what for finding in found if finding.level == "note"]
    (fault,) = check_corpus(str(tmp_path / "a.tsv"), "pairs")
    assert (fault.level, fault.line, fault.hint) == ("fault", 1, "--columns 2,4")


@pytest.mark.parametrize("kind", ["text", "gzip", "folder", "pairs", "files", "labels"])
def test_the_display_is_told_how_far_the_check_is(kind: str, tmp_path: Path) -> None:
    firsts = ["ab"[n % 2] + f" {n}" * (kind != "labels") for n in range(40_000)]
    rows, suffix = "".join(f"{first}\tword {n} and {n + 1}\n" for n, first in enumerate(firsts)), "tsv"
    if kind in ("text", "folder"):
        suffix = "txt"
    path = tmp_path / f"a.{suffix}"
    path.write_text(rows)
    if kind == "gzip":
        path = tmp_path / "a.txt.gz"
        path.write_bytes(gzip.compress(rows.encode()))
    told: list[tuple[str, int, int | None]] = []
    names, files = [str(tmp_path if kind == "folder" else path)], None
    if kind == "files":
        names, files = [], (str(path), str(path))
    known = {"pairs": "pairs", "labels": "labels"}.get(kind, "text")
    list(check_corpora(names, files, kind=known, watch=lambda *values: told.append(values)))  # type: ignore[arg-type]
    reading = [(done, total) for work, done, total in told if work == "reading"]
    if known == "text":
        last = reading[0 if kind == "files" else -1]  # then come the pairs
        assert last[1] == path.stat().st_size and 0 < last[0] <= last[1]
        assert any(work == "comparing lines" for work, *_ in told)
    if kind in ("pairs", "files", "labels"):
        assert reading[-1] == (40_000, None)


MEMORY = """
import sys
from nlpseq.text.checks.corpus import check_corpus
findings = check_corpus(sys.argv[1], sys.argv[2])
print([line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")][0])
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="this system does not tell the peak memory")
@pytest.mark.parametrize(("kind", "count"), [("text", 400_000), ("pairs", 60_000), ("labels", 250_000)])
def test_memory_does_not_grow_with_the_corpus(kind: str, count: int, tmp_path: Path) -> None:
    peaks = []
    for rows in (count // 20, count):
        path = tmp_path / f"{rows}.tsv"
        with path.open("w") as file:
            for number in range(rows):
                first = "ab"[number % 2] if kind == "labels" else f"the source {number}"
                file.write(f"{first}\tthe text has number {number * 7919} and more words than this, {number}\n")
        command = [sys.executable, "-c", MEMORY, str(path), kind]
        done = subprocess.run(command, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, check=True)
        peaks.append(int(done.stdout) / 1024)
    assert peaks[1] < peaks[0] + 40, f"{peaks} MB"
