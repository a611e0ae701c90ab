"""Faults in a plain-text corpus, found before hours are spent on it.

A fault stops training or spoils it: bytes that are not UTF-8, mixed line ends, lines that are also in the validation
text. A note is worth knowing: blank lines, long lines, odd characters. Any contents give a list of findings; only a
corpus that does not exist raises an error.

The corpus is read once, in constant memory, and faster than from most disks. Lines are compared by 64-bit hashes, which
go to a temporary file if there are many: 16 bytes for each line.
"""

from __future__ import annotations

import shlex
import unicodedata
from collections.abc import Iterable, Iterator

from nlpseq.errors import CorpusError
from nlpseq.text.beginnings import beginning, first_lines
from nlpseq.text.checks.finding import OVERLAP_FAULT, Finding, Level, faults_first, percentage
from nlpseq.text.checks.spill import HashedRows, sorted_parts
from nlpseq.text.checks.syntax import left_out_note, syntax_note
from nlpseq.text.checks.text_counts import LONG_LINE, TELLING_LINE, EqualLines, TextCounts, hashes_of_long_lines
from nlpseq.text.collection import is_pattern
from nlpseq.text.compression import STANDARD_INPUT, new_name, stream_blocks
from nlpseq.text.encodings import OTHER_MARKS, encoding_hint, iconv_command
from nlpseq.text.formats import can_read_again, corpus_bytes, is_raw, open_corpus
from nlpseq.text.heap import without_holes
from nlpseq.text.lines import BYTE_ORDER_MARK, LONGEST_LINE, cut_lines
from nlpseq.text.progress import Meter, Watch, unwatched
from nlpseq.text.readers.rows import TEXT_OF
from nlpseq.text.standard_input import input_blocks

_ODD_MEANINGS = {
    "\0": ": it is binary, or UTF-16 without a mark, which training refuses",
    "\ufeff": ": a byte order mark inside the text, as when files are joined",
    "\ufffd": ": the text was damaged before it was saved",
    **dict.fromkeys("\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029", ", which ends no line"),
}
_NFC = "import sys, unicodedata as u; sys.stdout.writelines(u.normalize('NFC', line) for line in sys.stdin)"


def check_text(name: str, other: str | None = None, watch: Watch = unwatched) -> list[Finding]:
    """Check the text of a corpus, by its name as `open_corpus` takes it.

    With `other`, such as a validation text, the long lines that are in both are counted. `watch` is told how many bytes
    were read, and then how many lines were compared. First comes a note of the size, then the faults, then the notes.
    Raises CorpusError if a corpus does not exist, and RunError if the temporary file cannot be written.
    """
    meter = Meter()
    blocks = _blocks(name, meter)
    check = _Check(name, other, meter)
    try:
        check.read(blocks, watch)
    except CorpusError as error:
        inner = "" if is_raw(name) or error.where == name else f"{error.where}: "
        check.broken = Finding("fault", check.lines, inner + error.what, error.hint)
    check.compare(watch)
    findings = [*check.encoding(), *check.line_ends(), *check.characters(), *check.shape(), *check.shared()]
    summary = [] if check.broken and not check.lines else [check.summary()]  # of what was read
    return [*summary, *faults_first([*findings, *_syntax(name)])]


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


class _Check:
    """One pass over a corpus: what it gathers, and the findings."""

    def __init__(self, name: str, other: str | None, meter: Meter) -> None:
        self.name = name
        self.other = other
        self.meter = meter
        self.theirs = hashes_of_long_lines(cut_lines(_blocks(other, Meter()))) if other else HashedRows(1)
        self.counts = TextCounts()
        self.equal = EqualLines()
        self.broken: Finding | None = None
        self.bytes = 0
        self.marked = self.ends_in_newline = False

    @property
    def lines(self) -> int:
        """The number of lines."""
        return self.counts.lines

    def read(self, blocks: Iterable[bytes], watch: Watch) -> None:
        """Read the corpus. Raises CorpusError where it cannot be read any further."""
        total = corpus_bytes(self.name)
        for batch in without_holes(cut_lines(self._opened(blocks))):
            self.counts.add(batch)
            watch("reading", self.bytes if total is None else self.meter.done, total)

    def compare(self, watch: Watch) -> None:
        """Look for equal lines."""
        total, done = self.counts.hashes.count, 0
        for ours, theirs in sorted_parts(self.counts.hashes, self.theirs):
            self.equal.add(ours, theirs[:, 0])
            done += len(ours)
            watch("comparing lines", done, total)

    def _opened(self, blocks: Iterable[bytes]) -> Iterator[bytes]:
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

    def summary(self) -> Finding:
        """The size of the text."""
        distinct = f"{self.counts.num_characters:,} characters ({self.counts.num_different:,} different)"
        return Finding("note", 0, f"{_lines(self.lines)}, {distinct}, {self.bytes:,} bytes")

    def encoding(self) -> Iterator[Finding]:
        """Bytes that are not UTF-8, and text that cannot be read."""
        damaged, cut = self.counts.seen["damaged"], self.counts.seen["cut"]
        if self.broken:
            yield self.broken
        elif not self.lines:
            yield Finding("fault", 0, "it is empty")
        elif self.counts.seen["blank"].count == self.lines:
            yield Finding("fault", 0, "it has no text to learn, only blank lines")
        if damaged.count:
            what = f"not UTF-8: {_lines(damaged.count)}"
            yield Finding("fault", damaged.first, what, encoding_hint(self.name, self.counts.damaged))
        if cut.count:
            what = f"longer than {LONGEST_LINE:,} bytes, and not checked beyond: {_lines(cut.count)}"
            yield Finding("note", cut.first, what)
        if self.marked:
            yield Finding("note", 1, "it starts with a byte order mark, which reading drops")

    def line_ends(self) -> Iterator[Finding]:
        """Mixed or unusual line ends."""
        crlf, lf = self.counts.seen["CRLF"].count, self.counts.seen["LF"].count
        if self.lines and not self.ends_in_newline:  # the last line has no end at all
            crlf, lf = crlf - (self.counts.last_end == "CRLF"), lf - (self.counts.last_end == "LF")
        if crlf and lf:
            what = f"{_lines(crlf)} with CRLF at the end, {_lines(lf)} with LF"
            first = max(self.counts.seen["CRLF"].first, self.counts.seen["LF"].first)
            yield Finding("fault", first, what, _mended(self.name, "tr -d '\\r'", ".lf"))
        elif crlf:
            yield Finding("note", 1, "lines end in CRLF, which is read as LF")
        elif not lf and self.counts.odd.get("\r"):
            what = "lines end in CR alone: all of it is one line"
            yield Finding("fault", 1, what, _mended(self.name, r"tr '\r' '\n'", ".lf"))

    def characters(self) -> Iterator[Finding]:
        """Unexpected characters, and characters that are written in two ways."""
        for character, tally in sorted(self.counts.odd.items(), key=lambda item: (item[1].first, item[0])):
            name = unicodedata.name(character, "a control character")
            what = f"U+{ord(character):04X} ({name}) in {_lines(tally.count)}{_ODD_MEANINGS.get(character, '')}"
            hint = "take the text from its source again" if character == "\ufffd" else ""
            yield Finding("fault" if character == "\0" else "note", tally.first, what, hint)
        decomposed, composed = self.counts.seen["decomposed"], self.counts.seen["composed"]
        if decomposed.count:
            what = f"not in Unicode's composed form (NFC): {_lines(decomposed.count)}"
            if composed.count:
                what += f"; in it: {_lines(composed.count)}, so one word may be written in two ways"
            yield Finding("note", decomposed.first, what, _mended(self.name, f'python -c "{_NFC}"', ".nfc"))

    def shape(self) -> Iterator[Finding]:
        """Blank, long and repeated lines."""
        blank, long, repeated = self.counts.seen["blank"], self.counts.seen["long"], self.equal.repeated
        if blank.count:
            yield Finding("note", blank.first, f"blank: {_fraction(blank.count, self.lines)}")
        if long.count:
            what = f"longer than {LONG_LINE:,} characters: {_lines(long.count)}"
            yield Finding("note", long.first, what)
        if repeated.count:
            what = f"not blank, and there before: {_fraction(repeated.count, self.lines - blank.count)}"
            yield Finding("note", repeated.first, f"{what}; repeated text is learned by heart")

    def shared(self) -> Iterator[Finding]:
        """Long lines that are also in the other text."""
        common, total = self.equal.common, self.equal.num_theirs
        if not self.other:
            return
        if not total:
            yield Finding("note", 0, f"{self.other} has no line of {TELLING_LINE} bytes or more to compare")
        elif common.count:
            what = f"{percentage(common.count, total)} of the long lines of {self.other} are here too"
            level: Level = "fault" if common.count >= OVERLAP_FAULT * total else "note"
            yield Finding(level, common.first, what, "take them out, or scores are too good")
        else:
            yield Finding("note", 0, f"none of the long lines of {self.other} is here too")


def _lines(count: int) -> str:
    return "1 line" if count == 1 else f"{count:,} lines"


def _fraction(count: int, total: int) -> str:
    return f"{count:,} of {_lines(total)} ({percentage(count, total)})"


def _blocks(name: str, meter: Meter) -> Iterator[bytes]:
    """The bytes of a plain file or of standard input as they are; another corpus' text in UTF-8."""
    whole, limit = beginning(name)
    if is_raw(whole):
        blocks = input_blocks() if whole == STANDARD_INPUT else _file_blocks(whole, meter)
        return blocks if limit is None else first_lines(blocks, limit)
    return (piece.encode("utf-8", "surrogateescape") for piece in open_corpus(name, meter))


def _file_blocks(name: str, meter: Meter) -> Iterator[bytes]:
    try:
        with open(name, "rb") as file, meter.reading(file):
            yield from stream_blocks(name, file)
    except OSError as error:
        raise CorpusError(name, f"it cannot be read: {error.strerror or error}") from None


def _mended(name: str, command: str, ending: str) -> str:
    """A shell command that writes the text of a corpus, as `command` changes it, to a new file."""
    file = shlex.quote(name)
    if is_raw(name) and name != STANDARD_INPUT:
        return f"{command} < {file} > {file}{ending}"
    source = "COMMAND" if name == STANDARD_INPUT else f"{TEXT_OF} {file}"
    return f"{source} | {command} > {'corpus' + ending if is_pattern(name) else new_name(name, ending)}"
