"""What is counted in a text, in one pass and in constant memory.

Lines are taken in batches of a megabyte, and their characters are counted in a whole batch at once, by a table of all
characters. Only a batch with a line that is too long or not UTF-8 is counted line by line.
"""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from nlpseq.text.checks.spill import HashedRows, Rows
from nlpseq.text.lines import LONGEST_LINE

LONG_LINE = 10_000  # characters; a longer line is noted
MOST_TOGETHER = 1 << 21  # bytes that are looked at in one go
TELLING_LINE = 40  # bytes; a shorter line may be in two texts by chance

ODD = re.compile("[\0-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ufeff\ufffd]")
_COMPOSED, _KNOWN, _IS_ODD = 1, 2, 4  # in a table of characters: changed by NFD, seen before, one of ODD
_NOT_ASCII = bytes(range(128, 256))


class Tally:
    """The number of lines that have a property, and the first of them."""

    def __init__(self) -> None:
        self.count = 0
        self.first = 0

    def add(self, line: int, count: int = 1) -> None:
        """Count lines, of which the first is `line`; they come after those that were counted before."""
        self.count += count
        self.first = self.first or line


class TextCounts:
    """The counts of a text's lines, and the hashes of those that are not blank."""

    def __init__(self) -> None:
        self.lines = self.num_characters = 0
        self.last_end = ""
        self.seen: defaultdict[str, Tally] = defaultdict(Tally)
        self.odd: defaultdict[str, Tally] = defaultdict(Tally)
        self.damaged = b""  # the first line that is not UTF-8
        self.hashes = HashedRows(2)  # hash and line
        self._kinds = np.zeros(0x110000, np.uint8)  # of characters
        self._kinds[ord("\n")] = _KNOWN
        self._plain = b"\n"  # the characters of ASCII that were seen before and are not odd

    @property
    def num_different(self) -> int:
        """The number of different characters, without line ends."""
        return int(np.count_nonzero(self._kinds)) - 1

    def add(self, batch: list[bytes]) -> None:
        """Count the next lines, without their newlines. Raises RunError if the temporary file cannot be written."""
        first, data = self.lines + 1, b"\n".join(batch)
        carriages = sum(line.endswith(b"\r") for line in batch) if b"\r" in data else 0
        self._count_ends(batch, carriages)
        if carriages:
            batch = [line.removesuffix(b"\r") for line in batch]
            data = b"\n".join(batch)
        if not self._count_together(batch, data):
            self._learn("\n".join(map(self._count_line, range(first, first + len(batch)), batch)))
        self.lines += len(batch)
        self._hash(batch, first)

    def _count_ends(self, batch: Sequence[bytes], carriages: int) -> None:
        """Count the line ends."""
        for ending, count in (("CRLF", carriages), ("LF", len(batch) - carriages)):
            if count:
                index = 0
                if not self.seen[ending].first:
                    index = next(i for i, line in enumerate(batch) if line.endswith(b"\r") == (ending == "CRLF"))
                self.seen[ending].add(self.lines + 1 + index, count)
        self.last_end = "CRLF" if batch[-1].endswith(b"\r") else "LF"

    def _count_together(self, batch: Sequence[bytes], data: bytes) -> bool:
        """Count the characters of a batch at once; returns False, and counts nothing, if a line needs a closer look.

        `data` is the batch with newlines between the lines.
        """
        longest = max(map(len, batch))
        if len(data) > MOST_TOGETHER or longest > LONGEST_LINE:
            return False
        try:
            self.num_characters += len(data.decode("utf-8")) - len(batch) + 1
        except UnicodeDecodeError:
            return False
        if data.translate(None, self._plain + _NOT_ASCII):
            self._count_characters(batch, range(len(batch)))
        elif not data.isascii():
            self._count_characters(batch, [index for index, line in enumerate(batch) if not line.isascii()])
        if longest > LONG_LINE:
            for index, line in enumerate(batch):
                if len(line) > LONG_LINE and len(line.decode("utf-8")) > LONG_LINE:
                    self.seen["long"].add(self.lines + 1 + index)
        return True

    def _learn(self, text: str) -> None:
        """Take the characters that are new."""
        for start in range(0, len(text), MOST_TOGETHER):
            codes = _codes(text[start : start + MOST_TOGETHER])
            for code in map(int, np.unique(codes[self._kinds[codes] == 0])):
                character = chr(code)
                is_odd = ODD.match(character) is not None
                is_composed = not unicodedata.is_normalized("NFD", character)
                self._kinds[code] = _KNOWN | _COMPOSED * is_composed | _IS_ODD * is_odd
                if code < 128 and not is_odd:
                    self._plain += bytes([code])

    def _count_characters(self, batch: Sequence[bytes], chosen: Sequence[int]) -> None:
        """Count the chosen lines of a batch with odd, composed and decomposed characters."""
        text = b"\n".join([batch[index] for index in chosen]).decode("utf-8")
        self._learn(text)
        codes = _codes(text)
        kinds, indices = self._kinds[codes], np.array(chosen)
        ends = np.flatnonzero(codes == ord("\n"))
        odd = np.flatnonzero(kinds >= _IS_ODD)
        for code in np.unique(codes[odd]):
            self._add(self.odd[chr(code)], indices[np.unique(np.searchsorted(ends, odd[codes[odd] == code]))])
        decomposed = []
        if not unicodedata.is_normalized("NFC", text):
            decomposed = [index for index in chosen if not unicodedata.is_normalized("NFC", batch[index].decode())]
            self._add(self.seen["decomposed"], np.array(decomposed))
        composed = np.searchsorted(ends, np.flatnonzero((kinds & _COMPOSED).view(np.bool_)))
        self._add(self.seen["composed"], np.setdiff1d(indices[composed], decomposed))

    def _add(self, tally: Tally, indices: NDArray[np.int64]) -> None:
        """Count lines of the batch by their indices, in order."""
        if len(indices):
            tally.add(self.lines + 1 + int(indices[0]), len(indices))

    def _count_line(self, number: int, line: bytes) -> str:
        """Count the characters of a line; returns its text."""
        if len(line) > LONGEST_LINE:
            self.seen["cut"].add(number)
            text = line.decode("utf-8", "ignore")
        else:
            text = self._decoded(number, line)
        self.num_characters += len(text)
        if len(text) > LONG_LINE:
            self.seen["long"].add(number)
        for character in set(ODD.findall(text)):
            self.odd[character].add(number)
        if not text.isascii():
            if not unicodedata.is_normalized("NFC", text):
                self.seen["decomposed"].add(number)
            elif not unicodedata.is_normalized("NFD", text):
                self.seen["composed"].add(number)
        return text

    def _decoded(self, number: int, line: bytes) -> str:
        try:
            return line.decode("utf-8")
        except UnicodeDecodeError:
            self.seen["damaged"].add(number)
            self.damaged = self.damaged or line[: 1 << 16]
            return line.decode("utf-8", "ignore")

    def _hash(self, batch: Sequence[bytes], first: int) -> None:
        """Take the hashes of the lines that are not blank; count the others."""
        stripped = list(map(bytes.strip, batch))
        blank = stripped.count(b"")
        numbers = np.arange(first, first + len(batch))
        hashes = np.fromiter(map(hash, stripped), np.int64, len(batch))
        if blank:
            self.seen["blank"].add(first + stripped.index(b""), blank)
            is_filled = np.fromiter(map(bool, stripped), np.bool_, len(batch))
            numbers, hashes = numbers[is_filled], hashes[is_filled]
        self.hashes.add(np.stack([hashes, numbers], axis=1))


def _codes(text: str) -> NDArray[np.uint32]:
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)


class EqualLines:
    """Lines that are there more than once, and lines that are in another text too, from rows sorted by hash."""

    def __init__(self) -> None:
        self.repeated = Tally()  # lines that were there before
        self.common = Tally()  # different lines of the other text that are here; the first line here
        self.num_theirs = 0  # different lines of the other text

    def add(self, ours: Rows, their_hashes: NDArray[np.int64]) -> None:
        """Compare rows of hash and line [N, 2], sorted by hash and line, with the sorted hashes of the other text."""
        hashes, lines = ours.T
        self._count(self.repeated, lines[1:][hashes[1:] == hashes[:-1]])
        theirs = np.unique(their_hashes)
        self.num_theirs += len(theirs)
        self._count(self.common, lines[np.isin(hashes, theirs)], int(np.isin(theirs, hashes).sum()))

    def _count(self, tally: Tally, lines: NDArray[np.int64], count: int | None = None) -> None:
        if len(lines):
            first = int(lines.min())
            tally.first = min(tally.first or first, first)
            tally.count += len(lines) if count is None else count


def hashes_of_long_lines(batches: Iterable[Sequence[bytes]]) -> HashedRows:
    """The hashes of the lines of TELLING_LINE bytes or more."""
    hashes = HashedRows(1)
    for batch in batches:
        found = [hash(line) for line in map(bytes.strip, batch) if len(line) >= TELLING_LINE]
        hashes.add(np.array(found, np.int64)[:, None])
    return hashes
