"""Tables of labelled texts: one file, one folder or one data set that holds texts and a label for each.

    .tsv           columns between tabs, nothing quoted
    .csv           the same between commas, quoted as spreadsheets do
    .jsonl         objects; a label may be a number or true or false
    .parquet       rows with such columns
    hf:NAME        rows of a hub data set
    a folder       a folder in it for each label, a file in that for each text
    other files    fastText's lines: `__label__good and the text`

Which column is label and which is text can be said by name, or by number where there is no header. Else a header is
known by the names that such columns usually have; without one, of two columns the one with fewer different values is
the label. A guess that is wrong shows in the line that `train` writes about the labels. A line end inside a text
becomes a space, for a text is a line everywhere else.
"""

from __future__ import annotations

import csv
import json
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from itertools import chain, islice
from pathlib import Path
from typing import Any, NamedTuple

from nlpseq.errors import CorpusError
from nlpseq.text.bundled import BUNDLED
from nlpseq.text.formats import HUB, hub_rows, parquet_rows, read_text, split_lines

LABEL_NAMES = ("label", "labels", "class", "category", "sentiment", "polarity", "target", "stars", "rating", "score")
TEXT_NAMES = ("text", "sentence", "review", "content", "comment", "document", "tweet", "message", "body", "title")
PREFIX = "__label__"
LOOKED_AT = 1000  # rows, to tell the label's column from the text's


class Labelled(NamedTuple):
    """A text and its label, either of which may be blank, and where they stand."""

    label: str
    text: str
    where: str


class LabelColumns(NamedTuple):
    """The columns that a user names, or none."""

    label: str | None = None
    text: str | None = None


Rows = Iterator[tuple[str, list[str]]]  # where a row stands, and its cells
Reader = Callable[[str], Rows]


def read_labelled_table(name: str, columns: LabelColumns) -> Iterator[Labelled]:
    """The labelled texts of a file, a folder, a bundled corpus or `hf:NAME[:CONFIG]`; blank ones too.

    Raises CorpusError for what cannot be read, is no table, or lacks the columns.
    """
    if not name:
        raise CorpusError("corpus", "its name is empty", "name a file, a folder, or one of nlpseq corpus list")
    path = Path(name)
    if path.is_dir():
        return _read_folder(path, columns)
    if name.startswith(HUB) and not path.exists():
        return _from_objects(name, hub_rows(name), columns)
    if not path.is_file() and name in BUNDLED:
        return _from_cells(name, _split_rows(name, split_lines(BUNDLED[name].read())), columns)
    suffix = Path(name.removesuffix(".gz").removesuffix(".xz")).suffix
    if suffix in TABLES:
        return _from_cells(name, TABLES[suffix](name), columns)
    if suffix in OBJECTS:
        return _from_objects(name, OBJECTS[suffix](name), columns)
    return _read_prefixed(name, columns)


def _lines(name: str) -> Iterator[str]:
    return split_lines(read_text(name))


def _split_rows(name: str, lines: Iterator[str]) -> Rows:
    return ((f"{name}:{number}", line.split("\t")) for number, line in enumerate(lines, 1) if line.strip())


def _read_tsv(name: str) -> Rows:
    return _split_rows(name, _lines(name))


def _read_csv(name: str) -> Rows:
    rows = csv.reader((line + "\n" for line in _lines(name)), strict=True)
    begun = 1
    try:
        for row in rows:
            if any(cell.strip() for cell in row):
                yield f"{name}:{begun}", row
            begun = rows.line_num + 1
    except csv.Error as error:
        raise CorpusError(
            f"{name}:{begun}", f"it is no CSV: {error}", 'a quotation mark in a text is written twice: ""'
        ) from None


def _from_cells(name: str, rows: Rows, columns: LabelColumns) -> Iterator[Labelled]:
    """Labelled texts of rows of cells, with a header or without one."""
    first = list(islice(rows, LOOKED_AT))
    if not first:
        return
    label, text, header = _places(first, columns)
    width = len(first[0][1])
    for where, row in chain(first[header:], rows):
        if len(row) != width:
            line = where.rpartition(":")[2]
            hint = "a text with commas in it stands between quotes" if _is_csv(name) else f"sed -n {line}p {name}"
            raise CorpusError(where, f"it must have {width} columns, as the first row, has {len(row)}", hint)
        yield Labelled(row[label].strip(), _one_line(row[text]), where)


def _is_csv(name: str) -> bool:
    return name.removesuffix(".gz").removesuffix(".xz").endswith(".csv")


def _places(rows: Sequence[tuple[str, list[str]]], columns: LabelColumns) -> tuple[int, int, int]:
    """The places of label and text, and whether the first row is a header."""
    where, header = rows[0]
    if columns.label is not None or columns.text is not None:
        return _named_places(where, header, columns)
    lower = [cell.strip().lower() for cell in header]
    label, text = _known(lower, LABEL_NAMES), _known(lower, TEXT_NAMES)
    if len(header) < 2:
        hint = "put a tab for each semicolon, and name it .tsv" if ";" in header[0] else _PREFIX_HINT
        raise CorpusError(where, f"it must have a label and a text, has one column: {header[0][:40]!r}", hint)
    if (label is None) != (text is None) and len(header) == 2:
        label, text = (1 - text if label is None else label), (1 - label if text is None else text)  # type: ignore[operator]
    if label is None and text is None:
        label, text = _guessed(where, [row for _, row in rows], len(header))
        _refuse_header(where, [row for _, row in rows], label, text)
        return label, text, 0
    if label is None or text is None:
        missing = "label" if label is None else "text"
        what = f"no column of its header is known as the {missing}: {', '.join(header)[:200]}"
        usual = LABEL_NAMES if label is None else TEXT_NAMES
        raise CorpusError(where, what, f"--{missing}-column NAME; known are {', '.join(usual)}")
    return label, text, 1


_PREFIX_HINT = f"two columns, or `{PREFIX}good the text` in a file named .txt"


def _known(names: Sequence[str], usual: Sequence[str]) -> int | None:
    """The place of the first usual name; `text_a` counts as `text`."""
    for one in usual:
        for place, name in enumerate(names):
            if name == one or name == f"{one}_a":
                return place
    return None


def _guessed(where: str, rows: Sequence[Sequence[str]], width: int) -> tuple[int, int]:
    """Label and text of rows without a header: the column of fewest different values, and the longest one."""
    whole = [row for row in rows if len(row) >= width]
    different = [len({row[place] for row in whole}) for place in range(width)]
    lengths = [sum(len(row[place]) for row in whole) for place in range(width)]
    text = max(range(width), key=lambda place: lengths[place])
    label = min((place for place in range(width) if place != text), key=lambda place: different[place])
    if width > 2 or (different[label] == different[text] and len(whole) > 2):
        what = f"it has no header that is known, and which of its {width} columns is the label cannot be told"
        raise CorpusError(where, what, "--label-column 1 --text-column 2, by number or by the header's names")
    return label, text


def _refuse_header(where: str, rows: Sequence[Sequence[str]], label: int, text: int) -> None:
    """Raises CorpusError where the first of many rows has a label of its own, as a header of unknown names would."""
    given = [row[label].strip() for row in rows if len(row) > label]
    if len(given) >= 20 and given.count(given[0]) == 1 and 2 * len(set(given)) < len(given):
        names = [cell.strip()[:40] for cell in rows[0]]
        what = f"it looks like a header, of names that are not known: {', '.join(names)[:200]}"
        hint = f"--label-column {names[label]!r} --text-column {names[text]!r}; if it is none, by numbers: "
        raise CorpusError(where, what, f"{hint}--label-column {label + 1} --text-column {text + 1}")


def _named_places(where: str, header: Sequence[str], columns: LabelColumns) -> tuple[int, int, int]:
    """The columns that the user names, by the header or by numbers from 1."""
    names = [cell.strip() for cell in header]
    lower = [name.lower() for name in names]
    usual = {"label": LABEL_NAMES, "text": TEXT_NAMES}
    places: dict[str, int] = {}
    by_name = False
    for what, wanted in columns._asdict().items():
        if wanted is None:
            continue
        if wanted.isdecimal() and 1 <= int(wanted) <= len(names):
            places[what] = int(wanted) - 1
            by_name = by_name or _known(lower[int(wanted) - 1 : int(wanted)], usual[what]) is not None
        elif wanted in names:
            places[what], by_name = names.index(wanted), True
        else:
            there = ", ".join(names)[:200]
            raise CorpusError(where, f"it has no column `{wanted}`, only {there}", _column_hint(what, wanted, names))
    for what in ("label", "text"):
        if what not in places:
            (other,) = places.values()
            found = _known(lower, usual[what])
            by_name = by_name or found is not None
            places[what] = found if found is not None else 1 - other if len(names) == 2 else -1
        if places[what] < 0:
            raise CorpusError(where, f"which of its columns is the {what} is not said", f"--{what}-column NAME")
    if places["label"] == places["text"]:
        raise CorpusError(where, "label and text cannot be one column", "--label-column NAME --text-column NAME")
    return places["label"], places["text"], int(by_name)


def _column_hint(what: str, wanted: str | None, names: Sequence[str]) -> str:
    """The flag with the column whose name is nearest to what was wanted."""
    near = get_close_matches(wanted or what, names, 1, 0.3) or list(names[:1])
    return f"--{what}-column {shlex.quote(near[0]) if near else 'NAME'}"


def _read_jsonl(name: str) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(_lines(name), 1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise CorpusError(f"{name}:{number}", f"it is no JSON: {error}", f"sed -n {number}p {name}") from None
        if not isinstance(value, dict):
            raise CorpusError(f"{name}:{number}", "it must be an object with a label and a text")
        yield value


def _from_objects(name: str, rows: Iterator[Mapping[str, Any]], columns: LabelColumns) -> Iterator[Labelled]:
    """Labelled texts of objects; which of their keys are meant is decided by the first of them."""
    label = text = None
    for number, row in enumerate(rows, 1):
        where = f"{name}:{number}"
        if label is None or text is None:
            label, text = _keys(where, list(row), columns)
        for key in (label, text):
            if key not in row:
                there = ", ".join(map(str, row))[:200] or "nothing"
                raise CorpusError(
                    where, f"it has no `{key}`, only {there}", f"write null under `{key}` to leave it out"
                )
        yield Labelled(_spelled(where, label, row[label]), _one_line(_string(where, text, row[text])), where)


def _keys(where: str, names: Sequence[str], columns: LabelColumns) -> tuple[str, str]:
    lower = [name.lower() for name in names]
    found = []
    for what, wanted, usual in (("label", columns.label, LABEL_NAMES), ("text", columns.text, TEXT_NAMES)):
        place = _known(lower, usual) if wanted is None else names.index(wanted) if wanted in names else None
        if place is None:
            named = f"`{wanted}`" if wanted else f"that is known as the {what}"
            there = ", ".join(names)[:200] or "none"
            raise CorpusError(where, f"it has no column {named}, only {there}", _column_hint(what, wanted, names))
        found.append(names[place])
    return found[0], found[1]


def _spelled(where: str, key: str, value: Any) -> str:
    if isinstance(value, dict | list):
        hint = f"--label-column NAME, if `{key}` is not the label"
        raise CorpusError(where, f"its `{key}` must be one label, is {json.dumps(value, default=str)[:40]}", hint)
    return "" if value is None else value.strip() if isinstance(value, str) else json.dumps(value, default=str)


def _string(where: str, key: str, value: Any) -> str:
    if value is not None and not isinstance(value, str):
        raise CorpusError(where, f"its `{key}` must be a text, is {json.dumps(value, default=str)[:40]}")
    return value or ""


def _read_folder(folder: Path, columns: LabelColumns) -> Iterator[Labelled]:
    """A text from each file of each folder in `folder`, in the order of their names."""
    _refuse_columns(str(folder), columns)
    labels = sorted(one for one in folder.iterdir() if one.is_dir() and not one.name.startswith("."))
    if not labels:
        raise CorpusError(str(folder), "it must hold a folder for each label, holds none", f"{folder}/good/1.txt")
    for label in labels:
        for file in sorted(one for one in label.iterdir() if one.is_file() and not one.name.startswith(".")):
            text = "" if not file.stat().st_size else "".join(read_text(file))
            yield Labelled(label.name, _one_line(text.strip()), str(file))


def _read_prefixed(name: str, columns: LabelColumns) -> Iterator[Labelled]:
    """The texts of fastText's lines. Raises CorpusError for a line with no label, or with several."""
    _refuse_columns(name, columns)
    for number, line in enumerate(_lines(name), 1):
        where = f"{name}:{number}"
        if not line.strip():
            continue
        words = line.split(" ")
        labels = [word for word in words if word.startswith(PREFIX)]
        if not labels:
            what = f"it must begin with a label, as `{PREFIX}good`, begins with {line[:30]!r}"
            known = ", ".join([*TABLES, *OBJECTS])
            raise CorpusError(where, what, f"name a table {known}; or a folder for each label, or fastText's lines")
        if len(labels) > 1:
            raise CorpusError(where, f"it has {len(labels)} labels, a text has one", f"keep one of {' '.join(labels)}")
        text = " ".join(word for word in words if word is not labels[0])
        yield Labelled(labels[0].removeprefix(PREFIX), text, where)


def _refuse_columns(name: str, columns: LabelColumns) -> None:
    if columns != LabelColumns():
        flag = "--label-column" if columns.label is not None else "--text-column"
        raise CorpusError(name, f"it has no columns, and {flag} names one", f"leave out {flag}")


def _one_line(text: str) -> str:
    return text.replace("\n", " ")


TABLES: dict[str, Reader] = {".tsv": _read_tsv, ".csv": _read_csv}
OBJECTS: dict[str, Callable[[str], Iterator[Mapping[str, Any]]]] = {".jsonl": _read_jsonl, ".parquet": parquet_rows}
