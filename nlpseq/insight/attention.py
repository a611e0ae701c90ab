"""The alignment of a translation as JSON, as an SVG drawing and as shades in a terminal.

Targets are rows and sources are columns, as in Bahdanau et al. (2015), and the weights of a row sum to one. In a
terminal the columns are only as wide as their numbers, so a legend names the token of each column.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from typing import Any
from xml.sax.saxutils import escape

from nlpseq.models.attention import Alignment

SHADES = " ░▒▓█"
NEWLINE_SIGN = "⏎"

CELL, MARGIN, GAP = 22, 16, 36  # pixels
CHARACTER = 8  # pixels, the average width of characters of 12 pixels in the widest font
WIDE_CHARACTER = 13
STYLE = """
text { font: 12px "DejaVu Sans", Verdana, "Noto Sans CJK SC", sans-serif; fill: #1f2328; } .end { text-anchor: end; }
.page { fill: #ffffff; } .frame { fill: none; stroke: #d1d9e0; } .cell { fill: #2f6fde; }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3; } .page { fill: #0d1117; } .frame { stroke: #3d444d; } .cell { fill: #6ea8ff; }
}
"""


def to_json(alignment: Alignment) -> dict[str, Any]:
    """Tokens and attention weights, with four decimals."""
    weights = [[round(float(weight), 4) for weight in row] for row in alignment.shares]
    return {"source": alignment.source, "target": alignment.target, "shares": weights}


def shade(alignment: Alignment) -> Iterator[str]:
    """Lines of text: a row of shades for each token of the target, then a legend of the source's tokens."""
    targets = list(map(_shown, alignment.target))
    width = max(map(text_width, targets))
    digits = len(str(len(alignment.source)))
    numbers = "".join(f"{number:>{digits + 1}}" for number in range(1, len(alignment.source) + 1))
    yield f"{' ' * width} {numbers}"
    for token, row in zip(targets, alignment.shares, strict=True):
        shades = "".join(
            SHADES[min(len(SHADES) - 1, round(float(weight) * len(SHADES)))] * (digits + 1) for weight in row
        )
        yield f"{' ' * (width - text_width(token))}{token} {shades}".rstrip()
    yield ""
    yield "  ".join(f"{number} {_shown(token)}" for number, token in enumerate(alignment.source, 1))


def draw(alignments: Sequence[Alignment]) -> str:
    """An SVG drawing, as text: the matrices one below another."""
    elements: list[str] = []
    top, width = MARGIN, 0
    for alignment in alignments:
        panel, height, panel_width = _panel(alignment, top)
        elements += panel
        top, width = top + height + GAP, max(width, panel_width)
    height = top - GAP + MARGIN
    size = f'width="{width}" height="{height}" viewBox="0 0 {width} {height}"'
    body = "\n".join([f"<style>{STYLE}</style>", f'<rect class="page" width="{width}" height="{height}"/>', *elements])
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">\n{body}\n</svg>\n'


def _panel(alignment: Alignment, top: int) -> tuple[list[str], int, int]:
    """A matrix as SVG elements, its height, and the width that the drawing needs for it."""
    sources, targets = list(map(_shown, alignment.source)), list(map(_shown, alignment.target))
    left = MARGIN + max(map(_pixels, targets)) + 8
    head = max(map(_pixels, sources)) + 8
    columns, rows = len(sources) * CELL, len(targets) * CELL
    first = top + head
    elements = []
    for column, token in enumerate(sources):
        x = left + column * CELL + CELL // 2 + 4
        elements.append(f'<text x="{x}" y="{first - 6}" transform="rotate(-90 {x} {first - 6})">{escape(token)}</text>')
    for row, (token, weights) in enumerate(zip(targets, alignment.shares, strict=True)):
        y = first + row * CELL
        elements.append(f'<text class="end" x="{left - 6}" y="{y + 15}">{escape(token)}</text>')
        for column, weight in enumerate(weights):
            if weight >= 0.005:
                title = escape(f"{token} - {sources[column]}: {weight:.0%}")
                box = f'x="{left + column * CELL}" y="{y}" width="{CELL}" height="{CELL}"'
                elements.append(f'<rect class="cell" {box} opacity="{weight:.2f}"><title>{title}</title></rect>')
    elements.append(f'<rect class="frame" x="{left}" y="{first}" width="{columns}" height="{rows}"/>')
    return elements, head + rows, left + columns + MARGIN


def _shown(token: str) -> str:
    return NEWLINE_SIGN if token == "\n" else token


def text_width(text: str) -> int:
    """The number of columns that a text takes in a terminal."""
    narrow = sum(unicodedata.combining(character) == 0 for character in text)
    return narrow + sum(unicodedata.east_asian_width(character) in "WF" for character in text)


def _pixels(text: str) -> int:
    wide = text_width(text) - len(text)
    return (len(text) - max(0, wide)) * CHARACTER + max(0, wide) * WIDE_CHARACTER
