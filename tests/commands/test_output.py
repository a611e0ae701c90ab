"""What reaches standard output, byte for byte."""

from __future__ import annotations

import json

import pytest

from nlpseq.commands import output
from nlpseq.commands.output import Stream, to_json


def test_json_is_one_line_in_its_own_characters() -> None:
    assert to_json({"a": "ö\n猫"}) == '{"a": "ö\\n猫"}'


def test_json_holds_what_utf8_and_json_cannot() -> None:
    assert json.loads(to_json({"text": "\udcff", "n": [float("inf"), float("nan"), 1.5]})) == {
        "text": "\udcff",
        "n": [None, None, 1.5],
    }
    to_json("\udcff").encode("utf-8")


def test_a_character_is_written_when_its_last_byte_has_come(capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    stream = Stream(lag=0)
    for piece in (b"a\xe7", b"\x8c", b"\xab", b"\xff", b"b"):
        stream.add(piece)
    assert capsysbinary.readouterr().out.decode() == "a猫\ufffdb"


def test_a_line_is_ended_once_and_an_unfinished_character_dropped(capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    stream = Stream()
    stream.add(b"a\xe7")
    stream.end_line()
    stream.end_line()
    stream.flush()
    assert capsysbinary.readouterr().out == b"a\n"


def test_text_goes_out_as_the_bytes_that_it_stands_for(capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    output.write_text("ö\udcff[bold]:smile:\n")
    assert capsysbinary.readouterr().out == b"\xc3\xb6\xff[bold]:smile:\n"


def test_colour_is_for_terminals_that_want_it(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal:
        def isatty(self) -> bool:
            return True

    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert output.styled("x", output.RED, Terminal()) == "\033[31mx\033[0m"
    monkeypatch.setenv("NO_COLOR", "1")
    assert output.styled("x", output.RED, Terminal()) == "x"
    assert output.styled("x", output.RED, None) == "x"


def test_a_table_is_padded_by_width() -> None:
    rows = [("label", "texts"), ("正面的", "1"), ("\U0001f468\u200d\U0001f469", "2"), ("cafe\u0301", "3")]
    assert output.table_lines(rows) == [
        "label   texts",
        "正面的  1",
        "\U0001f468\u200d\U0001f469      2",
        "cafe\u0301    3",
    ]
