"""The rows of `nlpseq bench cells`: what is timed, and what a row says."""

from __future__ import annotations

from typing import Any

import pytest

from nlpseq.timing import layers
from nlpseq.timing.clocks import Turn, median_seconds
from nlpseq.timing.layer_turns import TimedLayer
from nlpseq.timing.layers import LayerTiming, measure_layers, run_once
from nlpseq.timing.plan import OPTIONS, Plan
from nlpseq.timing.shapes import Shape

SMALL = Shape(6, 3, 7)


def test_every_combination_is_a_row_of_its_own() -> None:
    plan = Plan(
        cells=["rnn", "gru-reset-before"],
        shapes=[Shape(2, 2, 3)],
        dtypes=["fp32", "bf16"],
        direction="each",
        options=OPTIONS,
        repeats=1,
    )
    rows = list(measure_layers(plan))
    assert len({(r.cell, r.dtype, r.direction, r.option) for r in rows}) == len(rows) == 2 * 2 * 2 * len(OPTIONS)
    for row in rows:
        assert (row.plain_ms is None) == (row.option == "none")
        beside_torch = row.cell == "rnn" and row.option in ("none", "lengths")
        assert (row.torch_ms is not None) == beside_torch
        assert (row.torch_fp32_ms is not None) == (beside_torch and row.dtype == "bf16")


def test_ratios_are_what_their_names_say() -> None:
    row = LayerTiming("gru", "both", "bf16", "lengths", Shape(1, 1, 1), 2.0, 1.0, 3.0, 4.0, 5.0)
    assert (row.ratio, row.fp32_ratio, row.products_ratio, row.option_ratio) == (1.5, 2.5, 2.0, 0.5)
    bare = LayerTiming("gru", "both", "fp32", "none", Shape(1, 1, 1), 2.0, 1.0)
    assert (bare.ratio, bare.fp32_ratio, bare.option_ratio) == (None, None, None)


class Pretended(str):
    """The processor, under the name of a GPU."""

    def __eq__(self, other: object) -> bool:
        return other == "cuda"

    def __ne__(self, other: object) -> bool:
        return other != "cuda"

    __hash__ = str.__hash__


def _on_a_gpu(monkeypatch: pytest.MonkeyPatch, option: str, cell: str = "gru") -> LayerTiming:
    plan = Plan(cells=[cell], shapes=[SMALL], options=[option], repeats=1)
    object.__setattr__(plan, "device", Pretended("cpu"))
    monkeypatch.setattr(layers, "device_seconds", lambda turns, repeats, queued=False: median_seconds(turns, repeats))
    (row,) = measure_layers(plan)
    return row


def test_on_a_gpu_each_turn_is_timed_as_a_graph_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layers, "recorded", lambda turn, generators: turn)
    row = _on_a_gpu(monkeypatch, "zoneout")
    assert row.graph_ms is not None
    assert list(row.graph_ms) == ["ours_ms", "gemm_ms", "plain_ms"]
    assert row.graph_of("torch_ms") is None
    assert row.graph_ratio is None
    row = _on_a_gpu(monkeypatch, "none")
    assert row.graph_ms is not None
    assert row.graph_ratio == row.graph_ms["torch_ms"] / row.graph_ms["ours_ms"]
    assert row.as_json()["graph_ms"] == row.graph_ms


def test_a_turn_that_no_graph_holds_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(turn: Turn, generators: Any) -> Turn:
        raise RuntimeError("called a synchronizing CUDA operation")

    monkeypatch.setattr(layers, "recorded", refuse)
    row = _on_a_gpu(monkeypatch, "lengths")
    assert row.graph_ms == {}
    assert row.torch_ms is not None


def test_on_a_processor_a_row_names_no_graphs() -> None:
    (row,) = measure_layers(Plan(cells=["gru"], shapes=[SMALL], repeats=1))
    assert row.graph_ms is None
    assert not any("graph" in name for name in row.as_json())


def test_our_side_is_run_once_for_each_combination(monkeypatch: pytest.MonkeyPatch) -> None:
    turns: list[str] = []

    def made(layer: TimedLayer) -> Turn:
        return lambda: turns.append(layer.direction)

    monkeypatch.setattr(layers, "our_turn", made)
    run_once(Plan(cells=["gru", "lstm"], shapes=[SMALL], direction="each"))
    assert turns == ["forward", "forward", "both", "both"]
