"""Web pages: their visible text, whatever the markup, and one sentence for a page that cannot be read."""

from __future__ import annotations

import html
import tracemalloc
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nlpseq.errors import CorpusError
from nlpseq.text import compression
from nlpseq.text.compression import PIECE_BYTES
from nlpseq.text.formats import open_corpus


def text_of(path: Path, data: bytes | str) -> str:
    """The text of a page with these bytes."""
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return "".join(open_corpus(str(path)))


PAGES = [
    ("<p>one<p>two", "one\ntwo\n"),
    ("plain text", "plain text\n"),
    ("a <b>bold</b> <i>word</i>", "a bold word\n"),
    ("a\n  b\t c", "a b c\n"),
    ("one<br>two<br><br>three", "one\ntwo\n\nthree\n"),
    ("&lt;b&gt; &amp; &eacute; &#x732b;", "<b> & é 猫\n"),
    ("<head><title>no</title><style>p {}</style></head><body>yes", "yes\n"),
    ("a<script>if (1 < 2) { '<p>no</p>' }</script>b", "ab\n"),
    ("<noscript>no</noscript><template><p>no</p></template>yes", "yes\n"),
    ("<div hidden>no <b>no</b></div>yes", "yes\n"),
    ("<table><tr><th>a<th>b<tr><td>c<td>d</table>", "a\tb\nc\td\n"),
    ("<ul><li>a<li>b</ul>c", "a\nb\nc\n"),
    ("<pre>\n  a\n    b</pre>c", "  a\n    b\nc\n"),
    ("<pre>a\r\nb</pre>", "a\nb\n"),
    ("<!-- no --><p>yes<!-- no", "yes\n"),
    ("<p>open <b>bold <i>both</b> x", "open bold both x\n"),
    ('<?xml version="1.0"?><html><head><script src="x"/><title/></head><body>yes</body></html>', "yes\n"),
    ("\ufeff<p>marked", "marked\n"),
]


@pytest.mark.parametrize(("page", "text"), PAGES)
def test_a_page_is_what_a_browser_shows(page: str, text: str, tmp_path: Path) -> None:
    assert text_of(tmp_path / "a.html", page) == text


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ('<meta charset="gb2312"><p>你好'.encode("gb2312"), "你好\n"),
        ("<meta http-equiv=x content='text/html; charset=ISO-8859-1'>naïve €".encode("cp1252"), "naïve €\n"),
        ('<?xml version="1.0" encoding="shift_jis"?><p>猫'.encode("shift_jis"), "猫\n"),
        ('<meta charset="latin-1">猫'.encode("utf-8-sig"), "猫\n"),
        ("<p>öl".encode("utf-16"), "öl\n"),
        ('<meta charset="utf-16">öl'.encode(), "öl\n"),
        ('<meta charset="nonsense">öl'.encode(), "öl\n"),
        ('<meta charset="rot13">öl'.encode(), "öl\n"),
        ('<meta charset="unicode_escape">\\ud800 öl'.encode(), "\\ud800 öl\n"),
    ],
)
def test_a_page_is_read_in_the_encoding_that_it_declares(data: bytes, text: str, tmp_path: Path) -> None:
    assert text_of(tmp_path / "a.HTM", data) == text


@pytest.mark.parametrize(
    ("data", "what", "hint"),
    [
        (b"<p>caf\xe9", "it is not UTF-8: byte 0xE9", "if it is WINDOWS-1252: iconv -f WINDOWS-1252"),
        (b'<meta charset="shift_jis">o\xff', "it declares shift_jis, but is not", "sed s/shift_jis/utf-8/ < "),
        (b"<p>a\0b", "it is binary", ""),
        (b'<meta charset="cp1252">a\0b', "it is binary", ""),
        (b"", "it has no text", ""),
        (b"<title>only</title><script>x</script>", "it has no text", ""),
    ],
)
def test_a_page_that_cannot_be_read_is_one_sentence(data: bytes, what: str, hint: str, tmp_path: Path) -> None:
    with pytest.raises(CorpusError) as caught:
        text_of(tmp_path / "a.html", data)
    assert what in caught.value.what and hint in caught.value.hint and "\n" not in str(caught.value)


@pytest.mark.slow
def test_a_page_of_50_megabytes_in_one_line_is_read_in_constant_memory(tmp_path: Path) -> None:
    path = tmp_path / "a.html"
    block = "word " * 4000 + "<b>text</b> &amp; "
    with path.open("w") as file:
        file.write("<p>")
        for _ in range(50_000_000 // len(block) + 1):
            file.write(block)
    assert path.stat().st_size > 50_000_000
    tracemalloc.start()
    size = largest = 0
    for piece in open_corpus(str(path)):
        size += len(piece)
        largest = max(largest, len(piece))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    blocks = 50_000_000 // len(block) + 1
    assert size == len("word " * 4000 + "text & ") * blocks  # the last space becomes the newline
    assert largest <= 2 * PIECE_BYTES and peak < 20 * PIECE_BYTES


class Visible(HTMLParser):
    """The characters of a page of plain elements, by Python's own parser."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []

    def handle_data(self, data: str) -> None:
        self.parts.append(data)


WORDS = st.text(st.characters(exclude_characters="\0\r", exclude_categories=["Cs", "Cc"]), min_size=1, max_size=12)
TAGS = st.sampled_from(["p", "b", "div", "i", "ul", "li", "span", "h1", "section", "em", "a"])
TREES = st.recursive(
    WORDS.map(html.escape),
    lambda inner: st.tuples(TAGS, st.lists(inner, max_size=4)).map(lambda t: f"<{t[0]}>{''.join(t[1])}</{t[0]}>"),
    max_leaves=20,
)


@settings(deadline=None, max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(page=TREES, piece_bytes=st.sampled_from([7, 40, PIECE_BYTES]))
def test_no_character_is_lost_or_made_up(page: str, piece_bytes: int, tmp_path: Path) -> None:
    oracle = Visible()
    oracle.feed(page)
    oracle.close()
    (tmp_path / "a.html").write_text(page, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compression, "PIECE_BYTES", piece_bytes)
        try:
            text = "".join(open_corpus(str(tmp_path / "a.html")))
        except CorpusError as error:
            assert error.what == "it has no text"
            text = ""
    assert "".join(text.split()) == "".join("".join(oracle.parts).split())


ODD = [b"<", b">", b"<p", b"</", b"<!--", b"-->", b"&", b"&#", b";", b"<script>", b"</script", b"<pre>", b"'", b'"']
ODD += [b"<meta charset=", b"gb18030", b"<![CDATA[", b"]]>", b"\xff\xfe", b"\xef\xbb\xbf", b"<svg>", b"<td hidden>"]


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.lists(st.sampled_from(ODD) | st.binary(max_size=4), max_size=30).map(b"".join))
def test_any_bytes_give_text_or_one_sentence(data: bytes, tmp_path: Path) -> None:
    try:
        assert text_of(tmp_path / "a.html", data)
    except CorpusError as error:
        assert "\n" not in str(error)
