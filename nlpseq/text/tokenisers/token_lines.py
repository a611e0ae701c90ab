"""Lines of text to lines of token ids and back, and a check that nothing is lost.

The ids of a line are decimal numbers separated by spaces; a blank line has none. A line of ids that spells a newline
would become two lines, so it counts as damaged, like a line with anything but ids.
"""

from __future__ import annotations

import numpy as np

from nlpseq.errors import TokeniserError
from nlpseq.text.tokenisers import Tokeniser

BLOCK = 1 << 16  # ids of a line that are written at once


def encode_line(tokeniser: Tokeniser, line: bytes) -> bytes:
    """The ids of a line, as text."""
    ids = _ids(tokeniser, line)
    blocks = (ids[start : start + BLOCK].tolist() for start in range(0, len(ids), BLOCK))
    return b" ".join(b" ".join(b"%d" % token for token in block) for block in blocks)


def spell_line(tokeniser: Tokeniser, line: bytes) -> bytes:
    """The printable names of a line's tokens; for reading, not for decoding."""
    return " ".join(map(tokeniser.spell, _ids(tokeniser, line).tolist())).encode("utf-8", "replace")


def decode_line_of_ids(tokeniser: Tokeniser, line: bytes) -> bytes | None:
    """The line that ids spell, or None if they spell a newline or `line` has anything but ids."""
    try:
        decoded = tokeniser.decode_bytes([int(token) for token in line.split()])
    except (ValueError, TokeniserError):
        return None
    return None if b"\n" in decoded else decoded


def round_trips(tokeniser: Tokeniser, line: bytes) -> bool:
    """Whether decoding a line's tokens restores it byte for byte."""
    return tokeniser.decode_bytes(_ids(tokeniser, line)) == line


def _ids(tokeniser: Tokeniser, line: bytes) -> np.ndarray:
    return tokeniser.encode(line.decode("utf-8", "surrogateescape"))
