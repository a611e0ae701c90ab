"""The layout of help: the options that most people set on a screen and a half, and every option with --help-all.

A help text of at most LINES lines at 80 columns is shown whole. No line is wider than the terminal. A long flag has its
text below it, and a flag with many choices names them in its text, so that neither narrows the text of other flags.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from shutil import get_terminal_size
from typing import Any, NamedTuple

from nlpseq.commands import output
from nlpseq.commands.settings.variables import with_variable

LINES = 36  # a screen and a half of 24 lines
SCREEN = 80  # characters: the width at which lines are counted
WIDEST = 100  # characters: longer lines are hard to read
LEFT = 24  # characters: a longer spelling has its text below it
NARROW = 60  # characters: on a narrower terminal every text is below its flag
HELP_ALL = "help_all"  # the name of the parameter --help-all
UNCUT = 10_000  # characters: no sentence is that long

RANGE = re.compile(r"\s*\[x>=\d+\]|; x>=\d+(?=\])")  # Typer's own words for a least value
OPEN_DEFAULT = re.compile(r" \[default: by [^]]*\]$")  # a default without a value, which a short help leaves out
OWN_COLUMN = ("Arguments", "Commands")  # the sections whose texts are not in line with those of the flags
FIRST = ("Arguments", "Options")  # the sections that precede the others

Row = tuple[str, str]


class Entry(NamedTuple):
    """An option or argument on a help page: its section, how it is spelled, what it does, and its name."""

    heading: str
    spelling: str
    text: str
    name: str


def page(command: Any, context: Any, *, everything: bool) -> str:
    """The help of a command or group for this terminal; with `everything` every option of a long one."""
    width = max(min(get_terminal_size().columns, WIDEST), 1)
    shown = entries(command, context)
    fits = is_whole(command, context)
    short = not (fits or everything)
    if fits:
        shown = [entry for entry in shown if entry.name != HELP_ALL]
    if short:
        usual = [entry for entry in shown if entry.name in command.usual]
        shown = [entry._replace(text=OPEN_DEFAULT.sub("", entry.text)) for entry in usual]
    if everything:
        shown = [entry._replace(text=with_variable(entry.text, entry.name)) for entry in shown]
    return "\n".join(_lines(command, context, shown, width, short=short))


def is_whole(command: Any, context: Any) -> bool:
    """Whether --help shows every option, so that --help-all shows no more."""
    lines = _lines(command, context, entries(command, context), SCREEN, short=False)
    return len(list(lines)) <= LINES


def entries(command: Any, context: Any) -> list[Entry]:
    """The options and arguments of a command, section by section, without those that are hidden."""
    found = [entry for parameter in command.get_params(context) if (entry := _entry(parameter, context))]
    headings = dict.fromkeys([*FIRST, *(entry.heading for entry in found)])
    return [entry for heading in headings for entry in found if entry.heading == heading]


def _entry(parameter: Any, context: Any) -> Entry | None:
    record = parameter.get_help_record(context)
    if record is None:
        return None
    panel = getattr(parameter, "rich_help_panel", None)
    if parameter.param_type_name == "argument":
        return Entry(panel or "Arguments", parameter.metavar, parameter.help or "", parameter.name)
    text = RANGE.sub("", " ".join((record[1] or "").replace("\\[", "[").split()))  # older versions escape the bracket
    spelling, choices = _spelling(parameter, record[0])
    if choices:
        sentence, bracket, default = text.partition(" [default")
        start = f"{sentence} One" if re.search("[:;.].", sentence) else f"{sentence.removesuffix('.')}: one"
        text = f"{start} of {', '.join(choices)}.{bracket}{default}"
    return Entry(panel or "Options", spelling, text, parameter.name)


def _spelling(parameter: Any, typers: str) -> tuple[str, tuple[str, ...]]:
    """How an option is spelled, and the choices that are too long for its spelling; `typers` is Typer's spelling."""
    flags = ", ".join(sorted(parameter.opts, key=len))
    if parameter.secondary_opts:
        return flags.replace("--", "--[no-]"), ()
    if parameter.is_flag:
        return flags, ()
    choices = choices_of(parameter)
    if parameter.metavar or not choices:
        return f"{flags} {parameter.metavar or typers.rpartition(' ')[2]}", choices
    inline = f"{flags} <{'|'.join(choices)}>"
    return (inline, ()) if len(inline) <= LEFT else (f"{flags} KIND", choices)


def choices_of(parameter: Any) -> tuple[str, ...]:
    """The words that an option allows; empty if it allows others."""
    kind = getattr(parameter, "type_descriptor", None) or getattr(parameter, "type", None)
    return tuple(getattr(kind, "choices", None) or ())


def _lines(command: Any, context: Any, shown: Iterable[Entry], width: int, *, short: bool) -> Iterator[str]:
    usage = f"Usage: {context.command_path} "
    pieces = " ".join(command.collect_usage_pieces(context))
    yield from _wrapped(pieces, width, usage, " " * min(len(usage), width // 3))
    yield from _description(command.help or "", width, short=short)
    sections: dict[str, list[Row]] = {}
    for entry in shown:
        sections.setdefault(entry.heading, []).append((entry.spelling, entry.text))
    if hasattr(command, "command_rows"):
        sections["Commands"] = command.command_rows(context)
    flags = _column([row for heading, rows in sections.items() if heading not in OWN_COLUMN for row in rows])
    for heading, rows in sections.items():
        column = _column(rows) if heading in OWN_COLUMN else flags
        yield from ("", output.heading(f"{heading}:"))
        for row in rows:
            yield from _row(row, column, width)
    if short:
        yield ""
        yield from _wrapped(f"{context.command_path} --help-all shows the other options.", width, "  ", "  ")


def _description(help: str, width: int, *, short: bool) -> Iterator[str]:
    """A command's help: its paragraphs and its examples; a short one leaves out the later paragraphs."""
    paragraphs = [paragraph.replace("\b", "").strip("\n") for paragraph in help.split("\n\n")]
    examples = [paragraph for paragraph in paragraphs if paragraph.startswith("  ")]
    for paragraph in [*paragraphs[:1], *examples] if short else paragraphs:
        yield ""
        if paragraph in examples:
            for line in paragraph.split("\n"):
                yield from _example(line.strip(), width)
        else:
            yield from _wrapped(" ".join(paragraph.split()), width, "  ", "  ")


def _example(line: str, width: int) -> Iterator[str]:
    """A command to type; a long one goes on after a backslash."""
    *first, last = _wrapped(line, width - 2, "    ", "      ")
    yield from (f"{part} \\" for part in first)
    yield last


def _column(rows: Sequence[Row]) -> int:
    """The width of the left column: that of the longest spelling that has its text beside it."""
    return max((len(spelling) for spelling, _ in rows if len(spelling) <= LEFT), default=0)


def _row(row: Row, column: int, width: int) -> Iterable[str]:
    spelling, text = row
    if width < NARROW:
        return [f"  {spelling}", *_wrapped(text, width, " " * 6, " " * 6)]
    indent = " " * (column + 4)
    if len(spelling) > column:
        return [f"  {spelling}", *_wrapped(text, width, indent, indent)]
    return _wrapped(text, width, f"  {spelling:<{column}}  ", indent) or [f"  {spelling}"]


def _wrapped(text: str, width: int, first: str, rest: str) -> list[str]:
    return textwrap.wrap(text, width, initial_indent=first, subsequent_indent=rest, break_on_hyphens=False)
