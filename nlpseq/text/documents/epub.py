"""EPUB books: the text of their chapters, in the order of reading, without the table of contents."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from typing import Any, BinaryIO
from urllib.parse import unquote
from zipfile import ZipFile

from nlpseq.errors import CorpusError
from nlpseq.text.documents.format import DocumentFormat, with_text
from nlpseq.text.documents.html import page_text
from nlpseq.text.documents.package import elements, member_blocks, member_name, member_xml, open_package

CONTAINER = "META-INF/container.xml"
ENCRYPTION = "META-INF/encryption.xml"
RIGHTS = ("META-INF/rights.xml", "META-INF/sinf.xml", "META-INF/license.lcpl")
PAGES = ("application/xhtml+xml", "text/html", "text/x-oeb1-document")


def _read(name: str, file: BinaryIO) -> Iterator[str]:
    package = open_package(name, file, "an EPUB book")
    chapters = _chapters(name, package)
    _refuse_protected(name, package, chapters)
    yield from with_text(name, _text(name, package, chapters))


def _text(name: str, package: ZipFile, chapters: list[str]) -> Iterator[str]:
    for chapter in chapters:
        yield from page_text(member_name(name, chapter), member_blocks(name, package, chapter))


def _chapters(name: str, package: ZipFile) -> list[str]:
    """The members that hold the chapters. Raises CorpusError if the book does not list them."""
    roots = elements(member_xml(name, package, CONTAINER), "rootfile")
    contents = next((path for root in roots if (path := root.get("full-path"))), None)
    if contents is None:
        raise CorpusError(member_name(name, CONTAINER), "it names no table of contents", "take a good copy")
    book = member_xml(name, package, contents)
    items = {item.get("id"): item for item in elements(book, "item")}
    spine = [items.get(reference.get("idref")) for reference in elements(book, "itemref")]
    folder = posixpath.dirname(contents)
    return [_path(folder, item) for item in spine if item is not None and _is_chapter(item)]


def _is_chapter(item: Any) -> bool:
    is_contents = "nav" in (item.get("properties") or "").split()
    return item.get("media-type") in PAGES and bool(item.get("href")) and not is_contents


def _path(folder: str, item: Any) -> str:
    return posixpath.normpath(posixpath.join(folder, unquote(item.get("href").partition("#")[0])))


def _refuse_protected(name: str, package: ZipFile, chapters: list[str]) -> None:
    """Raises CorpusError for a book with DRM. Encrypted fonts do not matter."""
    members = set(package.namelist())
    is_protected = any(rights in members for rights in RIGHTS)
    if ENCRYPTION in members and not is_protected:
        references = elements(member_xml(name, package, ENCRYPTION), "CipherReference")
        is_protected = not {unquote(reference.get("URI") or "") for reference in references}.isdisjoint(chapters)
    if is_protected:
        raise CorpusError(name, "it is protected by DRM, so its text cannot be read", "take a book without DRM")


EPUB = DocumentFormat((".epub",), "an EPUB book", _read)
