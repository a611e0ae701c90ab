"""Translation memories: units with a text in each language, without inline codes.

The contents of `bpt`, `ept`, `ph`, `it` and `ut` are codes of the program that wrote the text. A `sub` inside them is
text again, and the contents of `hi` are text. A line end with the indentation around it becomes a space. The encoding
is the one that the file declares. The namespace of a name is ignored.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any
from xml.etree.ElementTree import ParseError, XMLPullParser

from nlpseq.errors import CorpusError
from nlpseq.text.compression import read_blocks, show_line
from nlpseq.text.encodings import decode_declared
from nlpseq.text.formats import need_path
from nlpseq.text.readers.table import Notes, Row, Rows, TableFormat

CODES = ("bpt", "ept", "ph", "it", "ut")
LANGUAGE = "{http://www.w3.org/XML/1998/namespace}lang"

_DECLARED = re.compile(rb"^\s*<\?xml[^>]*?encoding\s*=\s*[\"']([\w.:-]+)[\"']")
_EDGES = re.compile(r"^[ \t]*[\r\n][ \t\r\n]*|[ \t]*[\r\n][ \t\r\n]*$")
_LINE_END = re.compile(r"[ \t]*[\r\n][ \t\r\n]*")


def _read(name: str, notes: Notes) -> Rows:
    need_path(name)
    blocks = read_blocks(name)
    first = next(blocks, b"")
    text = decode_declared(name, chain([first], blocks), _declared_encoding(first))
    source = ""
    parser: XMLPullParser[Any] = XMLPullParser(["start", "end"])
    number = 0
    around: list[Any] = []  # the elements that are open
    for event, element in _events(name, parser, text):
        kind = _local(element.tag)
        if event == "start":
            around.append(element)
            if kind == "header":
                source = normal_language(element.get("srclang") or "")
            continue
        around.pop()
        if kind == "tu":
            number += 1
            yield Row(f"{name}:{number}", _variants(element, source))
            if around:
                around[-1].remove(element)  # so that memory stays constant


def _declared_encoding(start: bytes) -> str:
    """The encoding that a file's byte order mark or its XML declaration names, or ""."""
    if start.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16"
    if start.startswith((b"<\0", b"\0<")):
        return "utf-16-le" if start.startswith(b"<\0") else "utf-16-be"
    match = _DECLARED.match(start.removeprefix(b"\xef\xbb\xbf"))
    return match[1].decode() if match else ""


def _events(name: str, parser: XMLPullParser[Any], text: Iterable[str]) -> Iterator[tuple[str, Any]]:
    """Starts and ends of elements. Raises CorpusError for text that is not XML."""
    try:
        for piece in text:
            parser.feed(piece)
            yield from parser.read_events()  # type: ignore[misc]
        parser.close()
        yield from parser.read_events()  # type: ignore[misc]
    except ParseError as error:
        line = error.position[0]
        raise CorpusError(f"{name}:{line}", f"it is not TMX: {error}", show_line(name, line)) from None


def _local(tag: Any) -> str:
    return str(tag).rpartition("}")[2]


def _variants(unit: Any, source: str) -> dict[str, str]:
    """The texts of a unit by language, the source language first; a variant without a language has its number."""
    texts: dict[str, str] = {}
    for number, variant in enumerate((child for child in unit if _local(child.tag) == "tuv"), 1):
        language = normal_language(variant.get(LANGUAGE) or variant.get("lang") or "") or str(number)
        for segment in variant:
            if _local(segment.tag) == "seg":
                texts.setdefault(language, _tidy(_text(segment)))
    first = next((language for language in texts if source and speaks(language, source)), None)
    return texts if first is None else {first: texts.pop(first), **texts}


def _text(element: Any, *, code: bool = False) -> str:
    """The text of an element; of a code only the text inside `sub`."""
    text = "" if code else element.text or ""
    for child in element:
        kind = _local(child.tag)
        inner = _text(child, code=kind in CODES or (code and kind != "sub"))
        tail = "" if code else child.tail or ""
        if kind in CODES and inner:
            text = _spaced(_spaced(text, inner), tail)
        elif kind in CODES and (text.endswith(" ") or not text) and tail.startswith(" "):
            text += tail[1:]  # the code had a space on both sides
        else:
            text += inner + tail
    return text


def _spaced(before: str, after: str) -> str:
    """Two texts joined, with a space between them unless there is white space or punctuation."""
    is_separated = not before or not after or before[-1].isspace() or not after[0].isalnum()
    return before + after if is_separated else f"{before} {after}"


def _tidy(text: str) -> str:
    return _LINE_END.sub(" ", _EDGES.sub("", text)) if "\n" in text or "\r" in text else text


def normal_language(language: str) -> str:
    """The normal form of a language's name, for comparison: `en-us` for `en_US`."""
    return language.strip().lower().replace("_", "-")


def speaks(language: str, requested: str) -> bool:
    """Whether a language in normal form is the requested one or a variant of it, as `de-at` is of `de`."""
    return language == requested or language.startswith(f"{requested}-")


TMX = TableFormat((".tmx",), _read, languages=True)
