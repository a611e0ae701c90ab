"""Timings of layers and of products as text: a table whose rows are written as they come, and its summary.

The width of a column is that of its heading or of the longest value it can hold, so that a row need not wait for the
ones after it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import geometric_mean
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar

from nlpseq.timing.plan import NO_OPTION, Plan
from nlpseq.timing.shapes import shape_text

if TYPE_CHECKING:
    from nlpseq.timing.layers import LayerTiming
    from nlpseq.timing.products import ProductTiming

NUMBER_WIDTH = 9
PRODUCT_LINE = "{:24}" + 5 * f"{{:>{NUMBER_WIDTH}}}" + "\n"


class Timing(Protocol):
    """One row of a table."""

    def as_json(self) -> dict[str, Any]:
        """The row as JSON."""


Row = TypeVar("Row", bound=Timing, contravariant=True)


class Table(Protocol[Row]):
    """A table whose rows are written one by one, and its summary."""

    heading: str

    def line(self, timing: Row) -> str:
        """A row as a line of text."""

    def summary(self, timings: Sequence[Row]) -> list[tuple[str, ...]]:
        """The fields of the lines below all rows."""


class Column(NamedTuple):
    """Numbers of a table, or a ratio of its summary: the heading, the value, and which of several is the slowest."""

    heading: str
    value: Callable[[LayerTiming], float | None]
    slowest: Callable[[Sequence[float]], float] | None = None  # a time has no summary


RATIOS = (
    Column("torch / ours", lambda timing: timing.ratio, min),
    Column("torch fp32 / ours", lambda timing: timing.fp32_ratio, min),
    Column("ours / plain", lambda timing: timing.option_ratio, max),
    Column("ours / products", lambda timing: timing.products_ratio, max),
    Column("torch / ours, graphs", lambda timing: timing.graph_ratio, min),
)


def layer_columns(plan: Plan) -> list[Column]:
    """The columns that have numbers for a plan: milliseconds, then ratios."""
    torch = any(option in (NO_OPTION, "lengths") for option in plan.options)
    fp32 = torch and "bf16" in plan.dtypes
    plain = any(option != NO_OPTION for option in plan.options)
    graph = plan.device == "cuda"
    columns = [
        (True, Column("ours ms", lambda timing: timing.ours_ms)),
        (torch, Column("torch ms", lambda timing: timing.torch_ms)),
        (fp32, Column("torch fp32 ms", lambda timing: timing.torch_fp32_ms)),
        (plain, Column("plain ms", lambda timing: timing.plain_ms)),
        (True, Column("products ms", lambda timing: timing.gemm_ms)),
        (graph, Column("ours graph ms", lambda timing: timing.graph_of("ours_ms"))),
        (graph and torch, Column("torch graph ms", lambda timing: timing.graph_of("torch_ms"))),
        *((shown, column) for shown, column in zip((torch, fp32, plain, True, graph and torch), RATIOS, strict=True)),
    ]
    return [column for shown, column in columns if shown]


class LayerTable:
    """The table of a plan's layers."""

    def __init__(self, plan: Plan) -> None:
        self.columns = layer_columns(plan)
        self.name_widths = {"cell": 16, "type": 4, "direction": 9, "T x B x H": 14}
        if any(option != NO_OPTION for option in plan.options):
            self.name_widths["option"] = 19
        self.heading = self._line([*self.name_widths], [column.heading for column in self.columns])

    def line(self, timing: LayerTiming) -> str:
        """A layer as a line of text."""
        names = [timing.cell, timing.dtype, timing.direction, shape_text(timing.shape), timing.option]
        values = [column.value(timing) for column in self.columns]
        return self._line(
            names[: len(self.name_widths)], ["-" if value is None else f"{value:.2f}" for value in values]
        )

    def summary(self, timings: Sequence[LayerTiming]) -> list[tuple[str, ...]]:
        """For each type, direction and option: the slowest row and the geometric mean of each ratio."""
        groups: dict[str, list[LayerTiming]] = {}
        for timing in timings:
            option = "" if timing.option == NO_OPTION else f" {timing.option}"
            groups.setdefault(f"{timing.dtype} {timing.direction}{option}", []).append(timing)
        return [
            (name, *summary)
            for name, group in groups.items()
            for ratio in RATIOS
            if (summary := _summarise(ratio, group)) is not None
        ]

    def _line(self, names: Sequence[str], numbers: Sequence[str]) -> str:
        left = [text.ljust(width) for text, width in zip(names, self.name_widths.values(), strict=True)]
        widths = [max(NUMBER_WIDTH, len(column.heading)) for column in self.columns]
        right = [text.rjust(width) for text, width in zip(numbers, widths, strict=True)]
        return "  ".join([*left, *right]) + "\n"


def _summarise(ratio: Column, timings: Sequence[LayerTiming]) -> tuple[str, str, str] | None:
    found = [(value, timing) for timing in timings if (value := ratio.value(timing)) is not None]
    if not found or ratio.slowest is None:
        return None
    values = [value for value, _ in found]
    slowest = ratio.slowest(values)
    layer = found[values.index(slowest)][1]
    where = f"slowest {slowest:.2f} ({layer.cell} {shape_text(layer.shape)})"
    return ratio.heading, where, f"geometric mean {geometric_mean(values):.2f}"


class ProductTable:
    """The table of matrix products, in GFLOP/s."""

    heading = PRODUCT_LINE.format("rows x inputs x outputs", "ours", "NumPy", "torch", "limit", "ratio")

    def line(self, timing: ProductTiming) -> str:
        """A product as a line of text."""
        rates = (f"{rate:.3g}" for rate in (timing.ours, timing.numpy, timing.torch, timing.limit))
        return PRODUCT_LINE.format(shape_text(timing.shape), *rates, f"{timing.ratio:.2f}")

    def summary(self, timings: Sequence[ProductTiming]) -> list[tuple[str, ...]]:
        """The slowest ratio and the geometric mean, as one sentence."""
        ratios = [timing.ratio for timing in timings]
        summary = f"slowest {min(ratios):.2f}, geometric mean {geometric_mean(ratios):.2f}"
        return [(f"ours against the better of NumPy and torch: {summary}",)]
