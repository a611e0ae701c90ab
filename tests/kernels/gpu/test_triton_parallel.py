"""The parallel cells round a scan: here with a scan of torch's, which Triton's own tests hold theirs against."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor

from nlpseq.cells import unroll as plain
from nlpseq.kernels.gpu.parallel import FACTORS, unroll
from tests.kernels.test_recurrence import OPTIONS, Case


def _scan(a: Tensor, b: Tensor, first: Tensor, reverse: bool = False) -> Tensor:
    states: list[Tensor] = []
    for time in reversed(range(len(a))) if reverse else range(len(a)):
        first = a[time] * first + b[time]
        states.append(first)
    return torch.stack(states[::-1] if reverse else states)


@pytest.fixture(autouse=True)
def scan_of_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    module: Any = ModuleType("nlpseq.kernels.gpu.scan")
    module.scan = _scan
    monkeypatch.setitem(sys.modules, "nlpseq.kernels.gpu.scan", module)


@pytest.mark.parametrize("reverse", [False, True], ids=["forwards", "backwards"])
@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize("name", FACTORS)
def test_values_and_gradients_are_the_plain_loops(
    name: str, option: str, reverse: bool, assert_close: Callable[..., None]
) -> None:
    case = Case(name, option, (5, 3, 4, 7))
    found, expected = case.results(unroll, reverse=reverse), case.results(plain, reverse=reverse)
    for what in expected:
        assert_close(found[what], expected[what], what=what)
