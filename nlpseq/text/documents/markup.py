"""The visible text of markup, gathered from the events of lxml's parsers while they are fed.

Each block of text is a line, and cells of a row are separated by tabs. White space is read as browsers read it, so a
line break of the source is a space, and `pre` is kept as it is.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

HIDDEN = frozenset(
    [
        "head",
        "script",
        "style",
        "template",
        "noscript",
        "svg",
        "math",
        "iframe",
        "object",
        "canvas",
        "audio",
        "video",
        "datalist",
        "select",
        "textarea",
    ]
)
BLOCKS = frozenset(
    [
        "address",
        "article",
        "aside",
        "blockquote",
        "body",
        "caption",
        "center",
        "dd",
        "details",
        "dialog",
        "dir",
        "div",
        "dl",
        "dt",
        "fieldset",
        "figcaption",
        "figure",
        "footer",
        "form",
        "h1",
        "h2",
        "h3",
        "h4",
        "h5",
        "h6",
        "header",
        "hgroup",
        "hr",
        "html",
        "legend",
        "li",
        "main",
        "menu",
        "nav",
        "ol",
        "p",
        "pre",
        "search",
        "section",
        "summary",
        "table",
        "tbody",
        "tfoot",
        "thead",
        "tr",
        "ul",
    ]
)
CELLS = frozenset(("td", "th"))

_SPACES = re.compile("[ \t\n\f\r]+")


class VisibleText:
    """A target of `lxml.etree.HTMLParser`: `take` returns the text since it was last called."""

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._hidden = 0  # depth inside the outermost hidden element
        self._preformatted = 0
        self._starts_pre = False  # whose first line end does not count
        self._in_line = False
        self._space = False

    def take(self) -> str:
        """The text of all events since the last call."""
        text = "".join(self._parts)
        self._parts.clear()
        return text

    def start(self, tag: str, attributes: Mapping[str, str]) -> None:
        """An element starts."""
        if self._hidden or tag in HIDDEN or "hidden" in attributes:
            self._hidden += 1
        elif tag == "br":
            self._end_line()
        elif tag in BLOCKS:
            self._end_block()
            self._preformatted += tag == "pre"
            self._starts_pre = tag == "pre"
        elif tag in CELLS and self._in_line:
            self._parts.append("\t")
            self._space = False

    def end(self, tag: str) -> None:
        """An element ends."""
        if self._hidden:
            self._hidden -= 1
        elif tag in BLOCKS:
            self._end_block()
            self._preformatted -= tag == "pre"

    def data(self, text: str) -> None:
        """Characters of an element."""
        if self._hidden:
            return
        if not self._preformatted:
            text = _SPACES.sub(" ", text)
            core = text.strip(" ")
            if core:
                space = (self._space or text[0] == " ") and self._in_line
                self._parts.append(f" {core}" if space else core)
                self._in_line = True
            self._space = text[-1:] == " " or (self._space and not core)
        elif text := text.removeprefix("\n") if self._starts_pre else text:
            self._parts.append(text)
            self._in_line = text[-1] != "\n"
        self._starts_pre = False

    def close(self) -> None:
        """The document ends."""
        self._end_block()

    def _end_line(self) -> None:
        self._parts.append("\n")
        self._in_line = self._space = False

    def _end_block(self) -> None:
        if self._in_line:
            self._end_line()
        self._space = False
