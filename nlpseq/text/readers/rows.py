"""A file, a folder, a bundled corpus or a hub data set as rows.

    .tsv           cells between tabs, plain or quoted
    .csv           cells between commas, semicolons or tabs, quoted as in spreadsheets
    .jsonl         objects, one in each line
    .parquet       rows of named columns
    .po            gettext messages and their translations
    .tmx           translation memories: a text for each language
    hf:NAME        rows of a hub data set
    a folder       a folder for each label, which holds a file for each text
    other files    `__label__good and the text`, as for fastText, or cells between tabs

The capitalisation of suffixes does not matter. A compressed file is read as the file inside.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from itertools import chain, islice

from nlpseq.errors import CorpusError
from nlpseq.paths import exists, is_file, is_folder
from nlpseq.text.beginnings import beginning, whole_name
from nlpseq.text.bundled import BUNDLED
from nlpseq.text.compression import format_suffix, new_name, shell_input
from nlpseq.text.display import quoted
from nlpseq.text.formats import document_noun, need_path, split_lines
from nlpseq.text.hub import HUB, hub_rows
from nlpseq.text.readers import FORMATS
from nlpseq.text.readers.delimited import TSV, tsv_rows
from nlpseq.text.readers.fasttext import PREFIX, fasttext_rows, folder_rows
from nlpseq.text.readers.json_lines import object_rows
from nlpseq.text.readers.table import Rows, Table, table_lines

PEEKED = 100  # lines that tell if a text file has labels
TEXT_OF = "nlpseq corpus show"  # the command that writes the text of a corpus

_MARKUP = re.compile(r"\s*<(\?xml|!doctype|srcset|refset|tstset|mteval|html|tmx|xliff|dataset)\b", re.IGNORECASE)
_SEGMENTS = r"""sed -n 's/.*<seg[^>]*>\(.*\)<\/seg>.*/\1/p'"""
_UNESCAPED = 'python -c "import html, sys; sys.stdout.writelines(map(html.unescape, sys.stdin))"'


def open_table(name: str, advice: str = "", *, labels: bool = False) -> Table:
    """The rows of a table, by its name; `advice` is the hint if it is a text and not a table.

    `labels` says whether the rows should have labels: an error then names the other form of a line with one.

    Raises CorpusError, at once or while reading, if it does not exist, cannot be read or is not a table.
    """
    if not name:
        raise CorpusError("corpus", "its name is empty", "name a file, a folder, or one of nlpseq corpus list")
    (name, limit), notes = beginning(name), list[str]()
    if is_folder(name):
        return Table(name, folder_rows(name), notes=notes, limit=limit)
    if name.startswith(HUB) and not exists(name):
        return Table(name, object_rows(name, hub_rows(name, limit)), notes=notes)
    if name in BUNDLED and not is_file(name):
        return Table(name, tsv_rows(name, split_lines(BUNDLED[name].read()), notes), notes=notes, limit=limit)
    table_format = FORMATS.get(format_suffix(name))
    if table_format is None:
        need_path(name)
        refuse_document(name, "a table", advice)
        return Table(name, _other_rows(name, notes, advice, labels=labels), notes=notes, remedy=TSV.remedy, limit=limit)
    return Table(name, table_format.read(name, notes), table_format.languages, notes, table_format.remedy, limit)


def is_table(name: str) -> bool:
    """Whether a name is that of a table: by its suffix, or because it is bundled or on the hub."""
    name = whole_name(name)
    bundled = name in BUNDLED and not exists(name)
    return format_suffix(name) in FORMATS or name.startswith(HUB) or bundled


def _other_rows(name: str, notes: list[str], advice: str, *, labels: bool) -> Rows:
    """The rows of a text file with another suffix. Raises CorpusError if its first lines are not those of a table."""
    lines = text_lines(name)
    first_lines = list(islice(lines, PEEKED))
    whole, found = chain(first_lines, lines), separator(first_lines)
    if found == "\t":
        notes.append("it is read as a .tsv, because its first line has tabs")
        yield from tsv_rows(name, whole, notes)
    elif found:
        yield from fasttext_rows(name, whole)
    else:
        first = next(iter(first_lines), "")
        missing = f"no tab and no `{PREFIX}`" if labels else "no tab"
        what = f"it is not a table: its first line has {missing}: {quoted(first[:30])}"
        raise CorpusError(f"{name}:1", what, advice)


def separator(first_lines: Sequence[str]) -> str:
    """What tells labels and texts apart in a file that starts with these lines: a tab, PREFIX, or nothing in a text."""
    first = next(iter(first_lines), "")
    if "\t" in first and PREFIX not in first:
        return "\t"
    return PREFIX if any(PREFIX in line for line in first_lines) else ""


def text_lines(name: str) -> Iterator[str]:
    """The lines of a text file. Raises CorpusError as `table_lines`, for documents, and for markup as WMT's SGML."""
    name, limit = beginning(name)
    refuse_document(name, "one text in each line", f"{TEXT_OF} {shlex.quote(name)} > {new_name(name, '.txt')}")
    for number, line in enumerate(islice(table_lines(name), limit), 1):
        if number == 1:
            refuse_markup(name, line)
        yield line


def refuse_document(name: str, wanted: str, advice: str) -> None:
    """Raises CorpusError for a web page, a book, a Word document or a zip archive, which only language models read."""
    noun = document_noun(name)
    if noun is not None:
        raise CorpusError(name, f"it is {noun}, not {wanted}", advice)


def refuse_markup(name: str, first: str) -> None:
    """Raises CorpusError if the first line of a file is markup."""
    match = _MARKUP.match(first)
    if match:
        hint = "convert it to text first, one text in each line"
        if match[1].lower() in ("srcset", "refset", "tstset", "mteval", "!doctype"):
            hint = f"{shell_input(name, _SEGMENTS)} | {_UNESCAPED} > {new_name(name, '.txt')}"
        raise CorpusError(f"{name}:1", f"it is markup, not one text in each line: {quoted(first.strip()[:40])}", hint)
