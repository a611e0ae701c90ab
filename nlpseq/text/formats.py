"""Corpora as streams of text: files, bundled corpora and hub data sets, in pieces of about a megabyte.

A corpus must be UTF-8. Nothing is guessed and nothing is repaired in silence: what is not UTF-8 is refused
with the place and a command that mends it. Two liberties are taken, both with files from Windows: a byte
order mark is dropped, and where the first line ends in CRLF every CRLF becomes LF. A lone CR is a character
like any other.

Memory stays constant, because a file is read in blocks and handed on in pieces that end where a line ends
(in a longer line: before a space, else between two characters). The price is that a fault deep in a file is
found only when the reader gets there.
"""

from __future__ import annotations

import gzip
import logging
import lzma
import os
import re
import shlex
import zlib
from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

from nlpseq.errors import CorpusError
from nlpseq.text.bundled import BUNDLED
from nlpseq.text.lines import BYTE_ORDER_MARK

PIECE_BYTES = 1 << 20
HUB = "hf:"

OTHER_MARKS = {b"\xff\xfe\0\0": "UTF-32", b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16"}
_MAGIC = {
    b"\x1f\x8b": ("gzip-compressed", "rename it so that it ends in .gz"),
    b"\xfd7zXZ\0": ("xz-compressed", "rename it so that it ends in .xz"),
    b"BZh": ("bzip2-compressed", "bunzip2 it first"),
    b"\x28\xb5\x2f\xfd": ("zstd-compressed", "unzstd it first"),
    b"PK\3\4": ("a zip archive", "unzip it first"),
    b"%PDF": ("a PDF", "make text of it with pdftotext"),
    b"PAR1": ("a parquet file", "write its text column to a text file; as pairs, name it .parquet"),
}


def open_corpus(name: str) -> Iterator[str]:
    """The text of a corpus in pieces: a file's path, a bundled corpus' name, or `hf:NAME[:CONFIG]`.

    A file goes before a bundled corpus of the same name. Raises CorpusError for a name that is none of the
    three, with the nearest one that exists, and whatever `read_text` and `read_hub` raise.
    """
    if os.path.isfile(name):
        return read_text(name)
    if name in BUNDLED:
        return BUNDLED[name].read()
    if name.startswith(HUB):
        return read_hub(name)
    return read_text(name)


def split_lines(pieces: Iterable[str]) -> Iterator[str]:
    """The lines of pieces of text, without their newlines, as `train_tokeniser` wants them."""
    begun: list[str] = []
    for piece in pieces:
        first, *rest = piece.split("\n")
        begun.append(first)
        if rest:
            yield "".join(begun)
            yield from rest[:-1]
            begun = [rest[-1]]
    if last := "".join(begun):
        yield last


def read_text(path: str | Path) -> Iterator[str]:
    """The text of a file (plain, .gz or .xz) in pieces of about a megabyte; there is always some.

    Raises CorpusError at once for a file that is not there, and while reading for one that cannot be read, is
    empty, binary, damaged or not UTF-8.
    """
    return _decode(str(path), read_blocks(path))


def read_blocks(path: str | Path) -> Iterator[bytes]:
    """The bytes of a file in blocks, decompressed as its suffix says; raises as `read_text` does."""
    name = str(path)
    if os.path.isdir(path):
        raise CorpusError(name, "this is a folder, not a file", f"name its files: {name.rstrip('/')}/*")
    if not os.path.exists(path):
        raise _missing(name)
    return _read_blocks(Path(path))


def _read_blocks(path: Path) -> Iterator[bytes]:
    try:
        with path.open("rb") as file, _decompressed(path, file) as stream:
            while block := stream.read(PIECE_BYTES):
                yield block
    except (EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile) as error:
        raise CorpusError(str(path), f"its compressed data is damaged: {error}", "take a good copy") from None
    except OSError as error:
        raise CorpusError(str(path), f"it cannot be read: {error.strerror or error}") from None


def _decompressed(path: Path, file: BinaryIO) -> Any:
    if path.suffix == ".gz":
        return gzip.GzipFile(fileobj=file)
    return lzma.LZMAFile(file) if path.suffix == ".xz" else file


def _decode(name: str, blocks: Iterable[bytes]) -> Iterator[str]:
    """Text of blocks of UTF-8, line ends made LF if the first one is CRLF."""
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


def _cut_pieces(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """The same bytes in pieces of PIECE_BYTES or little more, cut after a line or else where `_cut` says."""
    pending = b""
    for block in blocks:
        pending += block
        if len(pending) >= PIECE_BYTES:
            end = _cut(pending)
            yield pending[:end]
            pending = pending[end:]
    if pending:
        yield pending


def _cut(pending: bytes) -> int:
    """After the last newline; else before the last space; else before the last character."""
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
    """Raise CorpusError if a piece that begins at byte `offset`, after `lines` lines, is no UTF-8 text."""
    for mark, encoding in OTHER_MARKS.items():
        if head.startswith(mark):
            raise CorpusError(name, f"this is {encoding}, a corpus is UTF-8", iconv_command(name, encoding))
    place = piece.find(b"\0")
    if place >= 0:
        _refuse(name, head, piece, place, f"it is binary: a NUL byte at offset {offset + place}", lines)
    try:
        piece.decode("utf-8")
    except UnicodeDecodeError as error:
        place = error.start
        what = f"it is not UTF-8: byte 0x{piece[place]:02X} at offset {offset + place} ({error.reason})"
        _refuse(name, head, piece, place, what, lines)


def _refuse(name: str, head: bytes, piece: bytes, place: int, what: str, lines: int) -> NoReturn:
    for magic, (is_what, hint) in _MAGIC.items():
        if head.startswith(magic):
            raise CorpusError(name, f"this is {is_what}, a corpus is text", hint)
    line = lines + piece.count(b"\n", 0, place) + 1
    raise CorpusError(f"{name}:{line}", what, encoding_hint(name, piece))


def likely_encoding(data: bytes) -> str:
    """What bytes that are not UTF-8 may be instead; a guess for a hint, never for reading.

    "UTF-8" means damaged UTF-8, and "" that they are no text.
    """
    if b"\0" in data:
        odd, even = data[1::2].count(0), data[0::2].count(0)
        return ("UTF-16LE" if odd > even else "UTF-16BE") if odd + even > len(data) // 3 else ""
    text = data.decode("utf-8", "replace")
    damaged = text.count("\ufffd")
    if len(text) - len(text.encode("ascii", "ignore")) > 2 * damaged:
        return "UTF-8"
    runs = re.findall(rb"[\x80-\xff]+", data)  # a hanzi is mostly two of these, a Latin letter one
    in_pairs = sum(len(run) for run in runs if len(run) % 2 == 0)
    sound = "\ufffd" not in data.decode("gb18030", "replace")[:-2]
    return "GB18030" if sound and in_pairs > 0.8 * sum(map(len, runs)) else "WINDOWS-1252"


def iconv_command(name: str, encoding: str) -> str:
    """A command that makes UTF-8 of a file in `encoding`, compressed or not; "UTF-8" drops damaged bytes."""
    plain = Path(name.removesuffix(".gz").removesuffix(".xz"))
    file, new = shlex.quote(name), shlex.quote(f"{plain.stem}.utf8{plain.suffix or '.txt'}")
    unpack = {".gz": "gzip -dc", ".xz": "xz -dc"}.get(Path(name).suffix)
    drop = "-c " if encoding == "UTF-8" else ""
    if unpack:
        return f"{unpack} {file} | iconv {drop}-f {encoding} -t UTF-8 > {new}"
    return f"iconv {drop}-f {encoding} -t UTF-8 {file} > {new}"


def encoding_hint(name: str, sample: bytes) -> str:
    """What to do about a file some of whose bytes, `sample`, are not UTF-8 text."""
    encoding = likely_encoding(sample)
    if not encoding:
        return "a corpus is a text file in UTF-8"
    reason = "to drop the damaged bytes" if encoding == "UTF-8" else f"if it is {encoding}"
    return f"{reason}: {iconv_command(name, encoding)}"


def need_source(name: str) -> None:
    """Raises CorpusError for a name that is no bundled corpus, no data set of the hub and no path that exists."""
    if not (name in BUNDLED or name.startswith(HUB) or os.path.exists(name)):
        raise _missing(name)


def _missing(name: str) -> CorpusError:
    return CorpusError(name, "there is no such file or corpus", _nearest(name))


def _nearest(name: str) -> str:
    """A hint that names the file or bundled corpus most like `name`."""
    folder, wanted = os.path.split(name)
    try:
        beside = [entry.name for entry in os.scandir(folder or ".")]
    except (OSError, ValueError):
        beside = []
    if near := get_close_matches(wanted, beside, 1):
        return f"did you mean {os.path.join(folder, near[0])}?"
    if near := get_close_matches(name, BUNDLED, 1):
        return f"did you mean the bundled corpus {near[0]}?"
    return f"bundled corpora: {', '.join(BUNDLED)}; a data set of the hub: {HUB}NAME"


def read_hub(name: str) -> Iterator[str]:
    """The `text` column of the train split of a hub data set, `hf:NAME[:CONFIG]`, a row and a newline each.

    A row without a text (null) is a blank line. Raises CorpusError, when reading starts, as `hub_rows` does.
    """
    gathered: list[str] = []
    waiting = 0
    for row in hub_rows(name):
        gathered.append(_row_text(name, row))
        waiting += len(gathered[-1])
        if waiting >= PIECE_BYTES:
            yield "".join(gathered)
            gathered, waiting = [], 0
    if gathered:
        yield "".join(gathered)


def hub_rows(name: str) -> Iterator[dict[str, Any]]:
    """The rows of the train split of a hub data set, `hf:NAME[:CONFIG]`, streamed.

    Raises CorpusError, when reading starts, for whatever goes wrong at the hub, and for no rows at all.
    """
    from datasets import load_dataset

    repository, _, configuration = name.removeprefix(HUB).partition(":")
    if not repository:
        raise CorpusError(name, "it names no data set", f"{HUB}NAME or {HUB}NAME:CONFIG")
    found = False
    try:
        for row in _rows(load_dataset(repository, configuration or None, split="train", streaming=True)):
            found = True
            yield row
    except _hub_failures() as error:
        raise _hub_error(name, error) from None
    if not found:
        raise CorpusError(name, "its train split has no rows")


def parquet_rows(name: str) -> Iterator[dict[str, Any]]:
    """The rows of a parquet file, streamed. Raises CorpusError where it is none."""
    if not os.path.isfile(name):
        read_blocks(name)  # raises
    from datasets import load_dataset
    from datasets.utils.logging import set_verbosity

    set_verbosity(logging.CRITICAL)  # what is wrong is said below
    try:
        yield from _rows(load_dataset("parquet", data_files=os.path.abspath(name), split="train", streaming=True))
    except _hub_failures() as error:
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise CorpusError(name, f"it is no parquet file that can be read: {reason}") from None


def _rows(dataset: Any) -> Iterator[dict[str, Any]]:
    """A data set's rows, with the names of labels that it numbers; -1, which stands for none, becomes null."""
    features = dataset.features or {}
    numbered = {column: feature.names for column, feature in features.items() if hasattr(feature, "names")}
    for row in dataset:
        named = {
            column: names[row[column]] if row[column] >= 0 else None
            for column, names in numbered.items()
            if isinstance(row.get(column), int)
        }
        yield {**row, **named}


def _row_text(name: str, row: dict[str, Any]) -> str:
    if "text" not in row:
        columns = ", ".join(row)
        raise CorpusError(
            name, f"it has no column `text`, only {columns}", "export the column that you want to a text file"
        )
    text = row["text"]
    if text is not None and not isinstance(text, str):
        raise CorpusError(name, f"its column `text` holds {type(text).__name__}, not text")
    text = text or ""
    return text if text.endswith("\n") else text + "\n"


def _hub_failures() -> tuple[type[Exception], ...]:
    """What datasets raises, itself or through what it stands on, for a bad name, network or file."""
    from datasets.exceptions import DatasetsError
    from huggingface_hub import errors

    network = getattr(errors, "HTTPError", OSError)  # not in every release
    arguments = (ValueError, LookupError, TypeError, RuntimeError)
    return (DatasetsError, network, OSError, EOFError, ImportError, *arguments)


def _hub_error(name: str, error: Exception) -> CorpusError:
    from datasets.exceptions import DatasetNotFoundError

    reason = " ".join(str(error).split()) or type(error).__name__
    hint = "look at its page on huggingface.co, or export its text to a file"
    if isinstance(error, DatasetNotFoundError):
        hint = "check the name on huggingface.co/datasets; a private data set needs `hf auth login`"
    elif isinstance(error, OSError):
        hint = "check the network; a corpus in a file needs none"
    elif isinstance(error, ValueError) and "config" in reason.lower():
        hint = f"name one: {name.split(':')[0]}:{name.split(':')[1]}:CONFIG"
    return CorpusError(name, f"the hub's data set cannot be read: {reason[:300]}", hint)
