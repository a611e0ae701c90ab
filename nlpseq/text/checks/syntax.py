"""What a language model would learn besides text: the syntax of tables, JSON or markup; and files that are left out."""

from __future__ import annotations

import shlex

from nlpseq.errors import CorpusError
from nlpseq.paths import is_file
from nlpseq.text.beginnings import whole_name
from nlpseq.text.bundled import BUNDLED
from nlpseq.text.collection import Kind
from nlpseq.text.compression import STANDARD_INPUT, format_suffix, new_name
from nlpseq.text.display import quoted
from nlpseq.text.formats import collection_files, document_noun, is_collection, open_corpus
from nlpseq.text.hub import HUB
from nlpseq.text.readers import FORMATS
from nlpseq.text.readers.rows import TEXT_OF, refuse_markup
from nlpseq.text.tables.text_column import likely_text_column

MARKUP = (".xml", ".rtf", ".svg", ".tex")
SHOWN = 3  # files that a note names
LEFT_OUT: dict[Kind, str] = {"hidden": "hidden", "other": "not text", "empty": "empty"}


def corpus_notes(name: str) -> list[str]:
    """What to know before a language model is trained on a corpus, each in one line; none for plain text.

    A note on a table has the command that trains on one column instead. Raises CorpusError if the corpus cannot be
    read.
    """
    notes = []
    if left_out := left_out_note(name):
        notes.append(left_out)
    if syntax := syntax_note(name):
        what, hint = syntax
        command = column_command(name)
        remedy = f"on its text alone: {command} | nlpseq train lm -" if command else f"as text: {hint}"
        notes.append(f"{what}; {remedy}" if command or hint else what)
    return [f"{name}: {note}" for note in notes]


def syntax_note(name: str) -> tuple[str, str] | None:
    """What a model would learn besides text, and a command that extracts the text; None for plain text.

    It depends on the suffix and the first line only. Raises CorpusError if the corpus cannot be read.
    """
    name = whole_name(name)
    if name == STANDARD_INPUT or name.startswith(HUB) or (name in BUNDLED and not is_file(name)):
        return None
    if is_collection(name):
        return _tables_inside(name)
    suffix = format_suffix(name)
    if suffix in FORMATS:
        what = f"its {suffix} syntax will be learned as text"
        command = column_command(name)
        return what, f"{command} > {new_name(name, '.txt')}" if command else ""
    if document_noun(name) is not None:
        return None
    first = next(open_corpus(name), "").partition("\n")[0]
    try:
        refuse_markup(name, first)
    except CorpusError as error:
        return f"its markup will be learned as text: {quoted(first.strip()[:40])}", error.hint
    return (f"its {suffix} markup will be learned as text", "") if suffix in MARKUP else None


def column_command(name: str) -> str:
    """A command that writes the column of a table that probably holds its texts; "" for other files."""
    name = whole_name(name)
    table_format = FORMATS.get(format_suffix(name))
    if table_format is None or table_format.languages or not is_file(name):
        return ""
    try:
        column = likely_text_column(name)
    except CorpusError:  # another check finds this fault
        return ""
    return f"{TEXT_OF} --text-column {shlex.quote(column)} {shlex.quote(name)}"


def left_out_note(name: str) -> str | None:
    """The number of files of a folder, a pattern or a zip archive that are left out; None if all are read."""
    if not is_collection(name):
        return None
    _, counts = collection_files(name)
    found = {word: count for kind, word in LEFT_OUT.items() if (count := counts[kind])}
    verb = "is" if sum(found.values()) == 1 else "are"
    kinds = ", ".join(f"{count:,} {word}" for word, count in found.items())
    return f"{sum(found.values()):,} of its {counts.total():,} files {verb} left out: {kinds}" if found else None


def _tables_inside(name: str) -> tuple[str, str] | None:
    tables = [file for file in collection_files(name)[0] if format_suffix(file) in (*FORMATS, *MARKUP)]
    if not tables:
        return None
    more = f" and {len(tables) - SHOWN:,} more" if len(tables) > SHOWN else ""
    files = "file" if len(tables) == 1 else "files"
    return f"the syntax of {len(tables):,} {files} will be learned as text: {', '.join(tables[:SHOWN])}{more}", ""
