"""Decides whether the first row of a table is a header: by the usual names of columns, and by its difference from them.

A usual name is enough. Without one, a first row is taken as a header if its cells look like identifiers and each
differs from its column. A cell differs if it lacks the spaces, digits or full stops that nearly all other cells have,
or if it is new in a column of few values. If only some cells differ, or if they could be a title, the row may be a
header; then a note says so.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

FEWEST_ROWS = 20  # rows, for a comparison with the first one
NEARLY_ALL = 0.9  # fraction of the cells of a column
LONGEST_NAME = 40  # characters
MOST_WORDS = 3  # in a name

SOURCE_NAMES = ("source", "src", "source_text", "original", "input")
TARGET_NAMES = ("target", "tgt", "trg", "target_text", "translation", "output")
LABEL_NAMES = ("label", "labels", "class", "category", "sentiment", "polarity", "target", "stars", "rating", "score")
TEXT_NAMES = ("text", "sentence", "review", "content", "comment", "document", "tweet", "message", "body", "title")

_NO_LANGUAGES = {"id", "no"}  # columns with these names number the rows

# codes of languages, in two letters and in three
_CODES = frozenset(
    """
    af am ar az be bg bn bs ca cs cy da de el en eo es et eu fa fi fr ga gl gu he hi hr hu hy id is it ja ka kk km kn
    ko ku ky la lb lo lt lv mg mk ml mn mr ms mt my nb ne nl nn no oc or pa pl ps pt ro ru rw sd se si sk sl so sq sr
    sv sw ta te tg th tk tl tr tt ug uk ur uz vi wo xh yi yo zh zu
    ara bul cat ces cmn cze dan deu dut ell eng epo est eus fas fin fra fre gle ger gre heb hin hrv hun ind isl ita
    jpn kat kor lat lav lit nld nno nob nor pes pol por ron rum rus slk slv spa sqi srp swa swe tam tel tgl tha tur
    ukr urd vie yue zho chi
    """.split()  # noqa: SIM905
)
_NAMES = frozenset(
    """
    afrikaans albanian arabic armenian basque belarusian bengali bosnian bulgarian catalan chinese croatian czech
    danish dutch english esperanto estonian finnish french galician georgian german greek hebrew hindi hungarian
    icelandic indonesian irish italian japanese kazakh khmer korean latin latvian lithuanian macedonian malay mandarin
    mongolian nepali norwegian persian polish portuguese romanian russian serbian slovak slovenian spanish swahili
    swedish tagalog tamil thai turkish ukrainian urdu vietnamese welsh yoruba zulu
    deutsch englisch französisch spanisch italienisch français anglais allemand espagnol español inglés italiano
    inglese português русский 中文 英文 日本語 한국어
    """.split()  # noqa: SIM905
)
_LOCALE = re.compile(r"([a-z]{2,3})(?:[-_][a-z0-9]{2,4}){0,2}")
_WORD = re.compile(r"[^\W_]+")
_AROUND_CODE = {"text", "sentence", "lang", "language", "src", "tgt", "source", "target", "string"}
_NAME = re.compile(r"[^\W\d][\w .#()/:-]*[\w)]|[^\W\d]")
_FEATURES = (re.compile(r"\S\s+\S"), re.compile(r"\d"), re.compile(r"[.?!…\u3002\uff1f\uff01][\"'”»)]?$"))


def normal_name(name: str) -> str:
    """The normal form of a column's name, for comparison."""
    return name.strip().lower()


def usual_index(names: Sequence[str], usual: Sequence[str]) -> int | None:
    """The index of the name that comes first among the usual ones; `text_a` counts as `text`."""
    normal_names = [normal_name(name) for name in names]
    for usual_name in usual:
        for index, name in enumerate(normal_names):
            if name in (usual_name, f"{usual_name}_a"):
                return index
    return None


def known_names(names: Sequence[str]) -> int:
    """The number of different names among `names` that columns of pairs or of labelled texts usually have."""
    usual = (SOURCE_NAMES, TARGET_NAMES, LABEL_NAMES, TEXT_NAMES)
    indices = {usual_index(names, group) for group in usual} - {None}
    return len(
        {normal_name(name) for name in names if is_language(name)}
        | {names[index] for index in indices if index is not None}
    )


def is_language(name: str) -> bool:
    """Whether a column is named after a language: `de`, `en_US`, `German sentences`, `text_de`."""
    lower = normal_name(name)
    locale = _LOCALE.fullmatch(lower)
    if locale and locale[1] in _CODES:
        return lower not in _NO_LANGUAGES
    words = _WORD.findall(lower)
    coded = len(words) == 2 and any(words[side] in _CODES and words[1 - side] in _AROUND_CODE for side in (0, 1))
    return coded or (len(words) <= 4 and any(word in _NAMES for word in words))


def looks_like_header(rows: Sequence[Sequence[str]], *, few_values_tell: bool) -> Literal["yes", "maybe", "no"]:
    """Whether the first row looks like a header, though its names are not usual ones.

    With `few_values_tell` it is enough if a name is new in a column of few values, such as labels.
    """
    first, rest = rows[0], [row for row in rows[1:] if len(row) == len(rows[0])]
    indices = [index for index in filled_columns(rest) if index < len(first)]
    names = [first[index].strip() for index in indices]
    if len(rest) < FEWEST_ROWS - 1 or len(set(names)) < len(names) or not all(map(_is_name, names)):
        return "no"
    columns = [[row[index].strip() for row in rest] for index in indices]
    is_new = [_is_new(name, column) for name, column in zip(names, columns, strict=True)]
    if few_values_tell and any(is_new):
        return "yes"
    differs = [_differs(name, column) or new for name, column, new in zip(names, columns, is_new, strict=True)]
    if any(" " in name for name in names) or not any(differs):
        return "no"
    return "yes" if all(differs) and all(map(_is_identifier, names)) else "maybe"


def filled_columns(rows: Sequence[Sequence[str]]) -> list[int]:
    """The indices of columns that are not blank in all rows."""
    width = max(map(len, rows), default=0)
    return [index for index in range(width) if any(len(row) > index and row[index].strip() for row in rows)]


def is_number(cell: str) -> bool:
    """Whether a cell is a number, such as a row's number or a score."""
    return re.fullmatch(r"\s*[-+]?\d[\d.,]*(?:[eE][-+]?\d+)?\s*", cell) is not None


def _is_name(cell: str) -> bool:
    return len(cell) <= LONGEST_NAME and len(cell.split()) <= MOST_WORDS and _NAME.fullmatch(cell) is not None


def _is_identifier(name: str) -> bool:
    """Whether a name cannot be a title, which starts with a capital: `text`, `v1`, `German_text`."""
    return name[:1].islower() or re.search(r"[\d_]", name) is not None


def _is_new(name: str, column: Sequence[str]) -> bool:
    return name not in column and 2 * len(set(column)) < len(column)


def _differs(name: str, column: Sequence[str]) -> bool:
    filled = [cell for cell in column if cell]
    return any(
        not feature.search(name) and sum(bool(feature.search(cell)) for cell in filled) >= NEARLY_ALL * len(filled)
        for feature in _FEATURES
    )
