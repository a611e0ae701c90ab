"""Data goes to standard output as bytes, and messages go to standard error.

rich is not used: it would wrap lines and drop words in brackets, and its import takes longer than a short generation.
"""

from __future__ import annotations

import json
import os
import shlex
import sys
from codecs import getincrementaldecoder
from collections.abc import Sequence
from pathlib import Path
from time import monotonic
from typing import Any

from nlpseq.errors import OptionError, RunError
from nlpseq.paths import is_folder, need_target
from nlpseq.text.display import display_width, harmless, padded, quoted
from nlpseq.text.display import printable as printable
from nlpseq.text.lines import write_bytes

RED, BOLD = "31", "1"
LAG = 0.03  # seconds between two writes to a pipe


def write_text(text: str, *, is_harmless: bool = False) -> None:
    """Write text to standard output at once, as `write_bytes` does.

    Escaped bytes are restored, any other surrogate becomes `?`.
    """
    try:
        data = text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        data = text.encode("utf-8", "replace")
    write_bytes(data, is_harmless=is_harmless)


def write_json(value: Any) -> None:
    """Write one JSON object and a newline to standard output."""
    write_text(to_json(value) + "\n")


def to_json(value: Any) -> str:
    """One line of JSON in UTF-8 characters, or in ASCII if there is a lone surrogate, which UTF-8 cannot hold.

    A number that is not finite becomes null, because JSON has no infinity.
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
        return {key: _finite(item) for key, item in value.items()}
    return [_finite(item) for item in value] if isinstance(value, list | tuple) else value


def write_table(rows: Sequence[Sequence[object]]) -> None:
    """Write rows in columns, two spaces apart."""
    if is_terminal():
        rows = [[harmless(str(cell)) for cell in row] for row in rows]  # escaped before widths are measured
    write_lines(table_lines(rows))


def table_lines(rows: Sequence[Sequence[object]]) -> list[str]:
    """The lines of a table: rows in columns, two spaces apart."""
    cells = [[str(cell) for cell in row] for row in rows]
    widths = [max(map(display_width, column), default=0) for column in zip(*cells, strict=True)]
    return ["  ".join(map(padded, row, widths)).rstrip() for row in cells]


def write_lines(lines: Sequence[str]) -> None:
    """Write lines, each with a newline."""
    write_text("".join(line + "\n" for line in lines))


class Stream:
    """Standard output for text that comes little by little, as bytes.

    A character is written when its last byte has arrived; invalid bytes become U+FFFD. A terminal gets each piece at
    once. Any other reader gets the pieces of `lag` seconds together, because many small writes cost more than the text.
    """

    def __init__(self, lag: float = LAG) -> None:
        self.written = False
        self._decoder = getincrementaldecoder("utf-8")("replace")
        self._waiting: list[str] = []
        self._lag = 0.0 if is_terminal() else lag
        self._flushed = 0.0
        self._last = "\n"

    def add(self, data: bytes) -> None:
        """Add bytes to the text."""
        if text := self._decoder.decode(data):
            self.written = True
            self._last = text[-1]
            self._waiting.append(text)
        if self._waiting and monotonic() - self._flushed >= self._lag:
            self.flush()

    def end_line(self) -> None:
        """End the line, unless the text is at the start of one; drop the bytes of an unfinished character."""
        self._decoder.reset()
        if self._last != "\n":
            self.add(b"\n")

    def flush(self) -> None:
        """Write the waiting pieces."""
        write_text("".join(self._waiting))
        self._waiting.clear()
        self._flushed = monotonic()


def is_terminal() -> bool:
    """Whether standard output is a terminal."""
    return sys.stdout is not None and sys.stdout.isatty()


def note(message: str, *, quiet: bool = False) -> None:
    """Write a message to standard error, unless `quiet`; what would steer a terminal is escaped."""
    if not quiet:
        _say(harmless(message))


def keep_standard_error_open() -> None:
    """Lead standard error to the null device if it is closed: a file opened later would get its descriptor."""
    try:
        os.fstat(2)
    except OSError:
        null = os.open(os.devnull, os.O_WRONLY)
        if null != 2:
            os.dup2(null, 2)
            os.close(null)


def check_target(path: Path, flag: str, suffixes: tuple[str, ...], usual: str = "new") -> None:
    """Raises OptionError or RunError if no file can be written to `path`; writes none.

    `usual` is the name in hints, without its suffix, if `path` is not a name: a folder, or `-`.
    """
    import tempfile

    names = " or ".join(suffixes)
    if path.suffix.lower() not in suffixes:
        is_name = any(map(str.isalnum, path.stem)) and not path.stem.startswith("-")
        hint = f"{flag} {shlex.quote((path.stem if is_name else usual) + suffixes[0])}"
        raise OptionError(flag, f"must be a name that ends in {names}, was {quoted(str(path))}", hint)
    if is_folder(path):
        raise RunError(str(path), "is a folder, not a file", f"{flag} {shlex.quote(str(path / (usual + suffixes[0])))}")
    need_target(path, flag)
    try:
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise RunError(str(path), f"cannot be written: {error.strerror}", f"{flag} {path.name}") from None


def show_fault(what: str, hint: str = "") -> None:
    """Print `error: WHAT` and, if there is a hint, `hint:  HINT`, with line ends and control characters escaped."""
    _say(f"{styled('error:', RED, sys.stderr)} {printable(what)}")
    if hint:
        _say(f"{styled('hint:', BOLD, sys.stderr)}  {printable(hint)}")


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


def _say(line: str) -> None:
    if sys.stderr is None:
        return
    try:
        print(line, file=sys.stderr, flush=True)
    except OSError:  # standard error has no reader, or its disk is full
        sys.stderr = None
