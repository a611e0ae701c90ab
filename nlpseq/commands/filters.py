"""The loop that all filters use: lines of the input to lines of standard output, batch by batch.

    filter_lines   lines as bytes
    filter_texts   lines as texts, or as JSON objects with a text; the faults of lines are reported at the end

Every line gets an answer, in order, even if the line has a fault. The answers to a batch are written at once.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, TypeVar

from nlpseq.commands import output
from nlpseq.commands.inputs import Input, LineOptions
from nlpseq.decoding.statuses import CUT, IN_PART
from nlpseq.text.lines import (
    BYTE_ORDER_MARK,
    INVALID,
    LONGEST_LINE,
    OK,
    TOO_LONG,
    decode_line,
    portions,
    write_lines,
)

INVALID_JSON, NO_TEXT = "invalid-json", "no-text"
FAULTS = {
    INVALID: "not UTF-8, and read byte by byte",
    TOO_LONG: "too long, and left out",
    INVALID_JSON: "not a JSON object",
    NO_TEXT: "without a string under `text`",
    IN_PART: "very long, and only its beginning was read",
    CUT: "cut short in translation, which went on too long or in circles",
}

Answer = TypeVar("Answer")


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
    for first, batch in source.batches(longest):
        if first and not every_byte and len(batch[0]) <= longest:
            batch[0] = batch[0].removeprefix(BYTE_ORDER_MARK)
        for lines in [batch] if whole_batches else portions(batch):
            write_lines(answer(lines))


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


def filter_texts(
    answers: Answers[Answer],
    source: Input,
    lines: LineOptions,
    *,
    quiet: bool,
    every_byte: bool = False,
    whole_batches: bool = False,
) -> None:
    """Answer the texts of the input, and report on standard error which faults lines had.

    Without `every_byte`, byte order marks and the carriage returns of Windows are removed from texts.
    """
    faults = LineFaults(quiet=quiet)
    names = {*answers.names, "status"}
    count = 0

    def answer(data: Sequence[bytes]) -> Iterator[bytes]:
        nonlocal count
        read = faults.read if every_byte else faults.read_plain
        taken = [read(line, as_object=lines.jsonl) for line in data]
        for line, answered in zip(taken, answers.answer([line.text for line in taken]), strict=True):
            count += 1
            shown = None if line.text is None else answered
            status = line.status if line.text is None else faults.joined(line.status, answers.status(shown))
            if lines.objects_out:
                fields = added(line.fields, {**answers.as_fields(shown), "status": status}, names)
                yield output.to_json(fields).encode()
            else:
                yield answers.as_line(count, shown).encode("utf-8", "replace")

    keeps_mark = every_byte and not lines.jsonl
    filter_lines(answer, source, every_byte=keeps_mark, whole_batches=whole_batches)
    faults.report()


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
    return value, status if isinstance(value.get("text"), str) else NO_TEXT


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
