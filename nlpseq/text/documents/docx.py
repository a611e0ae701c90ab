"""Word documents: their paragraphs, a line each, and their tables, a line for each row and a tab between cells.

Headers, footers, notes and comments are left out, and so is text that was deleted while changes were tracked. The XML
is fed to lxml's parser block by block, so memory stays constant; python-docx would hold the whole document.
"""

from __future__ import annotations

import posixpath
import shlex
from collections.abc import Iterator, Mapping
from typing import BinaryIO
from zipfile import ZipFile

from nlpseq.errors import CorpusError
from nlpseq.text.documents.format import DocumentFormat, with_text
from nlpseq.text.documents.package import elements, member_blocks, member_name, member_xml, open_package
from nlpseq.text.encodings import regular_pieces

NOUN = "a Word document"
RELATIONS = "_rels/.rels"
USUAL_MAIN_PART = "word/document.xml"
LEFT_OUT = ("Fallback", "moveFrom", "del")  # a second copy of a text box, and what was moved or deleted
SPELLED = {"tab": "\t", "br": "\n", "cr": "\n", "noBreakHyphen": "-"}


class _Paragraphs:
    """A target of `lxml.etree.XMLParser` that gathers paragraphs and the rows of tables."""

    def __init__(self) -> None:
        self.root = ""
        self.lines: list[str] = []
        self._open: list[list[str]] = []  # the texts of the paragraphs around this place, the innermost last
        self._rows: list[list[list[str]]] = []  # the cells of the table rows around it
        self._left_out = 0
        self._is_text = False

    def start(self, tag: str, attributes: Mapping[str, str]) -> None:
        """An element starts."""
        kind = tag.rpartition("}")[2]
        self.root = self.root or kind
        if self._left_out or kind in LEFT_OUT:
            self._left_out += 1
        elif kind == "p":
            self._open.append([])
        elif kind == "tr":
            self._rows.append([])
        elif kind == "tc" and self._rows:
            self._rows[-1].append([])
        elif kind in SPELLED and self._open and not _is_tab_stop(kind, attributes):
            self._open[-1].append(SPELLED[kind])
        self._is_text = kind == "t" and not self._left_out

    def data(self, text: str) -> None:
        """Characters of an element."""
        if self._is_text and self._open:
            self._open[-1].append(text)

    def end(self, tag: str) -> None:
        """An element ends."""
        kind = tag.rpartition("}")[2]
        self._is_text = False
        if self._left_out:
            self._left_out -= 1
        elif kind == "p" and self._open:
            self._add("".join(self._open.pop()))
        elif kind == "tr" and self._rows:
            self._add("\t".join(" ".join(filter(None, cell)) for cell in self._rows.pop()))

    def close(self) -> None:
        """The document ends."""

    def take(self) -> str:
        """The lines since the last call."""
        text = "".join(f"{line}\n" for line in self.lines)
        self.lines.clear()
        return text

    def _add(self, line: str) -> None:
        """Add a line to the cell around it, else to the document."""
        if self._rows and self._rows[-1]:
            self._rows[-1][-1].append(" ".join(line.split("\n")))
        else:
            self.lines.append(line)


def _is_tab_stop(kind: str, attributes: Mapping[str, str]) -> bool:
    """Whether an element `tab` describes a tab stop of a paragraph, and is not a tab in its text."""
    return kind == "tab" and bool(attributes)


def _read(name: str, file: BinaryIO) -> Iterator[str]:
    package = open_package(name, file, NOUN)
    yield from with_text(name, regular_pieces(_text(name, package)))


def _text(name: str, package: ZipFile) -> Iterator[str]:
    from lxml import etree

    part = _main_part(name, package)
    target = _Paragraphs()
    parser = etree.XMLParser(target=target, resolve_entities=False, no_network=True, load_dtd=False)
    try:
        for block in member_blocks(name, package, part):
            parser.feed(block)
            if target.root not in ("", "document"):
                raise _not_word(name)
            yield target.take()
        parser.close()
    except etree.XMLSyntaxError as error:
        what = f"it is not XML: {' '.join(str(error).split())}"
        raise CorpusError(member_name(name, part), what, "take a good copy") from None
    yield target.take()


def _main_part(name: str, package: ZipFile) -> str:
    """The member that holds the text. Raises CorpusError for another kind of file, such as a spreadsheet."""
    members = set(package.namelist())
    part = USUAL_MAIN_PART
    if RELATIONS in members:
        relations = elements(member_xml(name, package, RELATIONS), "Relationship")
        kinds = {(relation.get("Type") or "").rpartition("/")[2]: relation.get("Target") for relation in relations}
        part = posixpath.normpath((kinds.get("officeDocument") or part).lstrip("/"))
    if part not in members or not part.endswith(".xml"):
        raise _not_word(name)
    return part


def _not_word(name: str) -> CorpusError:
    return CorpusError(name, f"it is not {NOUN}: it has no {USUAL_MAIN_PART}", f"unzip -l {shlex.quote(name)}")


DOCX = DocumentFormat((".docx", ".docm"), NOUN, _read)
