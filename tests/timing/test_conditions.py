"""The line that says what a timing was taken on."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from nlpseq.kernels.machine import describe_machine, processor_name
from nlpseq.timing.conditions import layer_conditions, running_conditions
from nlpseq.timing.plan import Plan
from nlpseq.timing.shapes import Shape


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


def test_each_kernel_is_named_once() -> None:
    plan = Plan(cells=["gru", "lstm"], shapes=[Shape(1, 1, 1)], backend="plain")
    machine, kernel = layer_conditions(plan)
    assert machine == describe_machine()
    assert kernel == plan.choices["fp32", "gru"].reason
    assert running_conditions()[0] == machine
