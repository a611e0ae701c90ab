"""The arithmetic of benchmarks/scaling.py: closed forms, and the messages of a real exchange."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from nlpseq.training.distribution.exchange import GradientExchange

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

import scaling
from scaling import Gradients, Line, Model, Network, Power
from scaling_runs import Counter

NETWORK = Network("a network", 1e9, 1e-4)
DENSE = Gradients(1e6, (), 5)
ALL_ROWS = Power(first=10.0, exponent=1.0)


def _model(fixed: float, each: float, gradients: Gradients, batch: float = 32) -> Model:
    return Model(batch, lambda own, _: Line(fixed, each).at(own), gradients)


def test_one_process_exchanges_nothing() -> None:
    sparse = Gradients(1e6, ((128, ALL_ROWS),), 5)
    assert scaling.exchange_seconds(1, sparse, 32, NETWORK) == 0
    assert _model(0.1, 0.01, sparse).speed_ups(NETWORK, growing=False)[1] == (1, 1)


def test_ring_sends_dense_gradients_almost_twice() -> None:
    assert scaling.exchange_seconds(2, DENSE, 16, NETWORK) == pytest.approx(4e6 / 1e9 + 2 * 5 * 1e-4)
    assert scaling.exchange_seconds(4, DENSE, 8, NETWORK) == pytest.approx(1.5 * 4e6 / 1e9 + 6 * 5 * 1e-4)


def test_rows_of_sparse_gradients_go_to_all_processes() -> None:
    sparse = Gradients(0, ((128, ALL_ROWS), (32, ALL_ROWS)), 0)
    one = 160 * (8 + 4 * 128) + 160 * (8 + 4 * 32)
    assert sparse.sparse_bytes(16) == pytest.approx(one)
    assert scaling.exchange_seconds(4, sparse, 16, NETWORK) == pytest.approx(3 * one / 1e9)


def test_rows_follow_a_power_of_the_sequences() -> None:
    sequences = [2, 4, 8, 16]
    found = Power.through(sequences, [50 * count**0.7 for count in sequences])
    assert found == pytest.approx((50, 0.7))
    assert found.at(32) == pytest.approx(50 * 32**0.7)


def test_step_takes_a_fixed_time_and_one_for_each_sequence() -> None:
    assert Line.through([32, 16, 8, 4], [0.2 + 0.01 * count for count in (32, 16, 8, 4)]) == pytest.approx((0.2, 0.01))
    assert Line.through([1, 2, 4], [0.5, 2.0, 9.0]).fixed == 0
    assert Line.through([1, 2, 4], [3.0, 2.0, 1.0]).each == 0


def test_overlap_hides_the_shorter_of_two_times() -> None:
    assert scaling.step_seconds(0.3, 0.1) == pytest.approx((0.4, 0.3))
    assert scaling.step_seconds(0.1, 0.3) == pytest.approx((0.4, 0.3))


def test_speed_up_of_a_batch_that_stays_and_of_one_that_grows() -> None:
    free = Network("free", float("inf"), 0.0)
    stays = _model(0.2, 0.01, DENSE).speed_ups(free, growing=False)
    assert stays[2].apart == pytest.approx(0.52 / 0.36)
    assert max(stays) == 32  # each process needs a sequence
    grows = _model(0.2, 0.01, DENSE).speed_ups(free, growing=True)
    assert [grows[count].hidden for count in (2, 8, 64)] == pytest.approx([2, 8, 64])


def test_batch_that_does_not_divide_takes_as_long_as_its_largest_share() -> None:
    free = Network("free", float("inf"), 0.0)
    assert _model(0, 0.01, DENSE, batch=5).speed_ups(free, growing=False)[4].apart == pytest.approx(5 / 2)


def test_last_doubling_that_brings_half_a_process_for_each_one() -> None:
    assert scaling.last_that_pays({1: 1, 2: 1.4, 4: 4}) == 1
    assert scaling.last_that_pays({1: 1, 2: 1.6, 4: 2.7, 8: 4.6}) == 4
    assert scaling.last_that_pays({1: 1, 2: 2, 4: 4}) == 4


def test_gpus_launch_a_step_that_one_replays() -> None:
    step = scaling.GpuStep("a step", 64, graph=0.002, launch=0.006, gradients=DENSE)
    free = Network("free", float("inf"), 0.0)
    assert step.model().speed_ups(free, growing=False)[2].apart == pytest.approx(1 / 3)
    assert step.model().speed_ups(free, growing=True)[8].apart == pytest.approx(8 / 3)
    long = step._replace(graph=0.1)
    assert long.model().speed_ups(free, growing=False)[4].apart == pytest.approx(4)


@pytest.mark.parametrize("sizes", [[10, 20], [1 << 18, 5, 5], [200_000, 60_000, 3_000, 1 << 19, 7]])
def test_bundles_are_those_of_the_exchange(sizes: list[int]) -> None:
    parameters = {str(index): torch.zeros(size, requires_grad=True) for index, size in enumerate(sizes)}
    counter: Any = Counter()
    exchange = GradientExchange(parameters, counter)
    exchange.begin()
    total = sum((parameter.sum() for parameter in parameters.values()), torch.zeros(()))
    total.backward()  # type: ignore[no-untyped-call]
    exchange.finish(torch.zeros(()))
    order = [parameters[name].numel() for bundle in exchange.bundles for name in bundle]
    assert counter.messages == scaling.bundles(order) + 1, "the last message is the loss"
    assert counter.dense == sum(sizes) + 1


def test_counter_counts_the_rows_that_a_batch_reads() -> None:
    table = torch.zeros(9000, 16, requires_grad=True)
    counter: Any = Counter()
    exchange = GradientExchange({"table": table}, counter)
    exchange.begin()
    read = torch.nn.functional.embedding(torch.tensor([[3, 5, 3], [5, 8000, 3]]), table, sparse=True)
    read.sum().backward()  # type: ignore[no-untyped-call]
    exchange.finish(torch.zeros(()))
    assert counter.sparse == [(3, 16)]
    assert counter.dense == 1, "the loss"


def test_records_have_steps_of_all_tasks() -> None:
    steps = scaling.gpu_steps()
    assert {step.name.split(",")[0] for step in steps} == {"language model", "translation", "classification"}
    assert all(step.graph > 0 and step.launch > 0 and step.gradients.dense > 1e5 for step in steps)


def test_tables_are_written_between_their_marks() -> None:
    page = "a\n<!-- scaling: one -->\nold\n<!-- scaling: end -->\nb\n<!-- scaling: two -->\n<!-- scaling: end -->\n"
    renewed = scaling.written(page, "one", "new\n")
    assert "old" not in renewed
    assert scaling.written(renewed, "one", "new\n") == renewed
    assert renewed.index("new") < renewed.index("b\n")
    with pytest.raises(ValueError, match="three"):
        scaling.written(page, "three", "")


def test_page_has_a_mark_for_each_table() -> None:
    page = (Path(__file__).parents[1] / "docs" / "scaling.md").read_text(encoding="utf-8")
    for name in ("machine", "network", "steps", "gradients", "pays", "gpu", "predict", "price"):
        scaling.written(page, name, "")


def test_table_is_markdown() -> None:
    table = scaling.markdown((("a", "b"), [("1", "2")]))
    assert table == "| a | b |\n| --- | --- |\n| 1 | 2 |\n"


def test_price_is_set_by_name() -> None:
    assert scaling.read_price("h100=2.5") == ("h100", 2.5)
    for wrong in ("h200=2.5", "h100", "h100=much"):
        with pytest.raises((ValueError, argparse.ArgumentTypeError)):
            scaling.read_price(wrong)
