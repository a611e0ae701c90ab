"""Standard input as a corpus.

A corpus is read more than once and standard input is not, so the first reading copies it to a temporary file. The file
has no name, or is removed when the process ends, however it ends. It is read until the first end of file, because a
terminal can be read on after it: each further read would need another Ctrl-D.
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

_copies: list[tuple[Any, BinaryIO]] = []  # at most one: standard input, and its copy


def input_blocks() -> Iterator[bytes]:
    """The bytes of standard input in blocks, from its start, each time that it is read.

    Raises CorpusError, while reading, if it is closed or cannot be read or kept.
    """
    copy = _copy()
    offset = 0
    while True:
        copy.seek(offset)  # each time, because two readings may take turns
        block = copy.read(compression.PIECE_BYTES)
        if not block:
            return
        offset += len(block)
        yield block


def _copy() -> BinaryIO:
    """The copy of what is standard input now."""
    if sys.stdin is None:
        raise CorpusError(STANDARD_INPUT, "standard input is closed")
    if _copies and _copies[0][0] is sys.stdin:
        return _copies[0][1]
    copy = cast(BinaryIO, tempfile.TemporaryFile())  # noqa: SIM115  # until the process ends
    try:
        while block := cast(BufferedReader, sys.stdin.buffer).read1(compression.PIECE_BYTES):
            copy.write(block)
    except OSError as error:
        copy.close()
        what = f"standard input cannot be read: {error.strerror or error}"
        raise CorpusError(STANDARD_INPUT, what) from None
    atexit.register(copy.close)
    _copies[:] = [(sys.stdin, copy)]
    return copy
