"""Data goes to standard output as bytes, messages go to standard error; a program that reads one never sees the other.

Nothing here knows of rich: it would wrap lines and eat what stands in brackets, and its import costs more than a short
generation does.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from typing import Any

from nlpseq.errors import NlpseqError
from nlpseq.text.lines import write_bytes

RED, BOLD = "31", "1"


def write_text(text: str) -> None:
    """Write text to standard output at once; escaped bytes become themselves again, any other surrogate a `?`."""
    try:
        data = text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        data = text.encode("utf-8", "replace")
    write_bytes(data)


def write_json(value: Any) -> None:
    """Write one JSON object and a newline to standard output."""
    write_text(to_json(value) + "\n")


def to_json(value: Any) -> str:
    """One line of JSON; characters stay what they are, but for lone surrogates, which no UTF-8 can hold.

    What is not finite becomes null, because JSON knows no infinity.
    """
    text = json.dumps(_finite(value), ensure_ascii=False)
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return json.dumps(_finite(value))
    return text


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if abs(value) < float("inf") else None
    if isinstance(value, dict):
        return {key: _finite(one) for key, one in value.items()}
    return [_finite(one) for one in value] if isinstance(value, list | tuple) else value


def write_table(rows: Sequence[Sequence[object]]) -> None:
    """Write rows in columns, two spaces apart; the last column is as wide as it needs to be."""
    cells = [[str(cell) for cell in row] for row in rows]
    widths = [max(map(len, column), default=0) for column in zip(*cells, strict=True)]
    aligned = (("  ".join(map(str.ljust, row, widths))).rstrip() for row in cells)
    write_text("".join(line + "\n" for line in aligned))


def note(message: str, *, quiet: bool = False) -> None:
    """Tell the user something on standard error, unless told to be quiet."""
    if not quiet:
        _say(message)


def show_error(error: NlpseqError) -> None:
    """Print what is wrong and what to do about it."""
    show_fault(str(error), error.hint)


def show_fault(what: str, hint: str = "") -> None:
    """Print `error: WHAT` and, where there is one, `hint:  HINT`; line ends and control characters are spelled out."""
    _say(f"{styled('error:', RED, sys.stderr)} {_printable(what)}")
    if hint:
        _say(f"{styled('hint:', BOLD, sys.stderr)}  {_printable(hint)}")


def styled(text: str, style: str, stream: Any) -> str:
    """The text in a terminal's colour or weight, if `stream` is a terminal and NO_COLOR is not set."""
    if stream is None or not stream.isatty() or os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return text
    return f"\033[{style}m{text}\033[0m"


def heading(text: str) -> str:
    """A heading of a help text on standard output."""
    return styled(text, BOLD, sys.stdout)


def _printable(text: str) -> str:
    """The text in one line, in which no byte steers the terminal."""
    return "".join(character if character.isprintable() else _escaped(character) for character in text)


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def _say(line: str) -> None:
    if sys.stderr is None:
        return
    try:
        print(line, file=sys.stderr, flush=True)
    except OSError:  # nobody is there to be told
        sys.stderr = None
