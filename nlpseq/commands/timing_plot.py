"""A bar chart of layer timings, as a file of its own: SVG with its own colours for light and dark backgrounds.

One group of bars a row: ours above torch.nn's, each as long as its share of the row's slowest, so that small layers can
be read beside large ones; the milliseconds stand at the end, and a mark shows the matrix products alone. The price is
that bars of different rows cannot be compared by eye, which the numbers are for.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

from nlpseq.errors import OptionError

if TYPE_CHECKING:
    from nlpseq.kernels.timing import LayerTiming

WIDTH, LABELS, NUMBERS = 860, 330, 90  # pixels: of all, of the rows' names, of the milliseconds
BAR, GAP, TOP = 11, 9, 66

STYLE = """
text { font: 12px system-ui, sans-serif; fill: #24292f }
.title { font-size: 15px; font-weight: 600 }
.number { font-size: 10.5px; fill: #57606a }
.ours { fill: #2f6fde } .torch { fill: #c9a227 } .plain { fill: #8c959f }
.products { stroke: #24292f; stroke-width: 2 }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 } .number { fill: #9da7b1 } .products { stroke: #e6edf3 } .ours { fill: #5b93f5 }
}
"""

NAMES = {"ours": "ours", "torch": "torch.nn", "plain": "ours without the option"}


def check_target(path: Path) -> None:
    """Raises OptionError if no file can be written there: before minutes are spent on timing."""
    if path.is_dir():
        raise OptionError("--plot", f"{path} is a folder, not a file", f"--plot {path / 'cells.svg'}")
    if not path.absolute().parent.is_dir():
        raise OptionError("--plot", f"there is no folder {path.parent}", f"mkdir -p {path.parent}")
    if not os.access(path.absolute().parent, os.W_OK):
        raise OptionError("--plot", f"the folder {path.absolute().parent} cannot be written to")


def write(path: Path, text: str) -> None:
    """Write a file whole or not at all. Raises OptionError if it cannot be written."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise OptionError("--plot", f"{path} cannot be written: {error.strerror}") from error


def draw(rows: Sequence[LayerTiming], title: str) -> str:
    """The chart as the text of an SVG file."""
    body: list[str] = []
    top = float(TOP)
    for row in rows:
        bars = _bars(row)
        body.extend(_group(row, bars, top))
        top += len(bars) * BAR + GAP
    height = int(top + GAP)
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}">',
            f"<title>{escape(title)}</title>",
            f"<style>{STYLE}</style>",
            f'<text class="title" x="12" y="24">{escape(title)}</text>',
            *_legend({kind for row in rows for kind, _ in _bars(row)}),
            *body,
            "</svg>\n",
        ]
    )


def _bars(row: LayerTiming) -> list[tuple[str, float]]:
    """Kinds of bars and their milliseconds."""
    values = {"ours": row.ours_ms, "torch": row.torch_ms, "plain": row.plain_ms}
    return [(kind, value) for kind, value in values.items() if value is not None]


def _legend(kinds: Iterable[str]) -> Iterator[str]:
    left = 12
    for kind in (kind for kind in NAMES if kind in set(kinds)):
        yield f'<rect class="{kind}" x="{left}" y="38" width="11" height="11"/>'
        yield f'<text x="{left + 16}" y="48">{NAMES[kind]}</text>'
        left += 40 + 7 * len(NAMES[kind])
    yield f'<line class="products" x1="{left + 5}" x2="{left + 5}" y1="37" y2="50"/>'
    yield f'<text x="{left + 13}" y="48">matrix products alone; milliseconds, each row has its own scale</text>'


def _group(row: LayerTiming, bars: Sequence[tuple[str, float]], top: float) -> Iterator[str]:
    room = WIDTH - LABELS - NUMBERS
    scale = room / max(row.gemm_ms, *(value for _, value in bars))
    label = f"{row.cell} {row.dtype} {'x'.join(map(str, row.shape))} {row.direction}"
    label += f", {row.option}" if row.option else ""
    middle = top + len(bars) * BAR / 2
    yield f'<text x="12" y="{middle + 4:.1f}">{escape(label)}</text>'
    for place, (kind, value) in enumerate(bars):
        y, length = top + place * BAR, value * scale
        yield f'<rect class="{kind}" x="{LABELS}" y="{y:.1f}" width="{length:.1f}" height="{BAR - 1}"/>'
        yield f'<text class="number" x="{LABELS + length + 5:.1f}" y="{y + 9:.1f}">{value:.2f}</text>'
    mark = LABELS + row.gemm_ms * scale
    bottom = top + len(bars) * BAR
    yield f'<line class="products" x1="{mark:.1f}" x2="{mark:.1f}" y1="{top - 1:.1f}" y2="{bottom:.1f}"/>'
