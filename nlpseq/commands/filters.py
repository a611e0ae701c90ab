"""The loop that all filters use: lines of the input to lines of standard output, batch by batch.

    filter_lines   lines as bytes
    filter_texts   lines as texts, or as JSON objects with a text; the faults of lines are reported at the end

Every line gets an answer, in order, even if the line has a fault. The answers to a batch are written at once.
"""

from __future__ import annotations

import json
from collections import Counter, deque
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import chain
from time import monotonic
from typing import Any, Generic, NamedTuple, TypeVar

from nlpseq.commands import output
from nlpseq.commands.inputs import Input, LineOptions
from nlpseq.decoding.statuses import CUT, IN_PART
from nlpseq.text.heap import give_back
from nlpseq.text.lines import (
    BYTE_ORDER_MARK,
    FIRST_LINES,
    INVALID,
    LINES_AT_ONCE,
    LONGEST_LINE,
    OK,
    TOO_LONG,
    decode_line,
    is_utf8,
    portions,
    write_lines,
)
from nlpseq.workers import PAUSE

INVALID_JSON, NO_TEXT = "invalid-json", "no-text"
FAULTS = {
    INVALID: "not UTF-8, and read byte by byte",
    TOO_LONG: "too long, and left out",
    INVALID_JSON: "not a JSON object",
    NO_TEXT: "without a string under `text`",
    IN_PART: "very long, and only its beginning was read",
    CUT: "cut short in translation, which went on too long or in circles",
}

WORTH_WORKERS = 1.0  # seconds of work, done and waiting, before worker processes are started

Answer = TypeVar("Answer")
ByWorkers = Callable[[Iterable[Any], int], Generator[Any, None, None]]  # see `portions_in_order`


def filter_lines(
    answer: Callable[[Sequence[bytes]], Iterable[bytes]],
    source: Input,
    *,
    every_byte: bool = True,
    whole_batches: bool = False,
    longest: int = LONGEST_LINE,
) -> None:
    """Write the answers to the lines of the input.

    `answer` gets the lines in portions, the first one small. With `whole_batches` it gets all waiting lines together,
    which is faster on a GPU. A line of more than `longest` bytes is cut to `longest + 1`. Without `every_byte`, a byte
    order mark is removed from the first line of each file.
    """
    for lines, _ in _portions(source, every_byte=every_byte, whole_batches=whole_batches, longest=longest):
        if lines:
            write_lines(answer(lines))


def _portions(
    source: Input, *, every_byte: bool, whole_batches: bool, longest: int = LONGEST_LINE
) -> Iterator[tuple[Sequence[bytes], int]]:
    """The portions that `filter_lines` describes, each with the number of lines that wait, its own included.

    An empty portion comes before each wait for input. Answers leave holes in the heap, which are given back.
    """
    answered = 0
    for first, batch in source.batches(longest, pauses=True):
        if first and batch and not every_byte and len(batch[0]) <= longest:
            batch[0] = batch[0].removeprefix(BYTE_ORDER_MARK)
        waiting = len(batch)
        for lines in [batch] if whole_batches else portions(batch):
            yield lines, waiting
            waiting -= len(lines)
            answered += len(lines)
            if answered >= LINES_AT_ONCE:
                give_back()
                answered = 0


@dataclass(frozen=True)
class Answers(Generic[Answer]):
    """How texts are answered, and how an answer is shown: as a line, or as fields of an object.

    The answer to a line without a text is None, and the answer to a text may be None.
    """

    answer: Callable[[Sequence[str | None]], Sequence[Answer | None]]
    as_line: Callable[[int, Answer | None], str]  # takes a line's number, from 1, and its answer
    as_fields: Callable[[Answer | None], Mapping[str, Any]]
    names: Collection[str]  # of all fields that `as_fields` may return
    status: Callable[[Answer | None], str] = lambda answer: OK
    by_workers: ByWorkers | None = None
    seen: Callable[[Sequence[Answer | None]], None] = lambda answers: None  # called with the answers to each portion


def filter_texts(
    answers: Answers[Answer],
    source: Input,
    lines: LineOptions,
    *,
    quiet: bool,
    every_byte: bool = False,
    whole_batches: bool = False,
    processes: int = 1,
    silent: bool = False,
) -> None:
    """Answer the texts of the input, and report on standard error which faults lines had.

    Without `every_byte`, byte order marks and the carriage returns of Windows are removed from texts. With several
    `processes`, workers answer the rest of the input as soon as enough of it waits. With `silent` no line is written:
    the answers are only `seen`.
    """
    texts = _Texts(answers, lines, quiet=quiet)
    keeps_mark = every_byte and not lines.jsonl
    portions = _portions(source, every_byte=keeps_mark, whole_batches=whole_batches)
    with closing(_answered(answers, texts.read(portions, every_byte=every_byte), processes)) as found:
        for answered in found:
            answers.seen(answered)
            written = texts.written(answered)
            if silent:
                deque(written, 0)
            else:
                write_lines(written)
    texts.faults.report()


class _Texts(Generic[Answer]):
    """The lines that were read and are not yet written, and their faults."""

    def __init__(self, answers: Answers[Answer], lines: LineOptions, *, quiet: bool) -> None:
        self.answers, self.lines = answers, lines
        self.names = {*answers.names, "status"}
        self.faults = LineFaults(quiet=quiet)
        self.under_way: deque[list[Line]] = deque()
        self.count = 0

    def read(
        self, portions: Iterable[tuple[Sequence[bytes], int]], *, every_byte: bool
    ) -> Iterator[tuple[list[str | None], int]]:
        """The texts of portions as from `_portions`."""
        read = self.faults.read if every_byte else self.faults.read_plain
        for data, waiting in portions:
            portion = [read(line, as_object=self.lines.jsonl) for line in data]
            if portion:
                self.under_way.append(portion)
            yield [line.text for line in portion], waiting

    def written(self, answered: Sequence[Answer | None]) -> Iterator[bytes]:
        """The lines to write for the oldest portion that is under way, given its answers."""
        for line, own in zip(self.under_way.popleft(), answered, strict=True):
            self.count += 1
            shown = None if line.text is None else own
            status = line.status
            if line.text is not None:
                status = self.faults.joined(status, self.answers.status(shown))
            if self.lines.objects_out:
                fields = added(line.fields, {**self.answers.as_fields(shown), "status": status}, self.names)
                yield output.to_json(fields).encode()
            else:
                yield self.answers.as_line(self.count, shown).encode("utf-8", "replace")


def _answered(
    answers: Answers[Answer], portions: Iterator[tuple[list[str | None], int]], processes: int
) -> Generator[Any, None, None]:
    """The answers to each portion: from this process until workers are worth their start, then from them.

    Work that is done counts too: a pipe holds little at a time, and one that was read for long will probably go on.
    """
    seconds, count = 0.0, 0
    for texts, waiting in portions:
        long = waiting > FIRST_LINES and count and seconds + waiting * seconds / count > WORTH_WORKERS
        if long and processes > 1 and answers.by_workers:
            rest = chain([texts], (later for later, _ in portions))
            yield from answers.by_workers((portion or PAUSE for portion in rest), processes)
            return
        if texts:
            started = monotonic()
            answered = answers.answer(texts)
            seconds, count = seconds + monotonic() - started, count + len(texts)
            yield answered


class Line(NamedTuple):
    """A line of the input: fields to pass through, its text or None, and its status."""

    fields: dict[str, Any]
    text: str | None
    status: str


class LineFaults:
    """Lines of the input that had a fault, counted and reported in one message at the end."""

    def __init__(self, *, quiet: bool) -> None:
        self.quiet = quiet
        self.counts: Counter[str] = Counter()

    def decode(self, line: bytes) -> tuple[str, str]:
        """A line's text and status, as `decode_line` returns them."""
        text, status = decode_line(line)
        self.add(status)
        return text, status

    def read(self, line: bytes, *, as_object: bool) -> Line:
        """A line of text, or the JSON object in it; without a text if it is too long or not such an object."""
        if as_object:
            fields, status = read_object(line)
            self.add(status)
            return Line(fields, fields["text"] if status in (OK, INVALID) else None, status)
        text, status = self.decode(line)
        return Line({}, None if status == TOO_LONG else text, status)

    def read_plain(self, line: bytes, *, as_object: bool) -> Line:
        """As `read`, without a carriage return at the end of a line that is not too long."""
        whole = line if len(line) > LONGEST_LINE else line.removesuffix(b"\r")
        return self.read(whole, as_object=as_object)

    def joined(self, read: str, answered: str) -> str:
        """The status of a line, from those of its text and of its answer; counts a fault of the answer."""
        if answered in FAULTS:
            self.add(answered)
            return answered
        return answered if read == OK else read

    def add(self, status: str) -> None:
        """Count one line's status."""
        if status != OK:
            self.counts[status] += 1

    def report(self) -> None:
        """Write how many lines had which fault."""
        for status, count in sorted(self.counts.items()):
            lines = "line was" if count == 1 else "lines were"
            output.note(f"note: {count} {lines} {FAULTS[status]}", quiet=self.quiet)


def read_object(line: bytes) -> tuple[dict[str, Any], str]:
    """A line's JSON object and its status; if that is OK or INVALID there is a string under `text`."""
    text, status = decode_line(line)
    if status == TOO_LONG:
        return {}, TOO_LONG
    try:
        value = json.loads(text)  # bytes that are not UTF-8 are lone surrogates
    except (ValueError, RecursionError):
        return {}, INVALID_JSON
    if not isinstance(value, dict):
        return {}, INVALID_JSON
    if not isinstance(value.get("text"), str):
        return value, NO_TEXT
    return value, status if is_utf8(value["text"]) else INVALID


def added(fields: Mapping[str, Any], ours: Mapping[str, Any], names: Collection[str] = ()) -> dict[str, Any]:
    """The fields of the user's object and ours.

    A field whose name is one of ours or in `names` is kept as `given_NAME`, with `given_` repeated until the name is
    free.
    """
    taken = {*fields, *ours, *names}
    kept = {}
    for name, value in fields.items():
        if name in ours or name in names:
            while name in taken:
                name = f"given_{name}"
            taken.add(name)
        kept[name] = value
    return {**kept, **ours}
