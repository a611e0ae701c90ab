"""The timings of `nlpseq bench cells` as one SVG file, drawn without a library.

Layers of one shape, type, direction and option share a panel and its axis, which is linear and starts at zero: bars
within a panel can be compared, and a large shape does not flatten a small one. The numbers have a column of their own,
so that nothing overlaps. The file has its own background, light or dark as its reader prefers. Text stays text; the
cost is that its width is only estimated, generously.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING, NamedTuple
from xml.sax.saxutils import escape

from nlpseq.errors import NlpseqError, RunError
from nlpseq.files import replace_file
from nlpseq.timing.plan import NO_OPTION

if TYPE_CHECKING:
    from nlpseq.timing.layers import LayerTiming

WIDTH, MARGIN = 860, 20  # pixels, as all lengths below
CHARACTER = 7.2  # the average width of a character of 12 pixels, at most
BAR, BARS_APART, ROWS_APART = 13, 2, 9
NUMBERS = 92  # the column of the bars' values
SHORTEST_ROW = 2 * BAR + BARS_APART  # holds two lines of text
LINE = 17

OURS, TORCH, TORCH_FP32, PLAIN, PRODUCTS = (
    "ours",
    "torch.nn",
    "torch.nn in fp32",
    "ours without the option",
    "products alone",
)
CLASSES = {OURS: "ours", TORCH: "torch", TORCH_FP32: "fp32", PLAIN: "plain", PRODUCTS: "products"}
STYLE = """
text { font: 12px "DejaVu Sans", Verdana, Helvetica, Arial, sans-serif; fill: #1f2328; }
.title { font-size: 17px; font-weight: bold; } .panel { font-weight: bold; } .small { font-size: 11px; }
.faint { fill: #59636e; } .end { text-anchor: end; } .middle { text-anchor: middle; }
.page { fill: #ffffff; } .grid { stroke: #d1d9e0; } .products { stroke: #1f2328; stroke-width: 2; }
.ours { fill: #2f6fde; } .torch { fill: #e08a1e; } .fp32 { fill: #a7adb5; } .plain { fill: #93b6f2; }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3; } .faint { fill: #9198a1; }
  .page { fill: #0d1117; } .grid { stroke: #3d444d; } .products { stroke: #ffffff; }
}
"""


class _Row(NamedTuple):
    """One layer: its name, the name and value of each bar, and the time of its products, in milliseconds."""

    name: str
    bars: list[tuple[str, float]]
    products: float

    @property
    def height(self) -> int:
        return max(SHORTEST_ROW, len(self.bars) * (BAR + BARS_APART) - BARS_APART)


def write_plot(path: Path, timings: Sequence[LayerTiming], conditions: Sequence[str]) -> None:
    """Draw the timings into a file, which is replaced in one step. Raises RunError if it cannot be written."""
    try:
        replace_file(path, draw(timings, conditions).encode("utf-8"))
    except NlpseqError as error:
        raise RunError(error.where, error.what, f"--plot {path.name}") from error


def draw(timings: Sequence[LayerTiming], conditions: Sequence[str]) -> str:
    """The drawing as text; `conditions` are sentences on the machine, the versions and the kernels."""
    panels: dict[str, list[_Row]] = {}
    for timing in timings:
        panels.setdefault(_panel_title(timing), []).append(_row(timing))
    rows = [row for panel in panels.values() for row in panel]
    left = MARGIN + max([_text_width(row.name) for row in rows] + [_text_width("products 0000.00 ms")]) + 10
    title, top = "Time of one recurrent layer, in milliseconds", MARGIN + LINE
    elements = [_text(MARGIN, MARGIN + 12, title, "title")]
    for line in (line for sentence in conditions for line in wrap(sentence, int((WIDTH - 2 * MARGIN) / CHARACTER))):
        top += LINE
        elements.append(_text(MARGIN, top, line, "small faint"))
    top += LINE + 6
    elements += _legend(rows, top)
    top += LINE
    for title, panel in panels.items():
        height = sum(row.height + ROWS_APART for row in panel)
        elements += _panel(title, panel, left, top + LINE, height)
        top += height + 4 * LINE
    size = f'width="{WIDTH}" height="{top}" viewBox="0 0 {WIDTH} {top}"'
    page = f'<rect class="page" width="{WIDTH}" height="{top}"/>'
    body = "\n".join([f"<style>{STYLE}</style>", page, *elements])
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">\n{body}\n</svg>\n'


def _row(timing: LayerTiming) -> _Row:
    times = {
        OURS: timing.ours_ms,
        PLAIN: timing.plain_ms,
        TORCH: timing.torch_ms,
        TORCH_FP32: timing.torch_fp32_ms,
    }
    bars = [(name, value) for name, value in times.items() if value is not None]
    return _Row(timing.cell, bars, timing.gemm_ms)


def _panel_title(timing: LayerTiming) -> str:
    steps, batch, size = timing.shape
    work = "forward" if timing.direction == "forward" else "forward and backward"
    option = "" if timing.option == NO_OPTION else f", with {timing.option}"
    return f"{steps} steps x {batch} sequences x {size} units, {timing.dtype}, {work}{option}"


def _legend(rows: Sequence[_Row], top: int) -> Iterator[str]:
    """The name of each colour that is used."""
    found = {name for row in rows for name, _ in row.bars} | {PRODUCTS}
    x = MARGIN
    for name, style in CLASSES.items():
        if name not in found:
            continue
        if name == PRODUCTS:
            yield _line(x + 5, top - 11, top + 1, style)
        else:
            yield f'<rect class="{style}" x="{x}" y="{top - 10}" width="11" height="11"/>'
        yield _text(x + 17, top, name)
        x += 17 + _text_width(name) + 14


def _panel(title: str, rows: Sequence[_Row], left: int, top: int, height: int) -> Iterator[str]:
    """A title, rows that share an axis, and the numbers of the axis."""
    right = WIDTH - MARGIN - NUMBERS
    ticks = axis_ticks(max(value for row in rows for value in [row.products, *(bar for _, bar in row.bars)]))
    scale = (right - left) / ticks[-1]
    yield _text(MARGIN, top, title, "panel")
    top += 10
    for tick in ticks:
        x = left + tick * scale
        yield _line(x, top, top + height, "grid")
        unit = " ms" if tick == ticks[-1] else ""
        yield _text(x, top + height + 14, f"{tick:g}{unit}", "small faint middle")
    top += ROWS_APART // 2 + 1
    for row in rows:
        yield "<g>"
        shown = ", ".join(f"{name} {_number(value)} ms" for name, value in [*row.bars, (PRODUCTS, row.products)])
        yield f"<title>{escape(f'{row.name}, {title}: {shown}')}</title>"
        yield _text(left - 10, top + 11, row.name, "end")
        yield _text(left - 10, top + 11 + BAR, f"products {_number(row.products)} ms", "small faint end")
        yield from _bars(row, left, top, scale)
        yield "</g>"
        top += row.height + ROWS_APART


def _bars(row: _Row, left: int, top: int, scale: float) -> Iterator[str]:
    y = top
    for name, value in row.bars:
        yield f'<rect class="{CLASSES[name]}" x="{left}" y="{y}" width="{value * scale:.1f}" height="{BAR}"/>'
        yield _text(WIDTH - MARGIN, y + 11, f"{_number(value)} ms", "small end")
        y += BAR + BARS_APART
    yield _line(left + row.products * scale, top - 2, y - BARS_APART + 2, CLASSES[PRODUCTS])


def axis_ticks(largest: float) -> list[float]:
    """Round numbers from zero to the first that is not below `largest`, four to eleven of them."""
    rough = largest / 4
    power = 10.0 ** math.floor(math.log10(rough))
    step = max(factor * power for factor in (1, 2, 5) if factor * power <= rough)
    return [step * number for number in range(math.ceil(largest / step) + 1)]


def _number(value: float) -> str:
    return f"{value:.2f}" if value >= 0.1 else f"{value:.2g}"


def _text_width(text: str) -> int:
    return math.ceil(len(text) * CHARACTER)


def _text(x: float, y: float, text: str, style: str = "") -> str:
    named = f' class="{style}"' if style else ""
    return f'<text{named} x="{x:.1f}" y="{y:.1f}">{escape(text)}</text>'


def _line(x: float, top: float, bottom: float, style: str) -> str:
    return f'<line class="{style}" x1="{x:.1f}" y1="{top:.1f}" x2="{x:.1f}" y2="{bottom:.1f}"/>'
