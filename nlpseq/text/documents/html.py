"""Web pages: their visible text, without scripts, styles and the head.

lxml's parser is fed piece by piece, so memory stays constant. It mends what browsers mend, so there are no damaged
pages. The encoding is the one of the byte order mark, else the declared one, else UTF-8.
"""

from __future__ import annotations

import io
import re
import shlex
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import BinaryIO

from nlpseq.errors import CorpusError
from nlpseq.text.compression import PIECE_BYTES, new_name, shell_input
from nlpseq.text.documents.format import DocumentFormat, with_text
from nlpseq.text.documents.markup import VisibleText
from nlpseq.text.encodings import declared_codec, decode_declared, regular_pieces

SEARCHED = 4096  # bytes in which an encoding is declared

_DECLARED = re.compile(rb"<(?:meta|\?xml)\b[^>]{0,400}?(?:charset|encoding)\s*=\s*[\"']?\s*([\w.:-]+)", re.IGNORECASE)


def _read(name: str, file: BinaryIO) -> Iterator[str]:
    return with_text(name, page_text(name, iter(lambda: file.read(PIECE_BYTES), b"")))


def page_text(name: str, blocks: Iterator[bytes]) -> Iterator[str]:
    """The visible text of a page in pieces; none if it has no text. Raises CorpusError for another encoding."""
    first = next(blocks, b"")
    if first:
        yield from regular_pieces(_visible(_decoded(name, first, blocks)))


def _decoded(name: str, first: bytes, blocks: Iterator[bytes]) -> Iterator[str]:
    marked = next((codec for mark, codec in _MARKS.items() if first.startswith(mark)), "")
    match = _DECLARED.search(first[:SEARCHED])
    declared = match[1].decode("ascii", "replace") if match else ""
    codec = marked or declared_codec(declared)
    newlines = io.IncrementalNewlineDecoder(None, translate=True)
    try:
        for text in decode_declared(name, chain([first], blocks), codec):
            if "\0" in text:
                raise CorpusError(name, "it is binary: it has a NUL character", "a page is text")
            yield newlines.decode(text)
    except CorpusError as error:
        if not error.what.startswith("it declares"):
            raise
        sed = f"sed {shlex.quote(f's/{declared}/utf-8/')}"
        hint = f"if it is UTF-8: {shell_input(name, sed)} > {new_name(name, '.utf8.html')}"
        raise CorpusError(error.where, error.what, hint) from None
    yield newlines.decode("", final=True)


_MARKS = {b"\xef\xbb\xbf": "utf-8", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}


def _visible(texts: Iterable[str]) -> Iterator[str]:
    from lxml import etree

    target = VisibleText()
    parser = etree.HTMLParser(target=target, encoding="utf-8", huge_tree=True)
    was_fed = False
    for text in filter(None, texts):
        was_fed = True
        parser.feed(text.encode("utf-8", "replace"))
        yield target.take()
    if was_fed:
        parser.close()
        yield target.take()


HTML = DocumentFormat((".html", ".htm", ".xhtml"), "a web page", _read)
