"""Standard input as a corpus.

A corpus is read more than once and standard input is not, so the first reading copies it to a temporary file as it
goes. The file has no name, or is removed when the process ends, however it ends. Standard input is read until the first
end of file, because a terminal can be read on after it: each further read would need another Ctrl-D.
"""

from __future__ import annotations

import atexit
import sys
import tempfile
from collections.abc import Iterator
from io import BufferedReader
from typing import Any, BinaryIO, cast

from nlpseq.errors import CorpusError
from nlpseq.text import compression
from nlpseq.text.compression import STANDARD_INPUT

_copies: list[_Copy] = []  # at most one


def input_blocks() -> Iterator[bytes]:
    """The bytes of standard input in blocks, from its start, each time that it is read.

    Raises CorpusError, while reading, if it is closed or cannot be read or kept.
    """
    copy = _copy()
    offset = 0
    while block := copy.block(offset):
        offset += len(block)
        yield block


class _Copy:
    """What was read of a standard input, in a temporary file."""

    def __init__(self, source: Any) -> None:
        self.source = source
        self._file = cast(BinaryIO, tempfile.TemporaryFile())  # noqa: SIM115  # until the process ends
        self._size = 0
        self._ended = False
        atexit.register(self._file.close)

    def block(self, offset: int) -> bytes:
        """The bytes from `offset` on, as many as are there; nothing at the end. Raises CorpusError."""
        try:
            if offset < self._size:
                self._file.seek(offset)
                return self._file.read(compression.PIECE_BYTES)
            return b"" if self._ended else self._read_on()
        except OSError as error:
            what = f"standard input cannot be read: {error.strerror or error}"
            raise CorpusError(STANDARD_INPUT, what) from None

    def _read_on(self) -> bytes:
        block = cast(BufferedReader, self.source.buffer).read(compression.PIECE_BYTES)  # to the end, if it is shorter
        self._ended = len(block) < compression.PIECE_BYTES
        try:
            self._file.seek(self._size)
            self._file.write(block)
            self._file.flush()
        except OSError as error:
            what = f"a copy of it cannot be kept in {tempfile.gettempdir()}: {error.strerror or error}"
            raise CorpusError(STANDARD_INPUT, what, "TMPDIR=FOLDER names a folder with more space") from None
        self._size += len(block)
        return block


def _copy() -> _Copy:
    """The copy of what is standard input now."""
    if sys.stdin is None:
        raise CorpusError(STANDARD_INPUT, "standard input is closed")
    if not (_copies and _copies[0].source is sys.stdin):
        _copies[:] = [_Copy(sys.stdin)]
    return _copies[0]
