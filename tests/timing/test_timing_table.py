"""Timings as text."""

from __future__ import annotations

import pytest

from nlpseq.timing.layers import LayerTiming
from nlpseq.timing.plan import Plan
from nlpseq.timing.products import ProductTiming
from nlpseq.timing.shapes import ProductShape, Shape
from nlpseq.timing.table import LayerTable, ProductTable, layer_columns
from nlpseq.timing.throughput import Throughput

SMALL = Shape(6, 3, 7)


def test_a_table_for_a_gpu_shows_both_times_of_both_sides() -> None:
    plan = Plan(cells=["gru"], shapes=[SMALL])
    object.__setattr__(plan, "device", "cuda")
    headings = [column.heading for column in layer_columns(plan)]
    for heading in ("ours ms", "torch ms", "ours graph ms", "torch graph ms", "torch / ours, graphs"):
        assert heading in headings
    row = LayerTiming("gru", "both", "bf16", "none", SMALL, 2.0, 1.0, 3.0, graph_ms={"ours_ms": 1.0, "torch_ms": 4.0})
    values = {column.heading: column.value(row) for column in layer_columns(plan)}
    assert values["torch / ours, graphs"] == 4.0
    assert values["ours graph ms"] == 1.0


def test_a_line_is_as_wide_as_the_heading_and_leaves_out_what_was_not_timed() -> None:
    table = LayerTable(Plan(cells=["gru"], shapes=[SMALL], options=["none", "zoneout"]))
    line = table.line(LayerTiming("gru", "both", "fp32", "zoneout", SMALL, 3.0, 2.0, None, 1.5))
    assert len(line) == len(table.heading)
    assert line.split() == ["gru", "fp32", "both", "6x3x7", "zoneout", "3.00", "-", "1.50", "2.00", "-", "2.00", "1.50"]


def test_the_slowest_row_is_the_one_where_ours_does_worst() -> None:
    rows = [
        LayerTiming("lstm", "both", "fp32", "none", SMALL, 2.0, 1.0, 8.0),
        LayerTiming("gru", "both", "fp32", "none", SMALL, 4.0, 1.0, 4.0),
    ]
    table = LayerTable(Plan(cells=["lstm", "gru"], shapes=[SMALL]))
    assert table.summary(rows) == [
        ("fp32 both", "torch / ours", "slowest 1.00 (gru 6x3x7)", "geometric mean 2.00"),
        ("fp32 both", "ours / products", "slowest 4.00 (gru 6x3x7)", "geometric mean 2.83"),
    ]


def test_products_as_text() -> None:
    table = ProductTable()
    rows = [
        ProductTiming(ProductShape(3, 4, 5), "avx2", 150.0, 100.0, 120.0, 1234.5),
        ProductTiming(ProductShape(3, 4, 6), "avx2", 80.0, 20.0, 10.0, 100.0),
    ]
    assert table.heading.split() == ["rows", "x", "inputs", "x", "outputs", "ours", "NumPy", "torch", "limit", "ratio"]
    assert table.line(rows[0]).split() == ["3x4x5", "150", "100", "120", "1.23e+03", "1.25"]
    assert len(table.line(rows[0])) == len(table.heading)
    assert table.summary(rows) == [("ours against the better of NumPy and torch: slowest 1.25, geometric mean 2.24",)]


@pytest.mark.parametrize(
    ("theirs", "shown"),
    [
        (500.0, ["1,234 lines a second", "500 lines a second", "2.47"]),
        (None, ["1,234 lines a second", "has no such cell", "-"]),
    ],
)
def test_two_rates_as_text(theirs: float | None, shown: list[str]) -> None:
    names, values = zip(*Throughput("translate", "lines", 1234.4, "torch", theirs).rows(), strict=True)
    assert names == ("ours", "torch", "ratio")
    assert list(values) == shown
