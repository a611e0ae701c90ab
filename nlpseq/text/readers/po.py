"""gettext catalogues: messages and their translations, without fuzzy and obsolete ones.

A message with plural forms gives two rows. The encoding is the one that the catalogue's header declares. The parser is
our own, because polib does not read compressed files, cuts lines at U+2028 and U+0085, and accepts a text whose
quotation marks are not closed. The cost is these few dozen lines; the tests compare them with polib.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain, islice

from nlpseq.errors import CorpusError
from nlpseq.text.compression import read_blocks, show_line
from nlpseq.text.display import quoted
from nlpseq.text.encodings import decode_declared
from nlpseq.text.formats import need_path, split_lines
from nlpseq.text.readers.table import Notes, Row, Rows, TableFormat, clean_lines

_CHARSET = re.compile(rb"charset=([\w.:-]+)")
_KEYWORD = re.compile(r"(msgctxt|msgid_plural|msgid|msgstr(?:\[\d+\])?)\s*(.*)")
_ESCAPE = re.compile(r"\\(x[0-9A-Fa-f]{1,2}|[0-7]{1,3}|.)")
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "a": "\a", "b": "\b", "f": "\f", "v": "\v"}


@dataclass
class _Message:
    line: int
    fuzzy: bool = False
    texts: dict[str, str] = field(default_factory=dict)

    def rows(self, name: str) -> Iterator[Row]:
        """The rows of the message: none for a fuzzy one and for the header, two for plural forms."""
        if self.fuzzy or not self.texts.get("msgid"):
            return
        where, get = f"{name}:{self.line}", self.texts.get
        yield Row(where, {"source": get("msgid"), "target": get("msgstr") or get("msgstr[0]")})
        if get("msgid_plural"):
            yield Row(where, {"source": get("msgid_plural"), "target": get("msgstr[1]")})


def _read(name: str, notes: Notes) -> Rows:
    need_path(name)
    blocks = read_blocks(name)
    first = list(islice(blocks, 2))
    declared = _CHARSET.search(b"".join(first))
    text = decode_declared(name, chain(first, blocks), declared[1].decode() if declared else "")
    for message in _messages(name, clean_lines(name, split_lines(text))):
        yield from message.rows(name)


def _messages(name: str, lines: Iterable[str]) -> Iterator[_Message]:
    """The messages that are not obsolete. Raises CorpusError for a line that does not belong in a catalogue."""
    message, keyword = _Message(1), ""
    for number, line in enumerate(lines, 1):
        line = line.strip(" \t")
        if line.startswith("#") or not line:
            if message.texts:
                yield message
                message, keyword = _Message(number), ""
            message.fuzzy |= line.startswith("#,") and "fuzzy" in re.split(r"[,\s]+", line)
            continue
        match = _KEYWORD.fullmatch(line)
        if match:
            keyword, line = match[1], match[2]
            if keyword in message.texts or (keyword == "msgctxt" and message.texts):
                yield message
                message = _Message(number)
            if keyword == "msgid":
                message.line = number
            message.texts[keyword] = ""
        elif not keyword or not line.startswith('"'):
            what = f"it is not a PO file: {quoted(line[:40])} is not part of a message"
            raise CorpusError(f"{name}:{number}", what, show_line(name, number))
        message.texts[keyword] += _unquoted(name, number, line)
    if message.texts:
        yield message


def _unquoted(name: str, number: int, line: str) -> str:
    """The text between a line's quotation marks. Raises CorpusError if they are not closed."""
    inner = re.fullmatch(r'"((?:[^"\\]|\\.)*)"', line)
    if inner is None:
        what = f"it is not a PO file: a text must be between quotation marks, but is {quoted(line[:40])}"
        raise CorpusError(f"{name}:{number}", what, 'close it with ", and write a quotation mark inside as \\"')
    return _ESCAPE.sub(_character, inner[1])


def _character(escape: re.Match[str]) -> str:
    code = escape[1]
    if code[0] == "x" and len(code) > 1:
        return chr(int(code[1:], 16))
    if code[0] in "01234567":
        return chr(int(code, 8))
    return _ESCAPES.get(code, code)


PO = TableFormat((".po", ".pot"), _read)
