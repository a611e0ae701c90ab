"""Data goes to standard output as bytes, messages go to standard error; a program that reads one never sees the other.

Nothing here knows of rich: it would wrap lines and eat what stands in brackets, and its import costs more than a short
generation does.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from codecs import getincrementaldecoder
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from time import monotonic
from typing import Any, NamedTuple

from nlpseq.errors import NlpseqError, OptionError, RunError
from nlpseq.text.lines import BYTE_ORDER_MARK, INVALID, OK, TOO_LONG, decode_line, write_bytes

RED, BOLD = "31", "1"
LAG = 0.03  # seconds

INVALID_JSON, NO_TEXT, CUT, IN_PART = "invalid-json", "no-text", "cut", "in-part"
FAULTS = {
    INVALID: "not UTF-8 and read byte by byte",
    TOO_LONG: "too long and left out",
    INVALID_JSON: "no JSON object",
    NO_TEXT: "without a string under `text`",
    IN_PART: "very long, and only its begin was read",
    CUT: "cut short in translation, which went on too long or in circles",
}


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


def write_objects(values: Iterable[Any]) -> None:
    """Write JSON objects, one a line, at once."""
    write_text("".join(to_json(value) + "\n" for value in values))


def read_object(line: bytes) -> tuple[dict[str, Any], str]:
    """A line's JSON object and its status; where that is OK or INVALID there is a string under `text`."""
    text, status = decode_line(line)
    if status == TOO_LONG:
        return {}, TOO_LONG
    try:
        value = json.loads(text)  # what is no UTF-8 is kept as lone surrogates
    except (ValueError, RecursionError):
        return {}, INVALID_JSON
    if not isinstance(value, dict):
        return {}, INVALID_JSON
    return value, status if isinstance(value.get("text"), str) else NO_TEXT


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


class Stream:
    """Standard output for text that comes little by little, as bytes.

    A character is written when its last byte has come; bytes that are no character become U+FFFD. A terminal
    sees each piece at once, and any other reader what has come in the last LAG seconds: many small writes would
    cost more than the text.
    """

    def __init__(self) -> None:
        self.written = False
        self._decoder = getincrementaldecoder("utf-8")("replace")
        self._waiting: list[str] = []
        self._lag = 0.0 if sys.stdout is not None and sys.stdout.isatty() else LAG
        self._flushed = 0.0
        self._last = "\n"

    def add(self, data: bytes) -> None:
        """Take some more of the text."""
        if text := self._decoder.decode(data):
            self.written = True
            self._last = text[-1]
            self._waiting.append(text)
        if self._waiting and monotonic() - self._flushed >= self._lag:
            self.flush()

    def end_line(self) -> None:
        """End the line, if one has begun; what is left of an unfinished character is dropped."""
        self._decoder.reset()
        if self._last != "\n":
            self.add(b"\n")

    def flush(self) -> None:
        """Write what waits."""
        write_text("".join(self._waiting))
        self._waiting.clear()
        self._flushed = monotonic()


class Line(NamedTuple):
    """A line of standard input: fields to pass through, its text or None, and what is wrong with it."""

    fields: dict[str, Any]
    text: str | None
    status: str


def added(fields: Mapping[str, Any], made: Mapping[str, Any]) -> dict[str, Any]:
    """An object's fields and those that were made; a field that was there under such a name is kept as `given_NAME`."""
    return {f"given_{name}" if name in made else name: value for name, value in fields.items()} | dict(made)


class LineFaults:
    """Lines of standard input that were not sound, counted and told of in one message at the end."""

    def __init__(self, *, quiet: bool) -> None:
        self.quiet = quiet
        self.counts: Counter[str] = Counter()
        self._begun = False

    def decode(self, line: bytes) -> tuple[str, str]:
        """A line's text and status, as `decode_line` gives them."""
        text, status = decode_line(line)
        self.add(status)
        return text, status

    def read(self, line: bytes, *, as_object: bool) -> Line:
        """A line of text, or the object that it spells; of one that is too long or no object there is no text."""
        if as_object:
            fields, status = read_object(line)
            self.add(status)
            return Line(fields, fields["text"] if status in (OK, INVALID) else None, status)
        text, status = self.decode(line)
        return Line({}, None if status == TOO_LONG else text, status)

    def read_plain(self, line: bytes, *, as_object: bool) -> Line:
        """As `read`, without what Windows puts at the begin of a text and at the end of a line."""
        if not self._begun:
            line, self._begun = line.removeprefix(BYTE_ORDER_MARK), True
        return self.read(line.removesuffix(b"\r"), as_object=as_object)

    def add(self, status: str) -> None:
        """Count one line's status."""
        if status != OK:
            self.counts[status] += 1

    def report(self) -> None:
        """Tell how many lines were not sound, if any were."""
        for status, count in sorted(self.counts.items()):
            note(f"note: {count} {'line was' if count == 1 else 'lines were'} {FAULTS[status]}", quiet=self.quiet)


def note(message: str, *, quiet: bool = False) -> None:
    """Tell the user something on standard error, unless told to be quiet."""
    if not quiet:
        _say(message)


def check_target(path: Path, flag: str, suffixes: tuple[str, ...]) -> None:
    """Raises OptionError or RunError where no file can be written to `path`; nothing is left there."""
    names = " or ".join(suffixes)
    if path.suffix.lower() not in suffixes:
        raise OptionError(
            flag, f"must be a name that ends in {names}, was {str(path)!r}", f"{flag} {path.stem}{suffixes[0]}"
        )
    if path.is_dir():
        raise RunError(str(path), "is a folder, not a file", f"{flag} {path / ('new' + suffixes[0])}")
    try:
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise RunError(str(path), f"cannot be written: {error.strerror}", f"{flag} {path.name}") from None


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
    return f"\033[{style}m{text}\033[0m" if shows_colour(stream) else text


def shows_colour(stream: Any) -> bool:
    """Whether colour may be written to a stream."""
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    return stream is not None and stream.isatty() and not plain


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
