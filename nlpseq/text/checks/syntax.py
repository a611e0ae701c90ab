"""The syntax of tables, JSON or markup, which a language model would learn as text."""

from __future__ import annotations

import shlex
from pathlib import Path

from nlpseq.errors import CorpusError
from nlpseq.text.bundled import BUNDLED
from nlpseq.text.compression import format_suffix, new_name
from nlpseq.text.formats import open_corpus
from nlpseq.text.hub import HUB
from nlpseq.text.readers import FORMATS
from nlpseq.text.readers.rows import refuse_markup
from nlpseq.text.tables.text_column import likely_text_column


def syntax_note(name: str) -> tuple[str, str] | None:
    """What a model would learn besides text, and a command that extracts the text; None for plain text.

    It depends on the suffix and the first line only. Raises CorpusError if the corpus cannot be read.
    """
    if name.startswith(HUB) or (name in BUNDLED and not Path(name).is_file()):
        return None
    table_format = FORMATS.get(format_suffix(name))
    if table_format is not None:
        what = f"its {table_format.suffixes[0]} syntax will be learned as text"
        if table_format.languages:
            return what, ""
        try:
            column = likely_text_column(name)
        except CorpusError:  # another check finds this fault
            return what, ""
        command = f"nlpseq corpus show --text-column {shlex.quote(column)} {shlex.quote(name)}"
        return what, f"{command} > {new_name(name, '.txt')}"
    first = next(open_corpus(name), "").partition("\n")[0]
    try:
        refuse_markup(name, first)
    except CorpusError as error:
        return f"its markup will be learned as text: {first.strip()[:40]!r}", error.hint
    return None
