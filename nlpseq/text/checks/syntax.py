"""The syntax of tables, JSON or markup, which a language model would learn as text."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from pathlib import Path

from nlpseq.errors import CorpusError
from nlpseq.text.bundled import BUNDLED
from nlpseq.text.compression import format_suffix, new_name, shell_input
from nlpseq.text.formats import open_corpus
from nlpseq.text.hub import HUB
from nlpseq.text.readers import FORMATS
from nlpseq.text.readers.rows import open_table, refuse_markup
from nlpseq.text.tables.headers import TEXT_NAMES, usual_index

LOOKED_AT = 50  # rows in which the column of texts is looked for


def syntax_note(name: str) -> tuple[str, str] | None:
    """What a model would learn besides text, and a command that extracts the text; None for plain text.

    It depends on the suffix and the first line only. Raises CorpusError if the corpus cannot be read.
    """
    if name.startswith(HUB) or (name in BUNDLED and not Path(name).is_file()):
        return None
    table_format = FORMATS.get(format_suffix(name))
    if table_format is not None:
        what = f"its {table_format.suffixes[0]} syntax will be learned as text"
        if table_format.text_command is None:
            return what, "" if table_format.languages else "write its texts to a file, one text in each line"
        command = table_format.text_command(name, *_text_column(name))
        return what, f"{shell_input(name, command)} > {new_name(name, '.txt')}"
    first = next(open_corpus(name), "").partition("\n")[0]
    try:
        refuse_markup(name, first)
    except CorpusError as error:
        return f"its markup will be learned as text: {first.strip()[:40]!r}", error.hint
    return None


def _text_column(name: str) -> tuple[str, int]:
    """The name and the number of the column with a usual name for text, else of that with the longest cells."""
    try:
        rows = [row.cells for row in islice(open_table(name).rows, LOOKED_AT) if row.cells]
    except CorpusError:  # another check finds this fault
        rows = []
    if not rows:
        return "text", 1
    names = list(map(str, rows[0]))
    index = usual_index(names, TEXT_NAMES)
    if index is None:
        cells = [list(row.values() if isinstance(row, Mapping) else row) for row in rows]
        lengths = [sum(len(str(row[column])) for row in cells if len(row) > column) for column in range(len(names))]
        index = lengths.index(max(lengths))
    return names[index], index + 1
