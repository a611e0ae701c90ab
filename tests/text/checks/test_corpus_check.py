"""The corpus check: each fault is found at its line, and nothing makes it stumble."""

from __future__ import annotations

import gzip
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nlpseq.errors import CorpusError
from nlpseq.text.checks import spill, text_counts
from nlpseq.text.checks import text as corpus_check
from nlpseq.text.checks.corpus import check_corpus
from nlpseq.text.checks.finding import Finding
from nlpseq.text.checks.text import check_text
from nlpseq.text.formats import read_text

DATA = (Path(__file__).parents[3] / "../shared/data").resolve()


@pytest.fixture
def check(tmp_path: Path):  # type: ignore[no-untyped-def]
    def run(data: bytes, other: bytes | None = None, name: str = "corpus.txt") -> list[Finding]:
        (tmp_path / name).write_bytes(data)
        (tmp_path / "other.txt").write_bytes(other or b"")
        return check_text(str(tmp_path / name), str(tmp_path / "other.txt") if other is not None else None)

    return run


def test_clean_text_gives_its_size_alone(check) -> None:  # type: ignore[no-untyped-def]
    assert check("one lïne\ntwo\n".encode()) == [
        Finding("note", 0, "2 lines, 11 characters (8 different), 14 bytes"),
    ]


@pytest.mark.parametrize(
    ("data", "level", "line", "what"),
    [
        (b"", "fault", 0, "it is empty"),
        (b"\xef\xbb\xbf", "fault", 0, "it is empty"),
        (b"ok\nbad \xff\nok\n\xfe\n", "fault", 2, "not UTF-8: 2 lines"),
        (b"ok\na\0b\n", "fault", 2, "U+0000 (a control character) in 1 line"),
        (b"one\r\ntwo\n", "fault", 2, "1 line with CRLF at the end, 1 line with LF"),
        (b"one\ntwo\nthree\r\nfour", "fault", 3, "1 line with CRLF at the end, 2 lines with LF"),
        (b"one\r\ntwo\r\nthree", "note", 1, "lines end in CRLF, which is read as LF"),
        (b"one\rtwo\rthree\r", "fault", 1, "lines end in CR alone: all of it is one line"),
        (b"one\ntwo\rthree\n", "note", 2, "U+000D (a control character) in 1 line"),
        ("one\ntwo\u2028\n\u2028\n".encode(), "note", 2, "U+2028 (LINE SEPARATOR) in 2 lines"),
        ("\u2029\n".encode(), "note", 1, "U+2029 (PARAGRAPH SEPARATOR) in 1 line"),
        ("x\n\u0085\n".encode(), "note", 2, "U+0085 (a control character) in 1 line"),
        (b"\x1b[1m\n", "note", 1, "U+001B (a control character) in 1 line"),
        ("a\n\ufffd\n".encode(), "note", 2, "U+FFFD (REPLACEMENT CHARACTER) in 1 line"),
        (b"\xef\xbb\xbfone\n", "note", 1, "it starts with a byte order mark, which reading drops"),
        ("one\n\ufefftwo\n".encode(), "note", 2, "U+FEFF (ZERO WIDTH NO-BREAK SPACE) in 1 line"),
        (b"ok\n" + b"x" * 10_001, "note", 2, "longer than 10,000 characters: 1 line"),
        (b"a\n\n \nb\n", "note", 2, "blank: 2 of 4 lines (50.0%)"),
        (b"a\nb\n\n\na\na \n", "note", 5, "not blank, and there before: 2 of 4 lines (50.0%)"),
        ("é\ne\u0301\n".encode(), "note", 2, "not in Unicode's composed form (NFC): 1 line; in it: 1 line"),
        ("e\u0301\n".encode(), "note", 1, "not in Unicode's composed form (NFC): 1 line"),
        ("hello\n".encode("utf-16"), "fault", 0, "this is UTF-16, a corpus is UTF-8"),
        ("hello\n".encode("utf-32"), "fault", 0, "this is UTF-32, a corpus is UTF-8"),
    ],
)
def test_each_fault_is_found_at_its_line(check, data: bytes, level: str, line: int, what: str) -> None:  # type: ignore[no-untyped-def]
    found = [finding for finding in check(data) if finding.what.startswith(what)]
    assert [(finding.level, finding.line) for finding in found] == [(level, line)]


def test_hints_are_commands_for_this_file(check, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    hints = [finding.hint for finding in check(b"a\r\nb\ncaf\xe9\n", name="my text")]
    file = f"'{tmp_path / 'my text'}'"
    assert f"tr -d '\\r' < {file} > {file}.lf" in hints
    assert any(f"iconv -f WINDOWS-1252 -t UTF-8 < {file}" in hint for hint in hints)


def test_faults_come_before_notes(check) -> None:  # type: ignore[no-untyped-def]
    levels = [finding.level for finding in check(b"\n\na\0\n\xff\na\r\nb\nb\n")][1:]
    assert levels == sorted(levels)
    assert set(levels) == {"fault", "note"}


def test_damaged_compression_is_a_finding(check) -> None:  # type: ignore[no-untyped-def]
    found = check(gzip.compress(b"some text\n" * 1000)[:-9], name="corpus.gz")
    assert any(each.level == "fault" and "compressed data is damaged" in each.what for each in found)
    assert check(gzip.compress(b"some text\n"), name="corpus.gz")[0].what.startswith("1 line, 9 characters")


LONG = [f"a line that is long enough to tell, number {number}\n".encode() for number in range(200)]


def test_lines_that_stand_in_both_texts_are_counted(check) -> None:  # type: ignore[no-untyped-def]
    found = check(b"".join(LONG[:100]), b"".join(LONG[95:145]))
    assert (found[1].level, found[1].line) == ("fault", 96)
    assert found[1].what.startswith("10.0% of the long lines of")


def test_line_ends_and_blanks_do_not_hide_an_overlap(check) -> None:  # type: ignore[no-untyped-def]
    found = check(LONG[0], b"  " + LONG[0].replace(b"\n", b"\r\n"))
    assert found[1].what.startswith("100.0% of the long lines of")


def test_a_small_overlap_is_a_note_and_none_is_said(check) -> None:  # type: ignore[no-untyped-def]
    assert check(LONG[0], b"".join(LONG))[1].level == "note"
    _, note = check(LONG[0], LONG[1])
    assert note.level == "note" and note.what.startswith("none of the long lines of ")
    assert "no line of 40 bytes" in check(LONG[0], b"short\n")[1].what


def test_many_lines_are_compared_as_a_few_are(check, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    text, other = (
        b"".join([b"\n", *LONG, b"new\n", *LONG[50:60], b"new\n"]),
        b"".join([*LONG[:20], *LONG[:20], b"x" * 50]),
    )
    few = check(text, other)
    monkeypatch.setattr(spill, "BLOCK", 7)
    many = check(text, other)
    assert many == few
    again = next(each for each in many if "there before" in each.what)
    assert (again.line, again.what) == (
        203,
        "not blank, and there before: 11 of 212 lines (5.2%); repeated text is learned by heart",
    )
    shared = next(each for each in many if "are here too" in each.what)
    assert (shared.line, shared.what.split(" of the")[0]) == (2, "95.2%")


def test_a_line_beyond_the_limit_is_checked_in_part(check, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    for module in (corpus_check, text_counts):
        monkeypatch.setattr(module, "LONGEST_LINE", 50)
    found = check(b"ok\n" + "猫".encode() * 40 + b"\n")
    assert any(each.what == "longer than 50 bytes, and not checked beyond: 1 line" for each in found)
    assert not any("UTF-8" in each.what for each in found)


def test_a_corpus_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="there is no such file or corpus"):
        check_text(str(tmp_path / "nothing"))


def test_a_folder_without_text_has_a_fault(tmp_path: Path) -> None:
    assert ("fault", "it has no text, no files at all") in [each[::2] for each in check_text(str(tmp_path))]


def test_bundled_corpora_have_no_fault() -> None:
    for name in ("stories", "python-docs"):
        assert all(finding.level == "note" for finding in check_text(name))


@settings(deadline=None, max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=60) | st.text("a\n\r\0\u2028é\u0301 ", max_size=30).map(str.encode))
def test_any_bytes_give_findings_and_what_cannot_be_read_is_a_fault(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "corpus.txt"
    path.write_bytes(data)
    found = check_text(str(path), str(path))
    assert found[0].what == found[0].what.strip()
    try:
        list(read_text(path))
    except CorpusError:
        assert any(finding.level == "fault" for finding in found)


@pytest.mark.skipif(not (DATA / "robustness").is_dir(), reason="shared/data/robustness is not there")
def test_robustness_files_are_looked_through() -> None:
    faulty = set()
    for path in sorted((DATA / "robustness").rglob("*.*")):
        found = check_text(str(path))
        assert found
        if any(finding.level == "fault" for finding in found):
            faulty.add(path.name)
    assert faulty == {
        *("blank_lines.txt", "cr_only.txt", "empty.txt", "gb18030.txt", "invalid_utf8.txt", "latin1.txt"),
        *("newline_only.txt", "nul_bytes.txt", "utf16le_bom.txt"),
    }


def test_text_that_is_all_blank_cannot_be_learned(check) -> None:  # type: ignore[no-untyped-def]
    faults = [finding.what for finding in check(b"\n \n\r\n") if finding.level == "fault" and not finding.line]
    assert faults == ["it has no text to learn, only blank lines"]


def test_a_hint_is_said_once(check) -> None:  # type: ignore[no-untyped-def]
    found = check("a\x0b\nb\x0c\nc\u2028\nd\u2029\ne\x85\n".encode())
    hints = [finding.hint for finding in found if finding.hint]
    assert len(hints) == len(set(hints))
    assert sum("which ends no line" in finding.what for finding in found) == 5


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_one_text_may_come_from_a_pipe(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with ThreadPoolExecutor() as pool:
        writer = pool.submit(pipe.write_text, "one\ntwo\n")
        (finding,) = check_corpus(str(pipe))
        writer.result(10)
    assert finding.what.startswith("2 lines, 6 characters")
