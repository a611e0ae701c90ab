"""Texts in messages and tables: which of their characters are shown as they are, and how wide they are.

Data may hold sequences that steer a terminal: set its title, move its cursor, paste commands. What is written to a
terminal goes through `harmless`; a pipe or a file gets the same bytes as ever.

In messages, control characters and those that turn the direction of writing are escaped, because they would change what
stands around them. The characters that join the pieces of an emoji, or the letters of a word, are shown. Widths are
those of a terminal with a fixed width: 2 for wide characters, 0 for marks on the character before. Not every terminal
joins the pieces of an emoji, and some show such a table out of line.
"""

from __future__ import annotations

import re
import unicodedata

JOINERS = "\u200c\u200d"  # within words of Persian or Hindi; between the pieces of an emoji
FIRST_TAG, LAST_TAG = "\U000e0020", "\U000e007f"  # the letters in the emoji of a flag
WIDE = "WF"
UNSEEN = ("Mn", "Me", "Cf", "Cc")  # categories of characters without a width

_STEERING = re.compile("[\0-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_ESCAPED = re.compile(r"\\\\|\\u200[cd]|\\U000e00[2-7][0-9a-f]")


def is_shown(character: str) -> bool:
    """Whether a character is shown as it is in a message."""
    return character.isprintable() or character in JOINERS or FIRST_TAG <= character <= LAST_TAG


def harmless(text: str) -> str:
    """The text with what steers a terminal escaped, as JSON does: control characters, and those that turn the writing.

    Line ends and tabs stay. An undecodable byte, which a terminal could take for a control character, becomes U+FFFD.
    """
    return _STEERING.sub(_spelled, text)


def printable(text: str) -> str:
    """The text in one line, with the characters escaped that are not shown."""
    return "".join(character if is_shown(character) else _escaped(character) for character in text)


def quoted(text: str) -> str:
    """The text in quotes, as `repr` writes it, but with all characters that are shown as they are."""
    return _ESCAPED.sub(_unescaped, repr(text))


def display_width(text: str) -> int:
    """The number of columns that a text takes on a terminal."""
    if text.isascii():
        return len(text)
    total, before = 0, ""
    for character in text:
        if before != JOINERS[1] and unicodedata.category(character) not in UNSEEN:
            total += 2 if unicodedata.east_asian_width(character) in WIDE else 1
        before = character
    return total


def padded(text: str, width: int) -> str:
    """The text with spaces after it, up to a width."""
    return text + " " * (width - display_width(text))


def shortened(text: str, width: int, ending: str = "..") -> str:
    """The text, or as much of its beginning as fits in a width with an ending after it."""
    if display_width(text) <= width:
        return text
    most = width - display_width(ending)
    kept = text[:most]
    while display_width(kept) > most:
        kept = kept[:-1]
    return kept + ending


def _spelled(match: re.Match[str]) -> str:
    code = ord(match[0])
    return "\ufffd" if 0xD800 <= code <= 0xDFFF else f"\\u{code:04x}"


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def _unescaped(match: re.Match[str]) -> str:
    return match[0] if match[0] == r"\\" else match[0].encode("ascii").decode("unicode_escape")
