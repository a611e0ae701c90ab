"""Faults in a plain-text corpus, found before hours are spent on it.

A fault stops training or spoils it: bytes that are not UTF-8, mixed line ends, lines that are also in the validation
text. A note is worth knowing: blank lines, long lines, odd characters. Any contents give a list of findings; only a
corpus that does not exist raises an error.

The corpus is read once, in constant memory. Lines are compared by 64-bit hashes. At most MOST_HASHES are kept (about
100 MB); a finding says so if it does not rest on all lines.
"""

from __future__ import annotations

import re
import shlex
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator

from nlpseq.errors import CorpusError
from nlpseq.text.checks.finding import OVERLAP_FAULT, Finding, Level, faults_first, percentage
from nlpseq.text.checks.syntax import left_out_note, syntax_note
from nlpseq.text.collection import is_pattern
from nlpseq.text.compression import STANDARD_INPUT, new_name, read_blocks
from nlpseq.text.encodings import OTHER_MARKS, encoding_hint, iconv_command
from nlpseq.text.formats import can_read_again, is_raw, open_corpus
from nlpseq.text.lines import BYTE_ORDER_MARK, LONGEST_LINE, cut_lines
from nlpseq.text.readers.rows import TEXT_OF
from nlpseq.text.standard_input import input_blocks

LONG_LINE = 10_000  # characters; a longer line is noted
TELLING_LINE = 40  # bytes; a shorter line may be in two texts by chance
MOST_HASHES = 1_000_000

_ODD = re.compile("[\0-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ufeff\ufffd]")
_ODD_MEANINGS = {
    "\0": ": it is binary, or UTF-16 without a mark, which training refuses",
    "\ufeff": ": a byte order mark inside the text, as when files are joined",
    "\ufffd": ": the text was damaged before it was saved",
    **dict.fromkeys("\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029", ", which ends no line"),
}
_NFC = "import sys, unicodedata as u; sys.stdout.writelines(u.normalize('NFC', line) for line in sys.stdin)"


def check_text(name: str, other: str | None = None) -> list[Finding]:
    """Check the text of a corpus, by its name as `open_corpus` takes it.

    With `other`, such as a validation text, the long lines that are in both are counted. First comes a note of the
    size, then the faults, then the notes. Raises CorpusError if a corpus does not exist.
    """
    blocks = _blocks(name)
    check = _Check(name, other)
    try:
        check.read(blocks)
    except CorpusError as error:
        inner = "" if is_raw(name) or error.where == name else f"{error.where}: "
        check.broken = Finding("fault", check.lines, inner + error.what, error.hint)
    findings = [*check.encoding(), *check.line_ends(), *check.characters(), *check.shape(), *check.shared()]
    return [check.summary(), *faults_first([*findings, *_syntax(name)])]


def _syntax(name: str) -> Iterator[Finding]:
    """Notes that the corpus is a table, or markup, or that files of it are left out."""
    try:
        syntax = syntax_note(name) if can_read_again(name) else None
        left_out = left_out_note(name)
    except CorpusError:  # it cannot be read, which is a finding already
        return
    if left_out:
        yield Finding("note", 0, left_out)
    if syntax:
        what, hint = syntax
        advice = "" if "markup" in what else "; as a table it is checked with --pairs or --labels"
        yield Finding("note", 0, what + advice, hint)


class _Tally:
    """The number of lines that have a property, and the first of them."""

    def __init__(self) -> None:
        self.count = 0
        self.first = 0

    def add(self, line: int) -> None:
        self.count += 1
        self.first = self.first or line


class _LineSet:
    """Hashes of lines, up to MOST_HASHES."""

    def __init__(self) -> None:
        self.hashes: set[int] = set()

    def __contains__(self, line: bytes) -> bool:
        return hash(line) in self.hashes

    def __len__(self) -> int:
        return len(self.hashes)

    @property
    def scope(self) -> str:
        """Words for a finding that does not rest on all lines, else an empty text."""
        return f" (among the first {MOST_HASHES:,} different ones)" if len(self) >= MOST_HASHES else ""

    def add(self, line: bytes) -> None:
        if len(self) < MOST_HASHES:
            self.hashes.add(hash(line))


class _Check:
    """One pass over a corpus: what it gathers, and the findings."""

    def __init__(self, name: str, other: str | None) -> None:
        self.name = name
        self.other = other
        self.theirs = _long_lines(other) if other else _LineSet()
        self.common = _LineSet()
        self.ours = _LineSet()
        self.broken: Finding | None = None
        self.lines = self.bytes = self.num_characters = 0
        self.marked = self.ends_in_newline = False
        self.last_end = ""
        self.alphabet: set[str] = set()
        self.seen: defaultdict[str, _Tally] = defaultdict(_Tally)
        self.odd: defaultdict[str, _Tally] = defaultdict(_Tally)
        self.damaged = b""

    def read(self, blocks: Iterable[bytes]) -> None:
        """Read the corpus. Raises CorpusError where it cannot be read any further."""
        for batch in cut_lines(self._watch(blocks)):
            for line in batch:
                self.lines += 1
                self._read_line(line)

    def _watch(self, blocks: Iterable[bytes]) -> Iterator[bytes]:
        """The same blocks, the first without UTF-8's byte order mark. Raises CorpusError for another encoding."""
        for block in blocks:
            if not self.bytes:
                for mark, encoding in OTHER_MARKS.items():
                    if block.startswith(mark):
                        hint = iconv_command(self.name, encoding)
                        raise CorpusError(self.name, f"this is {encoding}, a corpus is UTF-8", hint)
                self.marked = block.startswith(BYTE_ORDER_MARK)
            self.ends_in_newline = block.endswith(b"\n")
            yield block.removeprefix(BYTE_ORDER_MARK) if not self.bytes else block
            self.bytes += len(block)

    def _read_line(self, line: bytes) -> None:
        self.last_end = "CRLF" if line.endswith(b"\r") else "LF"
        self.seen[self.last_end].add(self.lines)
        line = line.removesuffix(b"\r")
        if len(line) > LONGEST_LINE:
            self.seen["cut"].add(self.lines)
            text = line.decode("utf-8", "ignore")
        else:
            text = self._decode(line)
        self.num_characters += len(text)
        self.alphabet.update(text)
        self._read_text(text)
        if not (line := line.strip()):
            self.seen["blank"].add(self.lines)
            return
        if line in self.ours:
            self.seen["repeated"].add(self.lines)
        self.ours.add(line)
        if len(line) >= TELLING_LINE and line in self.theirs:
            self.common.add(line)
            self.seen["common"].add(self.lines)

    def _decode(self, line: bytes) -> str:
        try:
            return line.decode("utf-8")
        except UnicodeDecodeError:
            self.seen["damaged"].add(self.lines)
            self.damaged = self.damaged or line[: 1 << 16]
            return line.decode("utf-8", "ignore")

    def _read_text(self, text: str) -> None:
        if len(text) > LONG_LINE:
            self.seen["long"].add(self.lines)
        for character in set(_ODD.findall(text)):
            self.odd[character].add(self.lines)
        if text.isascii():
            return
        if not unicodedata.is_normalized("NFC", text):
            self.seen["decomposed"].add(self.lines)
        elif not unicodedata.is_normalized("NFD", text):
            self.seen["composed"].add(self.lines)

    def summary(self) -> Finding:
        """The size of the text."""
        distinct = f"{self.num_characters:,} characters ({len(self.alphabet):,} different)"
        return Finding("note", 0, f"{_lines(self.lines)}, {distinct}, {self.bytes:,} bytes")

    def encoding(self) -> Iterator[Finding]:
        """Bytes that are not UTF-8, and text that cannot be read."""
        damaged, cut = self.seen["damaged"], self.seen["cut"]
        if self.broken:
            yield self.broken
        elif not self.lines:
            yield Finding("fault", 0, "it is empty")
        elif self.seen["blank"].count == self.lines:
            yield Finding("fault", 0, "it has no text to learn, only blank lines")
        if damaged.count:
            what = f"not UTF-8: {_lines(damaged.count)}"
            yield Finding("fault", damaged.first, what, encoding_hint(self.name, self.damaged))
        if cut.count:
            what = f"longer than {LONGEST_LINE:,} bytes, and not checked beyond: {_lines(cut.count)}"
            yield Finding("note", cut.first, what)
        if self.marked:
            yield Finding("note", 1, "it starts with a byte order mark, which reading drops")

    def line_ends(self) -> Iterator[Finding]:
        """Mixed or unusual line ends."""
        crlf, lf = self.seen["CRLF"].count, self.seen["LF"].count
        if self.lines and not self.ends_in_newline:  # the last line has no end at all
            crlf, lf = crlf - (self.last_end == "CRLF"), lf - (self.last_end == "LF")
        if crlf and lf:
            what = f"{_lines(crlf)} with CRLF at the end, {_lines(lf)} with LF"
            first = max(self.seen["CRLF"].first, self.seen["LF"].first)
            yield Finding("fault", first, what, _mended(self.name, "tr -d '\\r'", ".lf"))
        elif crlf:
            yield Finding("note", 1, "lines end in CRLF, which is read as LF")
        elif not lf and self.odd.get("\r"):
            what = "lines end in CR alone: all of it is one line"
            yield Finding("fault", 1, what, _mended(self.name, r"tr '\r' '\n'", ".lf"))

    def characters(self) -> Iterator[Finding]:
        """Unexpected characters, and characters that are written in two ways."""
        for character, tally in sorted(self.odd.items(), key=lambda item: (item[1].first, item[0])):
            name = unicodedata.name(character, "a control character")
            what = f"U+{ord(character):04X} ({name}) in {_lines(tally.count)}{_ODD_MEANINGS.get(character, '')}"
            hint = "take the text from its source again" if character == "\ufffd" else ""
            yield Finding("fault" if character == "\0" else "note", tally.first, what, hint)
        decomposed, composed = self.seen["decomposed"], self.seen["composed"]
        if decomposed.count:
            what = f"not in Unicode's composed form (NFC): {_lines(decomposed.count)}"
            if composed.count:
                what += f"; in it: {_lines(composed.count)}, so one word may be written in two ways"
            yield Finding("note", decomposed.first, what, _mended(self.name, f'python -c "{_NFC}"', ".nfc"))

    def shape(self) -> Iterator[Finding]:
        """Blank, long and repeated lines."""
        blank, long, repeated = self.seen["blank"], self.seen["long"], self.seen["repeated"]
        if blank.count:
            yield Finding("note", blank.first, f"blank: {_fraction(blank.count, self.lines)}")
        if long.count:
            what = f"longer than {LONG_LINE:,} characters: {_lines(long.count)}"
            yield Finding("note", long.first, what)
        if repeated.count:
            what = f"not blank, and there before: {_fraction(repeated.count, self.lines - blank.count)}"
            what += f"{self.ours.scope}; repeated text is learned by heart"
            yield Finding("note", repeated.first, what)

    def shared(self) -> Iterator[Finding]:
        """Long lines that are also in the other text."""
        if not self.other:
            return
        if not len(self.theirs):
            yield Finding("note", 0, f"{self.other} has no line of {TELLING_LINE} bytes or more to compare")
        elif len(self.common):
            count, total = len(self.common), len(self.theirs)
            what = f"{percentage(count, total)} of the long lines of {self.other} are here too{self.theirs.scope}"
            level: Level = "fault" if count >= OVERLAP_FAULT * total else "note"
            yield Finding(level, self.seen["common"].first, what, "take them out, or scores are too good")
        else:
            yield Finding("note", 0, f"none of the long lines of {self.other} is here too")


def _lines(count: int) -> str:
    return "1 line" if count == 1 else f"{count:,} lines"


def _fraction(count: int, total: int) -> str:
    return f"{count:,} of {_lines(total)} ({percentage(count, total)})"


def _blocks(name: str) -> Iterator[bytes]:
    """The bytes of a plain file or of standard input as they are; another corpus' text in UTF-8."""
    if is_raw(name):
        return input_blocks() if name == STANDARD_INPUT else read_blocks(name)
    return (piece.encode("utf-8", "surrogateescape") for piece in open_corpus(name))


def _mended(name: str, command: str, ending: str) -> str:
    """A shell command that writes the text of a corpus, as `command` changes it, to a new file."""
    file = shlex.quote(name)
    if is_raw(name) and name != STANDARD_INPUT:
        return f"{command} < {file} > {file}{ending}"
    source = "COMMAND" if name == STANDARD_INPUT else f"{TEXT_OF} {file}"
    return f"{source} | {command} > {'corpus' + ending if is_pattern(name) else new_name(name, ending)}"


def _long_lines(name: str) -> _LineSet:
    lines = _LineSet()
    for batch in cut_lines(_blocks(name)):
        for line in map(bytes.strip, batch):
            if len(line) >= TELLING_LINE:
                lines.add(line)
    return lines
