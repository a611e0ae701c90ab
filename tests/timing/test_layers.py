"""What `nlpseq bench` times: that both sides compute the same, and that turns are taken in turn."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from nlpseq.cells import CELLS, LayerWeights, unroll
from nlpseq.cells.initial import layer_values
from nlpseq.cells.unroll import zero_state
from nlpseq.commands import bench
from nlpseq.errors import BackendError
from nlpseq.kernels.gpu import recurrence as gpu_recurrence
from nlpseq.kernels.machine import describe_machine, processor_name
from nlpseq.models.language_model import LanguageModelOptions, initial_weights
from nlpseq.timing import decode as decode_timing
from nlpseq.timing import layers as timing
from nlpseq.timing.layers import (
    OPTIONS,
    TORCH_LAYERS,
    WARM_UP,
    LayerTiming,
    Plan,
    Shape,
    measure_layers,
    median_seconds,
    torch_layer,
)


def test_turns_are_interleaved_and_the_warm_up_is_not_counted() -> None:
    taken: list[str] = []
    seconds = median_seconds([lambda: taken.append("ours"), lambda: taken.append("torch")], repeats=3)
    assert taken == ["ours", "torch"] * (WARM_UP + 3)
    assert len(seconds) == 2
    assert all(0 <= one < 60 for one in seconds)


@pytest.mark.parametrize("name", TORCH_LAYERS)
def test_torch_is_timed_with_our_weights(name: str, assert_close: Callable[..., None]) -> None:
    shape, cell = Shape(5, 3, 7), CELLS[name]
    values = layer_values(cell, 7, 7, np.random.default_rng(3))
    inputs = torch.randn(*shape, generator=torch.Generator().manual_seed(2))
    weights = LayerWeights(**values)
    expected, _ = unroll(cell, weights, inputs.numpy(), zero_state(cell, 3, 7, values["weight_hh"]))
    with torch.no_grad():
        assert_close(torch_layer(name, [values])(inputs)[0], expected, "float32")


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
@pytest.mark.parametrize("tied", [False, True])
def test_both_sides_of_decode_predict_the_same(cell: str, tied: bool, assert_close: Callable[..., None]) -> None:
    options = LanguageModelOptions(cell=cell, layers=2, hidden_size=6, embedding_size=5, tied=tied)
    weights = initial_weights(options, 256, seed=4)
    ours, theirs = decode_timing.our_step(weights, options), decode_timing.torch_step(weights, options)
    for token in (10, 104, 101, 108):
        assert_close(theirs(token), ours(token), "float32")


SMALL = Shape(6, 3, 7)


def _layer(
    cell: str, option: str = "none", *, direction: str = "both", backend: str = "auto", shape: Shape = SMALL
) -> timing.Layer:
    plan = Plan(cells=[cell], shapes=[shape], options=[option], backend=backend)
    return timing.Layer(plan, CELLS[cell], shape, "fp32", direction, option)


def _results(make: Callable[..., timing.Turn], *arguments: Any) -> list[torch.Tensor]:
    torch.manual_seed(5)
    found: Any = make(*arguments)()
    return [found] if isinstance(found, torch.Tensor) else list(found)


@pytest.mark.parametrize("backend", ["auto", "plain", "torch"])
@pytest.mark.parametrize("direction", ["forward", "both"])
@pytest.mark.parametrize("option", ["none", "lengths"])
@pytest.mark.parametrize("cell", TORCH_LAYERS)
def test_both_sides_of_a_row_compute_the_same(
    cell: str, option: str, direction: str, backend: str, assert_close: Callable[..., None]
) -> None:
    layer = _layer(cell, option, direction=direction, backend=backend)
    ours, theirs = _results(timing.our_turn, layer), _results(timing.torch_turn, layer, "fp32")
    assert len(ours) == len(theirs) == (1 if direction == "forward" else 5)
    for left, right in zip(ours, theirs, strict=True):
        assert_close(left, right, "float32")


@pytest.mark.parametrize("option", OPTIONS[1:])
def test_an_option_changes_what_is_computed(option: str) -> None:
    plain = _results(timing.our_turn, _layer("gru", direction="forward"))[0]
    changed = _results(timing.our_turn, _layer("gru", option, direction="forward"))[0]
    assert plain.shape == changed.shape
    assert not torch.allclose(plain, changed)


def test_lengths_are_uniform_from_one_to_all_steps() -> None:
    lengths = _layer("gru", "lengths", shape=Shape(4, 1000, 1)).lengths()
    assert lengths is not None
    counts = torch.bincount(lengths, minlength=5)
    assert counts[0] == 0
    assert len(counts) == 5
    assert int(counts[1:].min()) > 200


@pytest.mark.parametrize(("direction", "passes"), [("forward", 1), ("both", 3)])
@pytest.mark.parametrize("option", ["none", "lengths"])
@pytest.mark.parametrize("cell", CELLS)
def test_products_are_those_of_a_layer_and_of_real_rows_alone(
    cell: str, option: str, direction: str, passes: int
) -> None:
    layer = _layer(cell, option, direction=direction)
    lengths = layer.lengths()
    rows = 6 * 3 if lengths is None else int(lengths.sum())
    turn = timing.product_turn(layer)
    with FlopCounterMode(display=False) as counter:
        turn()
    products = passes * (1 if CELLS[cell].parallel else 2)  # of the input, and of the hidden state
    assert counter.get_total_flops() == products * 2 * rows * 7 * 7 * CELLS[cell].gates


def test_a_cell_without_a_recurrent_product_has_half_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "products_of", lambda cell: timing.Products(2, 0))
    turn = timing.product_turn(_layer("gru"))
    with FlopCounterMode(display=False) as counter:
        turn()
    assert counter.get_total_flops() == 3 * (2 * 6 * 3 * 7 * 14)


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


def test_a_device_that_works_on_its_own_is_waited_for() -> None:
    taken: list[str] = []
    median_seconds([lambda: taken.append("turn")], 1, lambda: taken.append("wait"))
    assert taken == ["wait", "turn", "wait"] * (WARM_UP + 1)


@pytest.mark.parametrize(
    ("settings", "where", "word"),
    [
        ({"backend": "torch", "cells": ["lstm", "rnn-sigmoid"]}, "--backend", "rnn-sigmoid"),
        ({"backend": "torch", "options": ["zoneout"]}, "--backend", "zoneout"),
        ({"backend": "torch", "options": ["layer-normalisation"]}, "--backend", "layer normalisation"),
        ({"backend": "plain", "dtypes": ["fp32", "bf16"]}, "--dtype", "fp32 only"),
        ({"device": "cuda"}, "--device", "cuda cannot be used"),
    ],
)
def test_what_cannot_be_timed_is_refused_before_anything_is(
    settings: dict[str, Any], where: str, word: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(BackendError, match=word) as refused:
        Plan(**{"cells": ["lstm"], "shapes": [Shape(1, 1, 1)], **settings})
    assert refused.value.where == where
    assert refused.value.hint.startswith("--")


@pytest.mark.parametrize(
    ("unavailable", "backend", "description"),
    [
        (None, "auto", "Triton's kernels, fp32"),
        (None, "torch", "torch's operators, fp32"),
        ("Triton is not installed", "auto", "no Triton: Triton is not installed"),
    ],
)
def test_on_a_gpu_that_is_there_the_line_says_what_runs(
    unavailable: str | None, backend: str, description: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(gpu_recurrence, "unavailable", lambda: unavailable)
    plan = Plan(cells=["lstm"], shapes=[Shape(1, 1, 1)], device="cuda", backend=backend)
    assert description in plan.choices["fp32", "lstm"].reason


@pytest.mark.parametrize(
    ("text", "name"),
    [("model name\t: A Processor @ 1GHz\nmodel name\t: Another\n", "A Processor @ 1GHz"), ("model name\t:\n", None)],
)
def test_the_processors_name_is_read_or_at_least_something_is_said(
    text: str, name: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cpuinfo").write_text(text)
    monkeypatch.setattr("nlpseq.kernels.machine.CPU_INFORMATION", tmp_path / "cpuinfo")
    assert processor_name() == name if name else processor_name()
    monkeypatch.setattr("nlpseq.kernels.machine.CPU_INFORMATION", tmp_path / "none")
    assert processor_name()
    assert f"torch {torch.__version__}" in describe_machine()


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
    monkeypatch.setattr(timing, "device_seconds", lambda turns, repeats, queued=False: median_seconds(turns, repeats))
    (row,) = measure_layers(plan)
    return row


def test_on_a_gpu_each_turn_is_timed_as_a_graph_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "recorded", lambda turn, generators: turn)
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
    def refuse(turn: timing.Turn, generators: Any) -> timing.Turn:
        raise RuntimeError("called a synchronizing CUDA operation")

    monkeypatch.setattr(timing, "recorded", refuse)
    row = _on_a_gpu(monkeypatch, "lengths")
    assert row.graph_ms == {}
    assert row.torch_ms is not None


def test_on_a_processor_a_row_names_no_graphs() -> None:
    (row,) = measure_layers(Plan(cells=["gru"], shapes=[SMALL], repeats=1))
    assert row.graph_ms is None
    assert not any("graph" in name for name in row.as_json())


def test_our_side_is_run_once_for_each_combination(monkeypatch: pytest.MonkeyPatch) -> None:
    turns: list[str] = []

    def made(layer: timing.Layer) -> timing.Turn:
        return lambda: turns.append(layer.direction)

    monkeypatch.setattr(timing, "our_turn", made)
    timing.run_once(Plan(cells=["gru", "lstm"], shapes=[SMALL], direction="each"))
    assert turns == ["forward", "forward", "both", "both"]


class FakeGraph:
    def __init__(self, body: Callable[[], object]) -> None:
        self.replay = body


class FakeRecorder:
    def __init__(self, generators: Any) -> None:
        assert generators == ()

    def record(self, body: Callable[[], Any]) -> tuple[FakeGraph, Any]:
        return FakeGraph(body), body()


def test_what_waits_for_the_device_is_found_before_anything_is_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A recording that fails would leave torch's generators unusable."""
    modes = ["default"]
    for name in ("Stream", "current_stream"):
        monkeypatch.setattr(torch.cuda, name, lambda: Stream())
    monkeypatch.setattr(torch.cuda, "stream", lambda stream: nullcontext())
    monkeypatch.setattr(torch.cuda, "set_sync_debug_mode", modes.append)
    monkeypatch.setattr(timing, "CudaRecorder", FakeRecorder)
    taken: list[str] = []
    timing.recorded(lambda: taken.append(modes[-1]))()
    assert taken == ["default", "error", "default", "default"], "once to compile, once watched, recorded, replayed"

    def waits() -> None:
        if modes[-1] == "error":
            raise RuntimeError("called a synchronizing CUDA operation")

    with pytest.raises(RuntimeError, match="synchronizing"):
        timing.recorded(waits)
    assert modes[-1] == "default"


class Stream:
    def wait_stream(self, other: object) -> None:
        pass


def test_time_on_a_device_is_that_between_its_events(monkeypatch: pytest.MonkeyPatch) -> None:
    class Event:
        clock = 0.0

        def __init__(self, enable_timing: bool) -> None:
            assert enable_timing

        def record(self) -> None:
            self.at = Event.clock

        def synchronize(self) -> None:
            pass

        def elapsed_time(self, other: Any) -> float:
            return float(other.at - self.at)

    def work(milliseconds: float) -> timing.Turn:
        def turn() -> None:
            Event.clock += milliseconds

        return turn

    monkeypatch.setattr(torch.cuda, "Event", Event)
    assert timing.device_seconds([work(2.0), work(500.0)], 3) == pytest.approx([0.002, 0.5])


def test_a_table_for_a_gpu_shows_both_times_of_both_sides() -> None:
    plan = Plan(cells=["gru"], shapes=[SMALL])
    object.__setattr__(plan, "device", "cuda")
    headings = [column.heading for column in bench._columns(plan)]
    for heading in ("ours ms", "torch ms", "ours graph ms", "torch graph ms", "torch / ours, graphs"):
        assert heading in headings
    row = LayerTiming("gru", "both", "bf16", "none", SMALL, 2.0, 1.0, 3.0, graph_ms={"ours_ms": 1.0, "torch_ms": 4.0})
    values = {column.heading: column.value(row) for column in bench._columns(plan)}
    assert values["torch / ours, graphs"] == 4.0
    assert values["ours graph ms"] == 1.0
