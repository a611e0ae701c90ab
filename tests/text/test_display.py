"""What is shown of a text, and how wide it is on a terminal."""

from __future__ import annotations

import pytest

from nlpseq.text.display import display_width, padded, printable, quoted, shortened

FAMILY = "\U0001f468\u200d\U0001f469\u200d\U0001f467"
SCOTLAND = "\U0001f3f4\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f"


@pytest.mark.parametrize("text", ["plain", FAMILY, SCOTLAND, "☕\ufe0f", "कि\u200dया", "猫", 'a "b"', "日本 "])
def test_what_can_be_read_is_shown(text: str) -> None:
    assert printable(text) == text
    assert quoted(text) == f"'{text}'"


@pytest.mark.parametrize(
    ("text", "shown"),
    [("\u202eabc", r"\u202eabc"), ("a\nb", r"a\nb"), ("\x1b[31m", r"\x1b[31m"), ("\udcff", r"\udcff")],
)
def test_what_would_disturb_is_escaped(text: str, shown: str) -> None:
    assert printable(text) == shown
    assert quoted(text) == f"'{shown}'"


def test_quotes_are_those_of_python() -> None:
    for text in ("it's", "'\"", "\\u200d", "\\\\U000e0067", ""):
        assert quoted(text) == repr(text)
    assert quoted(f"\\u200d{FAMILY}") == f"'\\\\u200d{FAMILY}'"


@pytest.mark.parametrize(
    ("text", "width"), [("abc", 3), ("猫の", 4), ("e\u0301", 1), ("ｱ", 1), ("全", 2), (FAMILY, 2), ("สวัสดี", 4)]
)
def test_the_width_is_that_of_a_terminal(text: str, width: int) -> None:
    assert display_width(text) == width
    assert padded(text, 9) == text + " " * (9 - width)


def test_a_text_is_shortened_to_a_width() -> None:
    assert shortened("abcdef", 6) == "abcdef"
    assert shortened("abcdefg", 6) == "abcd.."
    assert shortened("猫猫猫猫", 7) == "猫猫.."
    assert shortened("猫猫猫猫", 8) == "猫猫猫猫"
    assert shortened("abc", 2, "…") == "a…"
