"""Tables of pairs: one file, or one data set, that holds sources and targets.

    .tsv           the first two columns, or those that a header names; `source` and `target` are known as one
    .csv           the same, in any order
    .jsonl         objects with `source` and `target`, or other keys
    .parquet       rows with such columns
    hf:NAME        rows of a hub data set; `translation`, an object of two languages, serves too
    .po            a gettext catalogue: messages and their translations, but for fuzzy and obsolete ones
    .tmx           a translation memory: the first two variants of each unit, or two languages, without their markup

Which is source and which is target can be said with two names: of columns, of keys, of languages. What a table holds
besides is not looked at. A line end inside a text becomes a space, for a text is a line everywhere else.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import ParseError, XMLPullParser

from nlpseq.errors import CorpusError
from nlpseq.text.bundled import BUNDLED
from nlpseq.text.formats import HUB, hub_rows, parquet_rows, read_text, split_lines

Pair = tuple[str, str]
Columns = tuple[str, str]  # names of source and target
Row = Mapping[str, Any]
Reader = Callable[[str, Columns | None], Iterator[Pair]]

USUAL: Columns = ("source", "target")
BOTH = "translation"  # the hub's name for an object of languages
LANGUAGE = "{http://www.w3.org/XML/1998/namespace}lang"


def read_table(name: str, columns: Columns | None = None) -> Iterator[Pair]:
    """The pairs of a file, of a bundled corpus or of `hf:NAME[:CONFIG]`; those with a blank side too.

    Raises CorpusError for what cannot be read, is no table, or lacks the columns.
    """
    if name.startswith(HUB) and not Path(name).exists():
        return _pairs_of_rows(name, hub_rows(name), columns)
    if not Path(name).is_file() and name in BUNDLED:
        return _pairs_of_lines(name, split_lines(BUNDLED[name].read()), columns)
    stem = name.removesuffix(".gz").removesuffix(".xz")
    read = TABLES.get(Path(stem).suffix)
    if read is None:
        known = ", ".join(TABLES)
        raise CorpusError(
            name,
            f"parallel text comes in {known}, from {HUB}NAME, or in two files",
            "--source FILE --target FILE, a text each",
        )
    return read(name, columns)


def is_table(name: str) -> bool:
    """Whether a name is that of a table of pairs, by its suffix or because it is bundled or the hub's."""
    stem = name.removesuffix(".gz").removesuffix(".xz")
    return Path(stem).suffix in TABLES or name.startswith(HUB) or (name in BUNDLED and not Path(name).exists())


def _lines(name: str) -> Iterator[str]:
    return split_lines(read_text(name))


def _read_tsv(name: str, columns: Columns | None) -> Iterator[Pair]:
    return _pairs_of_lines(name, _lines(name), columns)


def _pairs_of_lines(name: str, lines: Iterator[str], columns: Columns | None) -> Iterator[Pair]:
    places = (0, 1)
    for number, line in enumerate(lines, 1):
        row = line.split("\t")
        if number == 1 and columns is not None:
            places = _places(f"{name}:1", row, columns)
        elif number == 1 and tuple(row[:2]) == USUAL:
            continue
        elif len(row) > max(places):
            yield row[places[0]], row[places[1]]
        elif not line.strip():
            yield "", ""
        else:
            what = "has no tab" if len(row) == 1 else f"has {len(row)} columns"
            raise CorpusError(f"{name}:{number}", f"it must have a source, a tab and a target, and {what}")


def _places(where: str, header: list[str], columns: Columns) -> tuple[int, int]:
    if missing := [one for one in columns if one not in header]:
        what = f"its header has no column `{missing[0]}`, only {', '.join(header)[:200]}"
        raise CorpusError(where, what, "leave out --columns, if there is no header")
    return header.index(columns[0]), header.index(columns[1])


def _read_csv(name: str, columns: Columns | None) -> Iterator[Pair]:
    rows = csv.reader((line + "\n" for line in _lines(name)), strict=True)
    places = (0, 1)
    try:
        for number, row in enumerate(rows):
            if number == 0 and (columns is not None or set(USUAL) <= set(row)):
                places = _places(f"{name}:1", row, columns or USUAL)
            elif not row:
                yield "", ""
            elif len(row) <= max(places):
                what = f"it must have {max(places) + 1} columns, has {len(row)}"
                raise CorpusError(f"{name}:{rows.line_num}", what)
            else:
                yield _one_line(row[places[0]]), _one_line(row[places[1]])
    except csv.Error as error:
        raise CorpusError(f"{name}:{rows.line_num}", f"it is no CSV: {error}") from None


def _read_jsonl(name: str, columns: Columns | None) -> Iterator[Pair]:
    for number, line in enumerate(_lines(name), 1):
        where = f"{name}:{number}"
        if not line.strip():
            yield "", ""
            continue
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise CorpusError(where, f"it is no JSON: {error}") from None
        if not isinstance(value, dict):
            raise CorpusError(where, "it must be an object with strings under `source` and `target`")
        yield _pair(where, value, columns)


def _read_parquet(name: str, columns: Columns | None) -> Iterator[Pair]:
    return _pairs_of_rows(name, parquet_rows(name), columns)


def _pairs_of_rows(name: str, rows: Iterator[Row], columns: Columns | None) -> Iterator[Pair]:
    return (_pair(f"{name}:{number}", row, columns) for number, row in enumerate(rows, 1))


def _pair(where: str, row: Row, columns: Columns | None) -> Pair:
    """A row's source and target; null is blank."""
    inner = row.get(BOTH)
    languages: Row = inner if isinstance(inner, Mapping) else {}
    texts = [one for one, value in row.items() if isinstance(value, str)]
    if columns is None and len(texts) == len(row) == 2 and set(row) != set(USUAL):
        columns = (texts[0], texts[1])
    elif columns is None:
        columns = (*languages,)[:2] if len(languages) >= 2 and not set(USUAL) <= set(row) else USUAL  # type: ignore[assignment]
    found = []
    for column in columns or ():
        if column not in row and column not in languages:
            there = [one for one in row if one != BOTH] + list(languages)
            named = [one for one in (*texts, *languages) if one != "id"]
            hint = f"--columns {','.join(named[:2])}" if len(named) > 1 else ""
            raise CorpusError(where, f"it has no column `{column}`, only {', '.join(there)[:200] or 'none'}", hint)
        value = row[column] if column in row else languages[column]
        if value is not None and not isinstance(value, str):
            raise CorpusError(where, f"its column `{column}` holds {type(value).__name__}, not text")
        found.append(_one_line(value or ""))
    return found[0], found[1]


def _one_line(text: str) -> str:
    return text.replace("\n", " ")


class _Text(str):
    """Text whose lines end at newlines only, for a library that would end them at U+2028 and others, too."""

    def splitlines(self, keepends: bool = False) -> list[str]:
        return [line + "\n" * keepends for line in self.split("\n")]


def _read_po(name: str, columns: Columns | None) -> Iterator[Pair]:
    import polib

    if columns is not None:
        raise CorpusError(name, "a PO file has no columns to choose from", "leave out --columns")
    try:
        catalogue = polib.pofile(_Text("".join(line + "\n" for line in _lines(name))))
    except (OSError, ValueError) as error:
        raise CorpusError(name, f"it is no PO file: {error}") from None
    for entry in catalogue:
        if entry.obsolete or entry.fuzzy:
            continue
        yield _one_line(entry.msgid), _one_line(entry.msgstr or entry.msgstr_plural.get(0, ""))
        if entry.msgid_plural:
            yield _one_line(entry.msgid_plural), _one_line(entry.msgstr_plural.get(1, ""))


def _read_tmx(name: str, columns: Columns | None) -> Iterator[Pair]:
    parser: XMLPullParser[Any] = XMLPullParser(["end"])
    seen: set[str] = set()
    matched = False
    try:
        for line in _lines(name):
            parser.feed(line + "\n")
            for event in parser.read_events():
                element: Any = event[-1]
                if element.tag != "tu":
                    continue
                variants = [
                    (_language(one), segment) for one in element.iterfind("tuv") for segment in one.iterfind("seg")
                ]
                seen.update(language for language, _ in variants)
                texts = ["".join(segment.itertext()) for language, segment in variants if columns is None]
                if columns is not None:
                    texts = [_variant(variants, one) for one in columns]
                    matched |= any(texts)
                source, target, *_ = [*texts, "", ""]
                yield _one_line(source), _one_line(target)
                element.clear()
        parser.close()
    except ParseError as error:
        raise CorpusError(name, f"it is no TMX: {error}") from None
    if columns is not None and not matched:
        languages = sorted(seen - {""})
        what = f"it has no text in {' or '.join(columns)}, only in {', '.join(languages) or 'languages without a name'}"
        raise CorpusError(name, what, f"--columns {','.join(languages[:2])}" if len(languages) > 1 else "")


def _language(variant: Any) -> str:
    return str(variant.get(LANGUAGE) or variant.get("lang") or "").lower()


def _variant(variants: list[tuple[str, Any]], wanted: str) -> str:
    """The text in a language, `de` standing for `de-AT` too; of several the first."""
    for language, segment in variants:
        if language == wanted.lower() or language.split("-")[0] == wanted.lower():
            return "".join(segment.itertext())
    return ""


TABLES: dict[str, Reader] = {
    ".tsv": _read_tsv,
    ".csv": _read_csv,
    ".jsonl": _read_jsonl,
    ".parquet": _read_parquet,
    ".po": _read_po,
    ".tmx": _read_tmx,
}
