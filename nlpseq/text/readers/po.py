"""gettext catalogues: messages and their translations, without fuzzy and obsolete ones.

A message with plural forms gives two rows. The encoding is the one that the catalogue's header declares. The parser is
our own, since polib reads neither compressed files nor texts with U+2028 or U+0085, at which it cuts lines, and takes a
text whose quotation marks are left open; the cost is these few dozen lines, which the tests hold against polib.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from nlpseq.errors import CorpusError
from nlpseq.text.compression import read_blocks, show_line
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
        """Its rows: none if it is fuzzy or the header, two if it has plural forms."""
        if self.fuzzy or not self.texts.get("msgid"):
            return
        where, get = f"{name}:{self.line}", self.texts.get
        yield Row(where, {"source": get("msgid"), "target": get("msgstr") or get("msgstr[0]")})
        if get("msgid_plural"):
            yield Row(where, {"source": get("msgid_plural"), "target": get("msgstr[1]")})


def _read(name: str, notes: Notes) -> Rows:
    need_path(name)
    blocks = list(read_blocks(name))
    declared = _CHARSET.search(b"".join(blocks[:2]))
    text = decode_declared(name, blocks, declared[1].decode() if declared else "")
    for message in _messages(name, clean_lines(name, split_lines(text))):
        yield from message.rows(name)


def _messages(name: str, lines: Iterable[str]) -> Iterator[_Message]:
    """The messages that are not obsolete. Raises CorpusError for a line that has no place in a catalogue."""
    message, keyword = _Message(1), ""
    for number, line in enumerate(lines, 1):
        line = line.strip(" \t")
        if line.startswith("#") or not line:
            if message.texts:
                yield message
                message, keyword = _Message(number), ""
            message.fuzzy |= line.startswith("#,") and "fuzzy" in re.split(r"[,\s]+", line)
            continue
        found = _KEYWORD.fullmatch(line)
        if found:
            keyword, line = found[1], found[2]
            if keyword in message.texts or (keyword == "msgctxt" and message.texts):
                yield message
                message = _Message(number)
            if keyword == "msgid":
                message.line = number
            message.texts[keyword] = ""
        elif not keyword or not line.startswith('"'):
            what = f"it is no PO file: {line[:40]!r} is no message"
            raise CorpusError(f"{name}:{number}", what, show_line(name, number))
        message.texts[keyword] += _unquoted(name, number, line)
    if message.texts:
        yield message


def _unquoted(name: str, number: int, line: str) -> str:
    """The text between a line's quotation marks. Raises CorpusError if they are not closed."""
    inner = re.fullmatch(r'"((?:[^"\\]|\\.)*)"', line)
    if inner is None:
        what = f"it is no PO file: a text must be between quotation marks, is {line[:40]!r}"
        raise CorpusError(f"{name}:{number}", what, 'close it with ", and write one inside as \\"')
    return _ESCAPE.sub(_character, inner[1])


def _character(escape: re.Match[str]) -> str:
    code = escape[1]
    if code[0] == "x" and len(code) > 1:
        return chr(int(code[1:], 16))
    if code[0] in "01234567":
        return chr(int(code, 8))
    return _ESCAPES.get(code, code)


PO = TableFormat((".po", ".pot"), _read)
