"""What each token of a translation looked at, as JSON, as an SVG drawing and as shades in a terminal.

Targets are rows and sources are columns, as in Bahdanau et al. (2015), and a row's shares sum to one. A terminal has
room for the columns' numbers only, so a legend says which token each is; that is the price of a matrix whose columns
are as wide as their shades.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from typing import Any
from xml.sax.saxutils import escape

from nlpseq.models.attention import Alignment

SHADES = " ░▒▓█"
NEWLINE_SIGN = "⏎"

CELL, MARGIN, GAP = 22, 16, 36  # in pixels, as what follows
CHARACTER = 8  # the widest that an average character of 12 pixels is
WIDE_CHARACTER = 13
STYLE = """
text { font: 12px "DejaVu Sans", Verdana, "Noto Sans CJK SC", sans-serif; fill: #1f2328; } .end { text-anchor: end; }
.page { fill: #ffffff; } .frame { fill: none; stroke: #d1d9e0; } .cell { fill: #2f6fde; }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3; } .page { fill: #0d1117; } .frame { stroke: #3d444d; } .cell { fill: #6ea8ff; }
}
"""


def to_json(alignment: Alignment) -> dict[str, Any]:
    """Tokens and shares, the shares with four decimals."""
    shares = [[round(float(share), 4) for share in row] for row in alignment.shares]
    return {"source": alignment.source, "target": alignment.target, "shares": shares}


def shade(alignment: Alignment) -> Iterator[str]:
    """Lines of text: a row of shades for each token of the target, and which column is which token of the source."""
    targets = list(map(_shown, alignment.target))
    width = max(map(text_width, targets))
    digits = len(str(len(alignment.source)))
    numbers = "".join(f"{number:>{digits + 1}}" for number in range(1, len(alignment.source) + 1))
    yield f"{' ' * width} {numbers}"
    for token, row in zip(targets, alignment.shares, strict=True):
        shades = "".join(
            SHADES[min(len(SHADES) - 1, round(float(share) * len(SHADES)))] * (digits + 1) for share in row
        )
        yield f"{' ' * (width - text_width(token))}{token} {shades}".rstrip()
    yield ""
    yield "  ".join(f"{number} {_shown(token)}" for number, token in enumerate(alignment.source, 1))


def draw(alignments: Sequence[Alignment]) -> str:
    """An SVG drawing, a matrix below another, as text."""
    parts: list[str] = []
    top, width = MARGIN, 0
    for alignment in alignments:
        panel, height, needed = _panel(alignment, top)
        parts += panel
        top, width = top + height + GAP, max(width, needed)
    height = top - GAP + MARGIN
    size = f'width="{width}" height="{height}" viewBox="0 0 {width} {height}"'
    body = "\n".join([f"<style>{STYLE}</style>", f'<rect class="page" width="{width}" height="{height}"/>', *parts])
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">\n{body}\n</svg>\n'


def _panel(alignment: Alignment, top: int) -> tuple[list[str], int, int]:
    """A matrix as SVG elements, its height and the width that it needs."""
    sources, targets = list(map(_shown, alignment.source)), list(map(_shown, alignment.target))
    left = MARGIN + max(map(_pixels, targets)) + 8
    head = max(map(_pixels, sources)) + 8
    columns, rows = len(sources) * CELL, len(targets) * CELL
    first = top + head
    parts = []
    for column, token in enumerate(sources):
        x = left + column * CELL + CELL // 2 + 4
        parts.append(f'<text x="{x}" y="{first - 6}" transform="rotate(-90 {x} {first - 6})">{escape(token)}</text>')
    for row, (token, shares) in enumerate(zip(targets, alignment.shares, strict=True)):
        y = first + row * CELL
        parts.append(f'<text class="end" x="{left - 6}" y="{y + 15}">{escape(token)}</text>')
        for column, share in enumerate(shares):
            if share >= 0.005:
                said = escape(f"{token} - {sources[column]}: {share:.0%}")
                place = f'x="{left + column * CELL}" y="{y}" width="{CELL}" height="{CELL}"'
                parts.append(f'<rect class="cell" {place} opacity="{share:.2f}"><title>{said}</title></rect>')
    parts.append(f'<rect class="frame" x="{left}" y="{first}" width="{columns}" height="{rows}"/>')
    return parts, head + rows, left + columns + MARGIN


def _shown(token: str) -> str:
    return NEWLINE_SIGN if token == "\n" else token


def text_width(text: str) -> int:
    """How many columns of a terminal a text takes."""
    narrow = sum(unicodedata.combining(character) == 0 for character in text)
    return narrow + sum(unicodedata.east_asian_width(character) in "WF" for character in text)


def _pixels(text: str) -> int:
    wide = text_width(text) - len(text)
    return (len(text) - max(0, wide)) * CHARACTER + max(0, wide) * WIDE_CHARACTER
