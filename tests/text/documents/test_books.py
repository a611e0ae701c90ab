"""EPUB books and Word documents: their text in order, and one sentence for each fault."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nlpseq.errors import CorpusError
from nlpseq.text.formats import open_corpus

CONTAINER = '<container xmlns="urn:c"><rootfiles><rootfile full-path="OPS/book.opf"/></rootfiles></container>'
PACKAGE = """<?xml version="1.0"?><package xmlns="http://www.idpf.org/2007/opf"><manifest>
<item id="b" href="two.xhtml" media-type="application/xhtml+xml"/>
<item id="a" href="text/one%20.xhtml#top" media-type="application/xhtml+xml"/>
<item id="n" href="nav.xhtml" properties="nav" media-type="application/xhtml+xml"/>
<item id="p" href="cover.svg" media-type="image/svg+xml"/></manifest>
<spine><itemref idref="p"/><itemref idref="n"/><itemref idref="a"/><itemref idref="gone"/><itemref idref="b"/></spine>
</package>"""
PAGE = '<?xml version="1.0"?><html xmlns="http://www.w3.org/1999/xhtml"><head><title/></head><body>{}</body></html>'
BOOK = {
    "mimetype": "application/epub+zip",
    "META-INF/container.xml": CONTAINER,
    "OPS/book.opf": PACKAGE,
    "OPS/nav.xhtml": PAGE.format("<p>Contents"),
    "OPS/two.xhtml": PAGE.format("<h1>Two</h1><p>The end&#46;&nbsp;</p>"),
    "OPS/text/one .xhtml": PAGE.format("<h1>One</h1><p>A cat sat.</p>"),
}


def packed(members: Mapping[str, str | bytes]) -> bytes:
    """A zip archive with these members."""
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, contents in members.items():
            archive.writestr(name, contents)
    return data.getvalue()


def text_of(path: Path, data: bytes) -> str:
    """The text of a document with these bytes."""
    path.write_bytes(data)
    return "".join(open_corpus(str(path)))


def test_a_book_is_its_chapters_in_the_order_of_reading(tmp_path: Path) -> None:
    assert text_of(tmp_path / "a.epub", packed(BOOK)) == "One\nA cat sat.\nTwo\nThe end.\xa0\n"


ENCRYPTION = (
    '<encryption><EncryptedData><CipherData><CipherReference URI="{}"/></CipherData></EncryptedData></encryption>'
)


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"OPS/two.xhtml": PAGE.format(""), "OPS/text/one .xhtml": PAGE.format("<img/>")}, "it has no text"),
        ({"OPS/two.xhtml": None}, "its file 'OPS/two.xhtml' is missing"),
        ({"META-INF/container.xml": None}, "its file 'META-INF/container.xml' is missing"),
        ({"META-INF/container.xml": "<container/>"}, "it names no table of contents"),
        ({"OPS/book.opf": "<package><manifest>"}, "it is not XML: "),
        ({"OPS/two.xhtml": b"<p>caf\xe9"}, "it is not UTF-8"),
        ({"META-INF/rights.xml": "<rights/>"}, "it is protected by DRM"),
        ({"META-INF/encryption.xml": ENCRYPTION.format("OPS/two.xhtml")}, "it is protected by DRM"),
    ],
)
def test_a_book_that_cannot_be_read_is_one_sentence(changes: dict[str, Any], what: str, tmp_path: Path) -> None:
    members = {name: contents for name, contents in (BOOK | changes).items() if contents is not None}
    with pytest.raises(CorpusError) as caught:
        text_of(tmp_path / "a.epub", packed(members))
    assert what in caught.value.what and "\n" not in str(caught.value)
    assert caught.value.where.startswith(str(tmp_path / "a.epub"))


def test_the_fault_of_a_chapter_names_it_and_how_to_convert_it(tmp_path: Path) -> None:
    with pytest.raises(CorpusError) as caught:
        text_of(tmp_path / "a.epub", packed(BOOK | {"OPS/two.xhtml": b"<p>caf\xe9"}))
    assert caught.value.where == f"{tmp_path / 'a.epub'}:OPS/two.xhtml:1"
    assert f"unzip -p {tmp_path / 'a.epub'} OPS/two.xhtml | iconv -f WINDOWS-1252" in caught.value.hint


def test_fonts_may_be_obfuscated(tmp_path: Path) -> None:
    book = packed(BOOK | {"META-INF/encryption.xml": ENCRYPTION.format("OPS/font.otf")})
    assert "A cat sat." in text_of(tmp_path / "a.epub", book)


def word(path: Path, *paragraphs: str) -> bytes:
    """A document with these paragraphs, as python-docx writes it."""
    docx = pytest.importorskip("docx")
    document = docx.Document()
    for paragraph in paragraphs:
        document.add_paragraph(paragraph)
    document.save(path)
    return path.read_bytes()


def test_a_word_document_is_its_paragraphs_and_tables(tmp_path: Path) -> None:
    docx = pytest.importorskip("docx")
    document = docx.Document()
    document.add_heading("Title é", 1)
    document.add_paragraph("").add_run("one\ttwo\nthree").bold = True
    table = document.add_table(2, 2)
    for row, cells in enumerate(table.rows):
        for column, cell in enumerate(cells.cells):
            cell.text = f"{row}{column}"
    table.cell(1, 1).add_paragraph("more")
    document.sections[0].header.paragraphs[0].text = "a header"
    document.add_paragraph("last").paragraph_format.tab_stops.add_tab_stop(9)
    document.save(tmp_path / "a.docx")
    text = "".join(open_corpus(str(tmp_path / "a.docx")))
    assert text == "Title é\none\ttwo\nthree\n00\t01\n10\t11 more\nlast\n"


LINE = st.text(st.characters(exclude_categories=["Cs", "Cc", "Cn"]), min_size=1, max_size=10)


@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(paragraphs=st.lists(LINE, min_size=1, max_size=4))
def test_every_paragraph_of_a_word_document_is_a_line(paragraphs: list[str], tmp_path: Path) -> None:
    word(tmp_path / "a.docx", *paragraphs)
    if not "".join(paragraphs).strip():
        return
    assert "".join(open_corpus(str(tmp_path / "a.docx"))) == "".join(f"{line}\n" for line in paragraphs)


W = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'
BODY = f"<w:document {W}><w:body>{{}}</w:body></w:document>"
LAUGHS = "".join(f'<!ENTITY a{n + 1} "{f"&a{n};" * 10}">' for n in range(12))


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (
            "<w:p><w:ins><w:r><w:t>new</w:t></w:r></w:ins><w:del><w:r><w:delText>old</w:delText></w:r></w:del></w:p>",
            "new\n",
        ),
        ("<w:p><w:moveFrom><w:r><w:t>x</w:t></w:r></w:moveFrom><w:r><w:t>y</w:t></w:r></w:p>", "y\n"),
        ("<w:p><w:r><w:instrText>PAGE</w:instrText><w:t>a</w:t><w:tab/><w:t>b</w:t></w:r></w:p>", "a\tb\n"),
        ("<w:p><w:r><w:t>a</w:t></w:r></w:p><w:p/><w:p><w:r><w:t>b</w:t></w:r></w:p>", "a\n\nb\n"),
    ],
)
def test_only_the_text_of_a_word_document_is_read(body: str, text: str, tmp_path: Path) -> None:
    assert text_of(tmp_path / "a.docx", packed({"word/document.xml": BODY.format(body)})) == text


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"", "it is not a Word document, or it is cut short"),
        (b"plain text", "it is not a Word document, or it is cut short"),
        (b"\xd0\xcf\x11\xe0" + bytes(99), "an old or an encrypted Office document"),
        (packed({"a.txt": "text"}), "it is not a Word document: it has no word/document.xml"),
        (packed({"word/document.xml": "<workbook><p><t>x</t></p></workbook>"}), "it is not a Word document"),
        (packed({"word/document.xml": BODY.format("<w:p>")}), "it is not XML: "),
        (packed({"word/document.xml": ""}), "it is not XML: "),
        (packed({"word/document.xml": BODY.format("<w:p/>")}), "it has no text"),
        (
            packed(
                {"word/document.xml": f'<!DOCTYPE x [<!ENTITY a0 "ha">{LAUGHS}]>' + BODY.format("<w:t>&a12;</w:t>")}
            ),
            "it is not XML: ",
        ),
    ],
)
def test_a_word_document_that_cannot_be_read_is_one_sentence(data: bytes, what: str, tmp_path: Path) -> None:
    with pytest.raises(CorpusError) as caught:
        text_of(tmp_path / "a.docx", data)
    assert what in caught.value.what and "\n" not in str(caught.value)


@pytest.mark.parametrize("suffix", [".docx", ".epub", ".zip"])
def test_a_truncated_document_is_one_sentence(suffix: str, tmp_path: Path) -> None:
    whole = word(tmp_path / "whole.docx", "text") if suffix == ".docx" else packed(BOOK)
    for end in (0, 3, 30, len(whole) // 2, len(whole) - 5):
        with pytest.raises(CorpusError) as caught:
            text_of(tmp_path / f"a{suffix}", whole[:end])
        assert "cut short" in caught.value.what and "\n" not in str(caught.value)


@pytest.mark.parametrize("suffix", [".docx", ".epub", ".zip"])
@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_damage_gives_text_or_one_sentence(suffix: str, data: st.DataObject, tmp_path: Path) -> None:
    contents = {"word/document.xml": BODY.format("<w:p><w:r><w:t>text</w:t></w:r></w:p>")} | BOOK
    damaged = bytearray(packed(contents))
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    try:
        assert text_of(tmp_path / f"a{suffix}", bytes(damaged))
    except CorpusError as error:
        assert "\n" not in str(error)
