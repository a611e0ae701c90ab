"""Bytes to text: UTF-8, or the encoding that a file declares; and hints for files in neither.

Nothing is guessed, and nothing is repaired silently: a file that is not UTF-8 is refused with the line and a command
that mends it. There are two exceptions, both for files from Windows: a byte order mark is dropped, and if the first
line ends in CRLF, every CRLF becomes LF. A lone CR is a character like any other.
"""

from __future__ import annotations

import codecs
import re
import shlex
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NoReturn

from nlpseq.errors import CorpusError
from nlpseq.text import compression
from nlpseq.text.compression import COMPRESSIONS, new_name, shell_input
from nlpseq.text.lines import BYTE_ORDER_MARK

OTHER_MARKS = {b"\xff\xfe\0\0": "UTF-32", b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16"}
_MAGIC = {
    **{
        known.magic: (f"{known.name}-compressed", f"rename it so that it ends in {known.suffix}")
        for known in COMPRESSIONS.values()
    },
    b"PK\3\4": ("a zip archive", "unzip it, or rename it so that it ends in .zip, .docx or .epub"),
    b"%PDF": ("a PDF", ""),
    b"PAR1": ("a parquet file", "write its text column to a text file; for pairs or labelled texts, name it .parquet"),
    b"\xd0\xcf\x11\xe0": ("an old or encrypted Office document", "save it as .docx or as text, without a password"),
}
NO_NUL = "tr -d '\\000'"
HEAD = 8192  # bytes that tell a text from other files
_CONTROL = re.compile(rb"[\0-\x07\x0e-\x1a\x1c-\x1f]")
MOST_CONTROL = 0.01  # of the bytes of a text
_TEXT_CODECS = ("utf-8", "cp", "iso8859", "koi8", "gb", "big5", "euc", "shift_jis", "iso2022", "mac", "hz")
_NOT_A_BYTE = re.compile("[\ud800-\udc7f\udd00-\udfff]")


def to_utf8(text: str) -> bytes:
    """The bytes of `text`, escaped ones included.

    An escaped byte (U+DC80 to U+DCFF) is restored. Any other lone surrogate, which JSON can spell, becomes the three
    bytes that UTF-8 would give it; decoding leaves them escaped.
    """
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        escaped = _NOT_A_BYTE.sub(
            lambda match: match[0].encode("utf-8", "surrogatepass").decode("utf-8", "surrogateescape"), text
        )
        return escaped.encode("utf-8", "surrogateescape")


def decode_utf8(name: str, blocks: Iterable[bytes]) -> Iterator[str]:
    """The text of blocks of UTF-8, in pieces that end with a line; CRLF becomes LF if the first line ends in CRLF.

    Raises CorpusError for blocks that are empty, binary or not UTF-8.
    """
    offset, lines, head = 0, 0, b""
    crlf: bool | None = None
    for piece in _cut_pieces(blocks):
        if not offset:
            head = piece[:8]
            piece = piece.removeprefix(BYTE_ORDER_MARK)
            offset = len(head) - len(head.removeprefix(BYTE_ORDER_MARK))
        _check(name, head, piece, offset, lines)
        if crlf is None and b"\n" in piece:
            crlf = piece[: piece.index(b"\n")].endswith(b"\r")
        offset += len(piece)
        lines += piece.count(b"\n")
        if piece:
            text = piece.decode("utf-8")
            yield text.replace("\r\n", "\n") if crlf else text
    if offset == len(head) - len(head.removeprefix(BYTE_ORDER_MARK)):
        raise CorpusError(name, "it is empty")


def decode_declared(name: str, blocks: Iterable[bytes], declared: str) -> Iterator[str]:
    """The text of blocks in the encoding that their file declares; UTF-8 if it is "" or unknown to Python.

    Raises CorpusError for blocks in another encoding, with a hint that names a likely one.
    """
    try:
        codec = codecs.lookup(declared or "utf-8").name
    except LookupError:
        codec = "utf-8"
    if codec == "utf-8":
        yield from decode_utf8(name, blocks)
        return
    decoder = codecs.getincrementaldecoder(codec)()
    block = b""
    try:
        for block in blocks:
            yield decoder.decode(block)
        yield decoder.decode(b"", final=True)
    except UnicodeError as error:
        what = f"it declares {declared}, but is not: {getattr(error, 'reason', error)}"
        raise CorpusError(name, what, encoding_hint(name, block)) from None


def declared_codec(declared: str) -> str:
    """Python's name of the encoding that a page declares, as browsers read it; utf-8 if they do not know it.

    ASCII and Latin-1 mean windows-1252. A page whose declaration can be read as ASCII is not in UTF-16.
    """
    try:
        codec = codecs.lookup(declared).name
    except (LookupError, ValueError):
        return "utf-8"
    if codec in ("ascii", "iso8859-1"):
        return "cp1252"
    return codec if codec.startswith(_TEXT_CODECS) else "utf-8"


def is_binary(head: bytes) -> bool:
    """Whether a file is no text in any encoding, by its first bytes; UTF-16 and UTF-32 with a mark are text."""
    if head.startswith(tuple(OTHER_MARKS)):
        return False
    if b"\0" in head or head.startswith(tuple(_MAGIC)):
        return True
    return len(_CONTROL.findall(head)) > MOST_CONTROL * len(head)


def regular_pieces(texts: Iterable[str]) -> Iterator[str]:
    """Texts of any length in pieces of about PIECE_BYTES characters, cut after a newline, else before a space."""
    gathered: list[str] = []
    waiting = 0
    for text in texts:
        gathered.append(text)
        waiting += len(text)
        if waiting >= compression.PIECE_BYTES:
            joined = "".join(gathered)
            end = joined.rfind("\n") + 1 or max(joined.rfind(" "), 0) or len(joined)
            yield joined[:end]
            gathered = [joined[end:]]
            waiting = len(joined) - end
    if last := "".join(gathered):
        yield last


def _cut_pieces(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """The same bytes in pieces of PIECE_BYTES or a little more, cut by `_cut`."""
    pending = b""
    for block in blocks:
        pending += block
        if len(pending) >= compression.PIECE_BYTES:
            end = _cut(pending)
            yield pending[:end]
            pending = pending[end:]
    if pending:
        yield pending


def _cut(pending: bytes) -> int:
    """Where to cut: after the last newline; else before the last space; else before the last character."""
    if end := pending.rfind(b"\n") + 1:
        return end
    end = pending.rfind(b" ")
    if end > 0:
        return end
    end = len(pending) - 1
    while end > len(pending) - 4 and pending[end] & 0xC0 == 0x80:
        end -= 1
    return end


def _check(name: str, head: bytes, piece: bytes, offset: int, lines: int) -> None:
    """Raise CorpusError if a piece that starts at byte `offset`, after `lines` lines, is not UTF-8 text."""
    for mark, encoding in OTHER_MARKS.items():
        if head.startswith(mark):
            raise CorpusError(name, f"this is {encoding}, a corpus is UTF-8", iconv_command(name, encoding))
    index = piece.find(b"\0")
    if index >= 0:
        _refuse(name, head, piece, index, f"it is binary: a NUL byte at offset {offset + index}", lines)
    try:
        piece.decode("utf-8")
    except UnicodeDecodeError as error:
        index = error.start
        what = f"it is not UTF-8: byte 0x{piece[index]:02X} at offset {offset + index} ({error.reason})"
        _refuse(name, head, piece, index, what, lines)


def _refuse(name: str, head: bytes, piece: bytes, index: int, what: str, lines: int) -> NoReturn:
    for magic, (kind, hint) in _MAGIC.items():
        if head.startswith(magic):
            hint = f"pdftotext {shlex.quote(name)}" if magic == b"%PDF" else hint
            raise CorpusError(name, f"this is {kind}, a corpus is text", hint)
    line = lines + piece.count(b"\n", 0, index) + 1
    raise CorpusError(f"{name}:{line}", what, encoding_hint(name, piece))


def likely_encoding(data: bytes) -> str:
    """The likely encoding of bytes that are not UTF-8; a guess for a hint, never for reading.

    "UTF-8" means damaged UTF-8, and "" means that the bytes are not text.
    """
    if b"\0" in data:
        odd, even = data[1::2].count(0), data[0::2].count(0)
        return ("UTF-16LE" if odd > even else "UTF-16BE") if odd + even > len(data) // 3 else ""
    text = data.decode("utf-8", "replace")
    damaged = text.count("\ufffd")
    if len(text) - len(text.encode("ascii", "ignore")) > 2 * damaged:
        return "UTF-8"
    runs = re.findall(rb"[\x80-\xff]+", data)  # a hanzi is mostly two such bytes, a Latin letter one
    in_pairs = sum(len(run) for run in runs if len(run) % 2 == 0)
    sound = "\ufffd" not in data.decode("gb18030", "replace")[:-2]
    return "GB18030" if sound and in_pairs > 0.8 * sum(map(len, runs)) else "WINDOWS-1252"


def iconv_command(name: str, encoding: str) -> str:
    """A command that converts a file in `encoding`, compressed or not, to UTF-8; "UTF-8" drops damaged bytes."""
    suffix = Path(compression.uncompressed_name(name)).suffix or ".txt"
    command = f"iconv {'-c ' if encoding == 'UTF-8' else ''}-f {encoding} -t UTF-8"
    return f"{shell_input(name, command)} > {new_name(name, f'.utf8{suffix}')}"


def _is_utf8(sample: bytes) -> bool:
    """Whether bytes are UTF-8, but for a character at their end that is cut."""
    try:
        codecs.getincrementaldecoder("utf-8")().decode(sample)
    except UnicodeDecodeError:
        return False
    return True


def encoding_hint(name: str, sample: bytes) -> str:
    """What to do about a file in which the bytes `sample` are not UTF-8 text."""
    encoding = likely_encoding(sample)
    if not encoding and b"\0" in sample and _is_utf8(sample.replace(b"\0", b"")):
        return f"if it is a text: {shell_input(name, NO_NUL)} > {new_name(name, '.clean.txt')}"
    if not encoding:
        return "a corpus is a text file in UTF-8"
    reason = "to drop the damaged bytes" if encoding == "UTF-8" else f"if it is {encoding}"
    return f"{reason}: {iconv_command(name, encoding)}"
