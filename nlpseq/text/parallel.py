"""Parallel text: pairs of a source and a target, from two files or from one table.

    two files      a line of each is a pair; only "\\n" ends a line
    .tsv           source and target are the first two columns
    .csv           the same, or the columns `source` and `target` of a header
    .jsonl         objects with `source` and `target`
    .po            a gettext catalogue: messages and their translations, but for fuzzy and obsolete ones
    .tmx           a translation memory: the first two variants of each unit, without their markup

Files of unequal length are refused: a line too many shifts all that follow, and a model learns nonsense from it without
a word of warning. A pair with a blank side is dropped as a pair, and counted. Pairs are held in memory, a few hundred
bytes each: ten million of them are a few gigabytes.
"""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, zip_longest
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import ParseError, XMLPullParser

from nlpseq.errors import CorpusError
from nlpseq.text.bundled import BUNDLED
from nlpseq.text.formats import read_text, split_lines

Pair = tuple[str, str]


@dataclass
class Pairs:
    """Sources and targets in step, without line ends, and how many pairs were dropped for a blank side."""

    sources: list[str] = field(default_factory=list)
    targets: list[str] = field(default_factory=list)
    blank: int = 0

    def __len__(self) -> int:
        return len(self.sources)

    @property
    def sha256(self) -> str:
        """A hash of all pairs."""
        digest = hashlib.sha256()
        for pair in zip(self.sources, self.targets, strict=True):
            digest.update("\t".join(pair).encode("utf-8", "surrogateescape") + b"\n")
        return digest.hexdigest()

    def part(self, start: int, stop: int) -> Pairs:
        """The pairs from `start` up to `stop`."""
        return Pairs(self.sources[start:stop], self.targets[start:stop])


def read_parallel(names: Sequence[str], *, two_files: bool, keep_blank: bool = False) -> Pairs:
    """All pairs of the tables `names`, or of a source's and a target's file, but for those with a blank side.

    Raises CorpusError for a file that cannot be read, is no table, or is out of step with its other half, and where no
    pair is left.
    """
    found = _two_files(*names) if two_files else chain.from_iterable(map(_table, names))
    pairs = Pairs()
    for source, target in found:
        if keep_blank or (source.strip() and target.strip()):
            pairs.sources.append(source)
            pairs.targets.append(target)
        else:
            pairs.blank += 1
    if not pairs:
        raise CorpusError(names[0], f"it holds no pair with text on both sides, and {pairs.blank:,} without")
    return pairs


def _two_files(source: str, target: str) -> Iterator[Pair]:
    counts = [0, 0]
    suspect = ""
    typical = 1.0
    for pair in zip_longest(split_lines(read_text(source)), split_lines(read_text(target))):
        for side, text in enumerate(pair):
            counts[side] += text is not None
        first, second = pair
        if first is None or second is None:
            continue
        ratio = (len(first) + 5) / (len(second) + 5)
        if not suspect and not typical / 4 < ratio < typical * 4:
            suspect = f"; the first pair of very unequal length is in line {counts[0]:,}"
        typical = 0.99 * typical + 0.01 * min(max(ratio, 0.1), 10)
        yield first, second
    if counts[0] != counts[1]:
        raise CorpusError(
            f"{source} and {target}",
            f"they must have as many lines, have {counts[0]:,} and {counts[1]:,}{suspect}",
            f"paste {source} {target} | less",
        )


def _table(name: str) -> Iterator[Pair]:
    if not Path(name).is_file() and name in BUNDLED:
        return _read_tsv(name, split_lines(BUNDLED[name].read()))
    stem = name.removesuffix(".gz").removesuffix(".xz")
    read = TABLES.get(Path(stem).suffix)
    if read is None:
        known = ", ".join(TABLES)
        raise CorpusError(
            name, f"parallel text comes in {known}, or in two files", "--source FILE --target FILE, a text each"
        )
    return read(name, split_lines(read_text(name)))


def _read_tsv(name: str, lines: Iterator[str]) -> Iterator[Pair]:
    for number, line in enumerate(lines, 1):
        columns = line.split("\t")
        if len(columns) < 2:
            if not line.strip():
                yield "", ""
                continue
            raise CorpusError(f"{name}:{number}", "it must have a source, a tab and a target, and has no tab")
        yield columns[0], columns[1]


def _read_csv(name: str, lines: Iterator[str]) -> Iterator[Pair]:
    rows = csv.reader(line + "\n" for line in lines)
    places = (0, 1)
    try:
        for number, row in enumerate(rows):
            if number == 0 and {"source", "target"} <= set(row):
                places = (row.index("source"), row.index("target"))
                continue
            if not row:
                yield "", ""
                continue
            if len(row) <= max(places):
                raise CorpusError(f"{name}:{rows.line_num}", f"it must have two columns, has {len(row)}")
            yield _one_line(row[places[0]]), _one_line(row[places[1]])
    except csv.Error as error:
        raise CorpusError(f"{name}:{rows.line_num}", f"it is no CSV: {error}") from None


def _read_jsonl(name: str, lines: Iterator[str]) -> Iterator[Pair]:
    for number, line in enumerate(lines, 1):
        if not line.strip():
            yield "", ""
            continue
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise CorpusError(f"{name}:{number}", f"it is no JSON: {error}") from None
        if not isinstance(value, dict) or not all(isinstance(value.get(key), str) for key in ("source", "target")):
            raise CorpusError(f"{name}:{number}", "it must be an object with strings under `source` and `target`")
        yield _one_line(value["source"]), _one_line(value["target"])


def _one_line(text: str) -> str:
    return text.replace("\n", " ")


class _Text(str):
    """Text whose lines end at newlines only, for a library that would end them at U+2028 and others, too."""

    def splitlines(self, keepends: bool = False) -> list[str]:
        return [line + "\n" * keepends for line in self.split("\n")]


def _read_po(name: str, lines: Iterator[str]) -> Iterator[Pair]:
    import polib

    try:
        catalogue = polib.pofile(_Text("".join(line + "\n" for line in lines)))
    except (OSError, ValueError) as error:
        raise CorpusError(name, f"it is no PO file: {error}") from None
    for entry in catalogue:
        if entry.obsolete or entry.fuzzy:
            continue
        yield _one_line(entry.msgid), _one_line(entry.msgstr or entry.msgstr_plural.get(0, ""))
        if entry.msgid_plural:
            yield _one_line(entry.msgid_plural), _one_line(entry.msgstr_plural.get(1, ""))


def _read_tmx(name: str, lines: Iterator[str]) -> Iterator[Pair]:
    parser: XMLPullParser[Any] = XMLPullParser(["end"])
    try:
        for line in lines:
            parser.feed(line + "\n")
            for event in parser.read_events():
                element: Any = event[-1]
                if element.tag != "tu":
                    continue
                variants = ["".join(segment.itertext()) for segment in element.iterfind("tuv/seg")]
                source, target, *_ = [*variants, "", ""]
                yield _one_line(source), _one_line(target)
                element.clear()
        parser.close()
    except ParseError as error:
        raise CorpusError(name, f"it is no TMX: {error}") from None


TABLES: dict[str, Callable[[str, Iterator[str]], Iterator[Pair]]] = {
    ".tsv": _read_tsv,
    ".csv": _read_csv,
    ".jsonl": _read_jsonl,
    ".po": _read_po,
    ".tmx": _read_tmx,
}
