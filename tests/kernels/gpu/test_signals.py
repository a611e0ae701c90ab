"""Waits that were given up are found, and nothing is asked while a graph is recorded."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from nlpseq.errors import BackendError
from nlpseq.kernels.gpu import recurrence, signals

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def nothing_launched() -> Iterator[None]:
    signals.forget()
    yield
    signals.forget()


def test_counters_are_zero_and_the_flag_is_the_devices() -> None:
    first, second = signals.signal_for(CPU, 3), signals.signal_for(CPU, 5)
    assert first.counters.tolist() == [0] * 3 and len(second.counters) == 5
    assert first.counters.dtype == torch.int32 and first.failed is second.failed


def test_a_wait_that_was_given_up_raises_once() -> None:
    signal = signals.signal_for(CPU, 1)
    signals.watch(signal)
    signals.raise_if_stuck()
    signal.failed.add_(1)
    signals.raise_if_stuck()
    signals.watch(signal)
    with pytest.raises(BackendError, match="waited too long"):
        signals.raise_if_stuck()
    signals.raise_if_stuck(wait=True)


@pytest.mark.parametrize("known", [False, True], ids=["first launch of all", "flag is there"])
def test_a_recorded_launch_is_looked_at_when_all_is_waited_for(monkeypatch: pytest.MonkeyPatch, known: bool) -> None:
    if known:
        signals.signal_for(CPU, 1)
    monkeypatch.setattr(signals, "recording", lambda: True)
    signal = signals.signal_for(CPU, 1)
    signals.watch(signal)
    signal.failed.add_(1)
    signals.raise_if_stuck(wait=True)
    monkeypatch.setattr(signals, "recording", lambda: False)
    signals.raise_if_stuck()
    with pytest.raises(BackendError, match="waited too long"):
        signals.raise_if_stuck(wait=True)
    assert not signal.failed.item()
    assert (signals.signal_for(CPU, 1).failed is signal.failed) == known, "a graph's memory is its own"


def test_fp32_products_are_named() -> None:
    before = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision("highest")
        assert recurrence.describe_fp32() == "fp32 products (exact: tf32 three times)"
        torch.set_float32_matmul_precision("high")
        assert recurrence.describe_fp32() == "tf32 products"
    finally:
        torch.set_float32_matmul_precision(before)
