"""Texts without labels, one after the other, whatever they are in: lines of plain text, or the text column of a table.

A table's other columns are not read, so no label reaches the language model. A corpus of the labelled texts is read as
it is for the classifier, so that its texts for validation are recognised and left out.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import islice

from nlpseq.paths import is_file
from nlpseq.text.beginnings import whole_name
from nlpseq.text.bundled import BUNDLED
from nlpseq.text.compression import STANDARD_INPUT, format_suffix
from nlpseq.text.formats import document_noun, is_collection, open_corpus, split_lines
from nlpseq.text.hub import HUB
from nlpseq.text.readers import FORMATS
from nlpseq.text.readers.fasttext import PREFIX
from nlpseq.text.readers.rows import open_table
from nlpseq.text.tables.label_tables import read_labelled_table
from nlpseq.text.tables.purpose import find_column
from nlpseq.text.tables.text_column import column_text, likely_text_column
from nlpseq.training.requests import ClassifierRequest

LOOKED_AT = 20  # lines, which all have a tab if a text file is a table


def unlabelled_texts(request: ClassifierRequest, notes: list[str]) -> Iterator[str]:
    """The texts of the request's files without labels; `notes` gets a sentence for each table.

    Raises CorpusError if a file cannot be read.
    """
    labelled = {_place(name) for name in (*request.corpus, *request.valid)}
    for name in request.unlabelled:
        if _place(name) in labelled:
            notes.append(f"{name}: its labels are left out")
            rows, _ = read_labelled_table(name, request.columns)
            yield from (text for _, text, _ in rows)
        elif is_text_table(name):
            column = _column(name, request.text_column)
            notes.append(f"{name} is a table: the texts are those of its column {column}")
            yield from split_lines(column_text(name, column))
        else:
            yield from split_lines(open_corpus(name))


def is_text_table(name: str) -> bool:
    """Whether a corpus has its texts in a column, or after labels; not a data set of the hub, whose reader knows it.

    Raises CorpusError if it cannot be read.
    """
    whole = whole_name(name)
    if whole == STANDARD_INPUT or whole.startswith(HUB):
        return False
    if not is_file(whole):
        return whole in BUNDLED and BUNDLED[whole].kind != "text"
    if format_suffix(whole) in FORMATS:
        return True
    if is_collection(whole) or document_noun(whole) is not None:
        return False
    lines = [line for line in islice(split_lines(open_corpus(name)), LOOKED_AT) if line.strip()]
    return bool(lines) and (PREFIX in lines[0] or all("\t" in line for line in lines))


def _column(name: str, wanted: str | None) -> str:
    """The column of a table's texts: the one that was named for the labelled texts, if the table has it."""
    first = next(iter(open_table(name).rows), None)
    if first is not None and wanted is not None:
        cells = list(map(str, first.cells))
        if find_column(cells, wanted, numbers_first=not isinstance(first.cells, dict)) is not None:
            return wanted
    return likely_text_column(name)


def _place(name: str) -> str:
    """The same for all names of one file."""
    whole = whole_name(name)
    return os.path.realpath(whole) if os.path.exists(whole) else whole
