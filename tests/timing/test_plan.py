"""A plan refuses what cannot be timed, and says which types are timed and why."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from nlpseq.errors import BackendError, OptionError
from nlpseq.kernels.gpu import recurrence as gpu_recurrence
from nlpseq.timing.plan import Plan, default_dtypes, why_dtypes
from nlpseq.timing.shapes import Shape


@pytest.mark.parametrize(
    ("settings", "where", "word"),
    [
        ({"backend": "torch", "cells": ["lstm", "rnn-sigmoid"]}, "backend", "rnn-sigmoid"),
        ({"backend": "torch", "options": ["zoneout"]}, "backend", "zoneout"),
        ({"backend": "torch", "options": ["layer-normalisation"]}, "backend", "layer normalisation"),
        ({"backend": "plain", "dtypes": ["fp32", "bf16"]}, "dtype", "fp32 only"),
        ({"device": "cuda"}, "device", "cuda cannot be used"),
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
    if unavailable is None:
        pytest.importorskip("triton", reason="Triton is not installed")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(gpu_recurrence, "unavailable", lambda: unavailable)
    plan = Plan(cells=["lstm"], shapes=[Shape(1, 1, 1)], device="cuda", backend=backend)
    assert description in plan.choices["fp32", "lstm"].reason


@pytest.mark.parametrize(
    ("settings", "where", "hint"),
    [
        ({"cells": ["gru", "gru-reset"]}, "cell", "--cell gru-reset-before"),
        ({"dtypes": ["fp8"]}, "dtype", "--dtype fp32"),
        ({"options": ["zoneuot"]}, "with", "--with zoneout"),
        ({"cells": ["mingru"], "options": ["weight-drop"]}, "with", "--with zoneout"),
        ({"direction": "bath"}, "direction", "--direction both"),
        ({"backend": "torhc"}, "backend", "--backend torch"),
        ({"device": "cpo"}, "device", "--device cpu"),
    ],
)
def test_a_name_that_is_unknown_is_refused_with_the_nearest(settings: dict[str, Any], where: str, hint: str) -> None:
    with pytest.raises(OptionError) as refused:
        Plan(**{"cells": ["lstm"], "shapes": [Shape(1, 1, 1)], **settings})
    assert (refused.value.where, refused.value.hint) == (where, hint)


def test_a_name_that_is_listed_twice_counts_once() -> None:
    plan = Plan(cells=["gru", "rnn", "gru"], shapes=[Shape(1, 1, 1)], options=["lengths", "lengths"])
    assert (plan.cells, plan.options, plan.dtypes) == (("gru", "rnn"), ("lengths",), ("fp32",))


@pytest.mark.parametrize(
    ("fast", "backend", "device", "dtypes"),
    [
        (True, "auto", "cpu", ("fp32", "bf16")),
        (False, "auto", "cpu", ("fp32",)),
        (True, "plain", "cpu", ("fp32",)),
        (False, "auto", "cuda", ("fp32", "bf16")),
    ],
)
def test_bf16_is_timed_by_default_if_the_hardware_multiplies_it(
    fast: bool, backend: str, device: str, dtypes: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nlpseq.kernels.choice.has_fast_bf16", lambda: fast)
    assert default_dtypes(backend, device) == dtypes


@pytest.mark.parametrize(
    ("fast", "backend", "dtype", "reason"),
    [
        (True, "auto", "fp32", "bf16 products in hardware"),
        (False, "auto", "bf16", "no bf16 in hardware: emulated"),
        (False, "auto", "fp32", "fp32 only: no bf16 products in hardware"),
        (True, "plain", "fp32", "the plain loop runs in fp32 only"),
    ],
)
def test_the_reason_for_the_types_is_told(
    fast: bool, backend: str, dtype: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nlpseq.kernels.choice.has_fast_bf16", lambda: fast)
    assert why_dtypes(Plan(cells=["gru"], shapes=[Shape(1, 1, 1)], dtypes=[dtype], backend=backend)) == reason
