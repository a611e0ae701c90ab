"""Tables whose cells are separated by tabs or commas: .tsv and .csv.

A .csv is quoted as in spreadsheets. Its delimiter is the comma, unless `sep=;` in the first line or the cells
themselves show that it is a semicolon or a tab. A .tsv has plain cells, unless it is quoted as by pandas, R and Excel;
then its quotation marks do not belong to the texts. Delimiter and quoting are decided once for each file, and its notes
name them.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice

from nlpseq.errors import CorpusError
from nlpseq.text.readers.table import Notes, Row, Rows, TableFormat, table_lines

LONGEST_CELL = 2**31 - 1  # characters; Python's csv refuses more than 131,072 unless told otherwise
MOST_CELL_LINES = 100  # lines of a quoted cell at the end of a sample
SAMPLE = 1000  # lines that decide the delimiter and whether cells are quoted
DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs"}

_CELL = re.compile(r'(?:"([^"]*(?:""[^"]*)*)"|([^"\t\n]*))([\t\n]|$)')
_DOUBLED = re.compile(r'(?:^|\t)"[^\t]*""[^\t]*"(?:\t|$)')
_NUMBER = re.compile(r"[-+]?[\d.,]*(?:[eE][-+]?\d+)?|NA|NaN|TRUE|FALSE")


def tsv_rows(name: str, lines: Iterable[str], notes: Notes) -> Rows:
    """The rows of lines whose cells are separated by tabs."""
    lines = iter(lines)
    for number, line in enumerate(lines, 1):
        if '"' in line:
            sample = [line, *islice(lines, SAMPLE - 1)]
            rest = chain(sample, lines)
            if is_quoted(sample, whole=number == 1):
                notes.append("its cells are quoted as in CSV: the quotation marks do not belong to the texts")
                yield from _quoted_rows(name, rest, "\t", number)
            else:
                yield from _plain_rows(name, rest, number, notes)
            return
        yield _plain_row(name, number, line)


def _plain_row(name: str, number: int, line: str) -> Row:
    return Row(f"{name}:{number}", line.split("\t") if line else ())


def _plain_rows(name: str, lines: Iterable[str], start: int, notes: Notes) -> Rows:
    doubled, first = 0, 0
    for number, line in enumerate(lines, start):
        if '"' in line and _DOUBLED.search(line):
            doubled, first = doubled + 1, first or number
        yield _plain_row(name, number, line)
    if doubled:
        rows = "1 row has" if doubled == 1 else f"{doubled:,} rows have"
        what = f'{rows} cells in quotation marks with "" inside, which stay in the texts; the first is line {first:,}'
        notes.append(what)


def is_quoted(lines: Sequence[str], *, whole: bool) -> bool:
    """Whether lines of cells between tabs are quoted as in CSV; with `whole` they are the start of their file.

    They are quoted if two conditions hold. Every cell with a quotation mark is quoted as a whole. And either some cell
    needs the quoting, because it has a quotation mark, a tab or a line end inside, or all cells but numbers are quoted.
    So direct speech in quotation marks is text.
    """
    text = "\n".join(lines) + "\n"
    widths: set[int] = set()
    quoted: list[str] = []
    bare: list[str] = []
    width, position = 0, 0
    while position < len(text):
        cell = _CELL.match(text, position)
        if cell is None:
            if len(lines) < SAMPLE or text[position] != '"' or text.count("\n", position) > MOST_CELL_LINES:
                return False
            break  # the sample ends inside a cell
        (bare if cell[1] is None else quoted).append(cell[2] if cell[1] is None else cell[1])
        width, position = width + 1, cell.end()
        if cell[3] == "\n":
            if width > 1 or cell[2] != "":
                widths.add(width)  # a blank row does not count
            width = 0
    if len(widths) != 1 or widths == {1}:
        return False
    needed = any('""' in cell or "\t" in cell or "\n" in cell for cell in quoted)
    only_if_needed = needed and all(re.search('["\t\n,]', cell) for cell in quoted)
    if only_if_needed and not (any("," in cell for cell in bare) and any(_has_only_commas(cell) for cell in quoted)):
        return True
    return whole and len(quoted) > max(widths) and all(_NUMBER.fullmatch(cell) for cell in bare)


def _has_only_commas(cell: str) -> bool:
    return not re.search('["\t\n]', cell)


def csv_rows(name: str, lines: Iterable[str], notes: Notes) -> Rows:
    """The rows of lines of CSV."""
    lines = iter(lines)
    sample = list(islice(lines, SAMPLE))
    delimiter, start = _delimiter(sample), 2 if _names_delimiter(sample) else 1
    if delimiter != ",":
        notes.append(f"its cells are separated by {DELIMITERS.get(delimiter, repr(delimiter))}")
    return _quoted_rows(name, chain(sample[start - 1 :], lines), delimiter, start)


def _names_delimiter(lines: Sequence[str]) -> bool:
    """Whether the first line names the delimiter as in Excel: `sep=;`."""
    return bool(lines) and lines[0].lower().startswith("sep=") and len(lines[0]) == 5


def _delimiter(lines: Sequence[str]) -> str:
    """The delimiter that the first line names, else the first that cuts all lines into the same number of cells.

    That number must be two or more. If no delimiter does, it is the comma.
    """
    if _names_delimiter(lines):
        return lines[0][4]
    for delimiter in DELIMITERS:
        widths = set()
        try:
            for row in _csv_reader(lines, delimiter):
                if any(cell.strip() for cell in row):
                    widths.add(len(row))
        except csv.Error:
            if len(lines) < SAMPLE:
                continue  # the file ends inside a cell
        if len(widths) == 1 and widths != {1}:
            return delimiter
    return ","


def _csv_reader(lines: Iterable[str], delimiter: str) -> Iterator[list[str]]:
    if csv.field_size_limit() < LONGEST_CELL:
        csv.field_size_limit(LONGEST_CELL)
    return csv.reader((line.replace("\r", " ") + "\n" for line in lines), delimiter=delimiter, strict=True)


def _quoted_rows(name: str, lines: Iterable[str], delimiter: str, start: int) -> Rows:
    """Rows of quoted cells; the first is in line `start`. Raises CorpusError for lines that are not CSV."""
    count = 0

    def counted() -> Iterator[str]:
        nonlocal count
        for line in lines:
            count += 1
            yield line

    first = start
    try:
        for row in _csv_reader(counted(), delimiter):
            yield Row(f"{name}:{first}", row)
            first = start + count
    except csv.Error as error:
        hint = 'write a quotation mark inside a text twice: ""'
        raise CorpusError(f"{name}:{first}", f"it is not CSV: {error}", hint) from None


def _read_tsv(name: str, notes: Notes) -> Rows:
    return tsv_rows(name, table_lines(name), notes)


def _read_csv(name: str, notes: Notes) -> Rows:
    return csv_rows(name, table_lines(name), notes)


TSV = TableFormat((".tsv", ".tab"), _read_tsv, is_text=True, remedy="a text must not have a tab in it")
CSV = TableFormat(
    (".csv",), _read_csv, is_text=True, remedy="put a text with a comma or semicolon in it between quotation marks"
)
