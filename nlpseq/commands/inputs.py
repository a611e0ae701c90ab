"""The input of a filter: texts and files as arguments, or standard input.

    find_input    the lines of all arguments, in order
    one_text      one argument as a single text
    piped_text    the text of standard input, for a command that can do without

An argument that names an existing file is read as lines, `-` is standard input, and any other argument is a text.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby, islice
from pathlib import Path

from nlpseq.commands import output
from nlpseq.commands.arguments import EVERY_BYTE, PAGES, first_bytes, is_text
from nlpseq.errors import CorpusError, OptionError
from nlpseq.options import check, option
from nlpseq.tasks import LANGUAGE_MODEL, Task
from nlpseq.text.compression import FOR_LANGUAGE_MODELS, STANDARD_INPUT
from nlpseq.text.lines import (
    BYTE_ORDER_MARK,
    INVALID,
    LONGEST_LINE,
    comes,
    cut_lines,
    decode_line,
    has_unread,
    is_terminal,
    optional_input,
    read_batches,
    read_file,
    standard_input,
)
from nlpseq.text.tokenisers import to_utf8
from nlpseq.workers import MOST, check_processes

PATIENCE = 5.0  # seconds that a command waits for a text that it can do without
SILENCE = 0.5  # seconds of these before it says that it waits
OBJECTS = {".jsonl", ".ndjson"}  # suffixes of files of objects
TABLES = {".csv", *OBJECTS}  # suffixes of tables that may be without a tab
LABEL = b"__label__"  # starts a label in a line as for fastText
NO_JSONL = "nlpseq nearest"  # the command that has no --jsonl, beside those that read every byte
TOO_MUCH = f"over {LONGEST_LINE >> 20} MiB, too much"


@dataclass(frozen=True, kw_only=True)
class LineOptions:
    """Where the lines of a filter come from, and the form in which they come and go."""

    texts: tuple[str, ...] = option(
        (),
        "texts, or files of lines (.gz, .xz, .zst too) [default: standard input]",
        metavar="TEXT|FILE",
        argument=True,
    )
    json: bool = option(False, "write a JSON object for each line", switch=True, usual=True)
    jsonl: bool = option(
        False, "read JSON objects with the line under `text`; write them with fields added", switch=True, usual=True
    )

    processes: int | None = option(
        None,
        "most worker processes [default: what is fastest]",
        minimum=1,
        maximum=MOST,
        usual=True,
    )

    def __post_init__(self) -> None:
        check(self)
        if self.json and self.jsonl:
            what = "exclude each other: --jsonl reads objects, and writes them too"
            raise OptionError("json and jsonl", what, "--jsonl")

    @property
    def objects_out(self) -> bool:
        """Whether answers are written as objects."""
        return self.json or self.jsonl

    def processes_on(self, device: str, usual: int) -> int:
        """The number of processes that compute on a device; `usual` is their number on the CPU by default.

        1 is this process alone. Raises OptionError for several on a GPU.
        """
        check_processes(self.processes or 1, device)
        return self.processes or (usual if device == "cpu" else 1)

    def find(self, command: str, *, quiet: bool, noun: str = "a text") -> Input:
        """The input of the filter `command`. Raises CorpusError as `is_text`."""
        return find_input(self.texts, command, quiet=quiet, objects=self.jsonl, noun=noun)


Source = Callable[[int], Iterable[list[bytes]]]  # takes the bytes of the longest line; an empty list: it will wait


@dataclass(frozen=True)
class Input:
    """The lines of a filter, from one source after the other."""

    sources: Sequence[Source]

    def batches(self, longest: int = LONGEST_LINE, *, pauses: bool = False) -> Iterator[tuple[bool, list[bytes]]]:
        """The lines in batches, each with whether it is the first of its source; long lines as in `read_batches`.

        With `pauses`, an empty batch comes before each wait for input.
        """
        for source in self.sources:
            first = True
            for batch in source(longest):
                if batch or pauses:
                    yield first, batch
                first = first and not batch


def find_input(
    arguments: Sequence[str], command: str, *, quiet: bool, objects: bool = False, noun: str = "a text"
) -> Input:
    """The input that arguments name; standard input without any. `command` is for hints.

    On a terminal a note says to type `noun`, or an object if the lines are `objects`. Raises CorpusError as `is_text`.
    """
    noun = "a JSON object" if objects else noun
    sources: list[Source] = []
    for texts, group in groupby(arguments or ("-",), lambda argument: is_text(argument, command, objects=objects)):
        if texts:
            sources.append(partial(_lines_of, list(group)))
            continue
        for argument in group:
            if argument == "-":
                sources.append(partial(_standard_lines, noun=noun, quiet=quiet))
            else:
                if not objects and not quiet and (note := _note_on_file(argument, command)):
                    output.note(f"note: {argument} is read as plain text; {note}", quiet=quiet)
                sources.append(partial(read_file, argument, pauses=True))
    return Input(sources)


def _note_on_file(path: str, command: str) -> str:
    """What reads the texts of a file whose lines are objects, markup or rows with labels; empty for other files."""
    suffixes = {suffix.lower() for suffix in Path(path).suffixes}
    if suffixes & OBJECTS and not command.startswith(NO_JSONL):
        return "" if command.startswith(EVERY_BYTE) else "--jsonl reads its objects"
    if suffixes.intersection(PAGES):
        return f"nlpseq corpus show {shlex.quote(path)} | {command} reads it without its markup"
    if command.startswith(EVERY_BYTE) or not (column := _text_column(path)):
        return ""
    texts = (
        f"nlpseq corpus show --text-column {shlex.quote(column)} {shlex.quote(path)} | {command} reads its texts alone"
    )
    table = "it looks like a table with labels, and its lines are read whole"
    return f"{table}; {texts}, and nlpseq evaluate {shlex.quote(path)} its labels too"


def _text_column(path: str) -> str:
    """The column of the texts if a file is a table whose columns are known as a label and a text; else an empty text.

    A pipe is not looked into, and the readers of tables are loaded only for what may be a table.
    """
    start = first_bytes(path)
    by_suffix = {suffix.lower() for suffix in Path(path).suffixes} & TABLES
    if not (start and (by_suffix or b"\t" in start or LABEL in start)):
        return ""
    from nlpseq.text.checks.corpus import corpus_kind
    from nlpseq.text.tables.text_column import likely_text_column

    return likely_text_column(path) if corpus_kind(path) == "labels" else ""


def one_text(argument: str | None, command: str, example: str) -> str:
    """A text: that of an argument, of all lines of a file, or of standard input; on a terminal, a single line of it.

    A byte order mark and the carriage returns of Windows are removed from a file. Raises CorpusError as `is_text`, for
    a file that is too long, and for an input without a line; the hint then shows the `example`.
    """
    if argument is not None and is_text(argument, command):
        return argument
    argument = argument or "-"
    name = "stdin" if argument == "-" else argument
    batches: Iterable[list[bytes]] = (batch for _, batch in find_input((argument,), command, quiet=False).batches())
    if argument == "-" and is_terminal():
        batches = ([batch[0]] for batch in islice(batches, 1))
    elif argument == "-":
        batches = read_batches(standard_input(), stops=True)
    lines = _gathered(batches, CorpusError(name, f"it has {TOO_MUCH} for one text", f"head -1 FILE | {command}"))
    if not lines:
        raise CorpusError(name, "it is empty", f"{command} {shlex.quote(example)}")
    text = b"\n".join(line.removesuffix(b"\r") for line in lines)
    return decode_line(text.removeprefix(BYTE_ORDER_MARK))[0]


def piped_text(*, quiet: bool) -> str:
    """The text of standard input if that is a file or a pipe, without the newline at its end; else an empty text.

    A pipe that stays open and empty for PATIENCE seconds is left alone, and a note says so. Raises CorpusError for a
    text that is too long.
    """
    source = optional_input()
    if source is not None and not comes(source, SILENCE):
        output.note(f'note: waiting {PATIENCE:g} s for a text on standard input; --seed "" is for none', quiet=quiet)
        if not comes(source, PATIENCE - SILENCE):
            output.note("note: no text came on standard input, and none is continued", quiet=quiet)
            source = None
    too_long = CorpusError("stdin", f"it has {TOO_MUCH} to be continued", "tail -c 10000 FILE | nlpseq generate")
    lines = _gathered(() if source is None else read_batches(source, stops=True), too_long)
    text, status = decode_line(b"\n".join(lines).removeprefix(BYTE_ORDER_MARK))
    if status == INVALID:
        output.note("note: the text was not UTF-8, and read byte by byte", quiet=quiet)
    return text


def _gathered(batches: Iterable[list[bytes]], too_long: CorpusError) -> list[bytes]:
    """All lines; raises `too_long` if the text of them is longer than a line may be."""
    lines: list[bytes] = []
    size = 0
    for batch in batches:
        lines += batch
        size += sum(map(len, batch)) + len(batch)
        if size > LONGEST_LINE:
            raise too_long
    return lines


def _standard_lines(longest: int, noun: str, *, quiet: bool) -> Iterator[list[bytes]]:
    """The lines of standard input; on a terminal a note says first what to type."""
    note_typing(noun, quiet=quiet)
    yield from read_batches(standard_input(), longest=longest, pauses=True)


def note_typing(noun: str, *, quiet: bool) -> None:
    """A note that says to type `noun` and how to end, if standard input is a terminal."""
    if is_terminal():
        ending = "Ctrl-Z and Enter end" if os.name == "nt" else "Ctrl-D ends"
        output.note(f"note: type {noun} and press Enter; {ending}", quiet=quiet)


def note_training_input(task: Task, names: Sequence[str], *, is_bundled: bool, quiet: bool) -> None:
    """Before training on the corpora `names`, or on the bundled one: what becomes of standard input.

    A note says what to type, or that a text waits and is not read. Raises CorpusError if standard input is a corpus and
    the task cannot read it.
    """
    reads = f"nlpseq train {task.command}"
    if STANDARD_INPUT in names and task is not LANGUAGE_MODEL:
        hint = f"COMMAND > table.tsv && {reads} table.tsv"
        raise CorpusError(STANDARD_INPUT, FOR_LANGUAGE_MODELS, hint)
    note_typed_corpus(names, quiet=quiet)
    if is_bundled:
        note_unread(f"{reads} - reads it" if task is LANGUAGE_MODEL else f"{reads} FILE.tsv reads a table", quiet=quiet)


def note_unread(remedy: str, *, quiet: bool) -> None:
    """Say that a text waits on standard input and is not read, and which command reads it."""
    if has_unread():
        output.note(f"note: standard input is not read: {remedy}", quiet=quiet)


def note_typed_corpus(names: Iterable[str] | None, *, quiet: bool) -> None:
    """As `note_typing`, if one of these corpora is standard input."""
    if STANDARD_INPUT in (names or ()):
        note_typing("the text", quiet=quiet)


def _lines_of(texts: Sequence[str], longest: int) -> Iterator[list[bytes]]:
    """The lines of texts, at least one of each, as a single batch."""
    data = (to_utf8(text) for text in texts)
    yield [line for text in data for line in next(cut_lines([text.removesuffix(b"\n") + b"\n"], longest))]
