"""An explicit request is met or refused with the reason; `auto` says what it chose."""

from __future__ import annotations

import pytest
import torch

from nlpseq.cells import CELLS, LayerWeights
from nlpseq.cells import unroll as plain_unroll
from nlpseq.errors import BackendError
from nlpseq.kernels import choice
from nlpseq.kernels.choice import choose, refuse
from nlpseq.kernels.cpu import compiled as native_recurrence
from nlpseq.kernels.gpu import recurrence as gpu_recurrence
from nlpseq.native.memory import keep_freed_memory


@pytest.mark.parametrize(
    ("request_", "where", "word"),
    [
        (("native", "auto", "cuda"), "backend", "native runs on the CPU"),
        (("triton", "auto", "cpu"), "backend", "triton runs on a GPU"),
        (("auto", "fp16", "cpu"), "precision", "fp16"),
        (("plain", "bf16", "cpu"), "precision", "plain"),
    ],
)
def test_what_cannot_run_is_refused_with_the_reason_and_a_way_out(
    request_: tuple[str, str, str], where: str, word: str
) -> None:
    with pytest.raises(BackendError, match=word) as refused:
        choose(*request_)
    assert refused.value.where == where
    assert refused.value.hint.startswith("--")
    assert refused.value.exit_status == 1


@pytest.mark.parametrize("fast", [True, False])
def test_auto_takes_bf16_only_where_the_processor_has_it(fast: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice, "has_fast_bf16", lambda: fast)
    made = choose("auto", "auto", "auto")
    assert made.operands == (torch.bfloat16 if fast else torch.float32)
    assert ("bf16" if fast else "fp32") in made.reason


@pytest.mark.parametrize(("asked", "operands"), [("bf16", torch.bfloat16), ("fp32", torch.float32)])
@pytest.mark.parametrize("fast", [True, False])
def test_a_precision_that_was_asked_for_is_used(
    asked: str, operands: torch.dtype, fast: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choice, "has_fast_bf16", lambda: fast)
    made = choose("auto", asked, "cpu")
    assert made.operands == operands
    assert asked in made.reason
    assert "as asked" in made.reason


def test_the_plain_loop_can_be_asked_for() -> None:
    made = choose("plain", "auto", "cpu")
    assert made.run_layer is plain_unroll
    assert made.operands == torch.float32
    assert "plain" in made.reason


def test_what_was_chosen_runs_a_layer() -> None:
    cell = CELLS["gru"]
    weights = LayerWeights(torch.ones(6, 3), torch.ones(6, 2), torch.ones(6), torch.ones(6))
    for backend in ("auto", "eager", "torch", "plain"):
        made = choose(backend, "fp32", "auto")
        outputs, _ = made.run_layer(cell, weights, torch.ones(4, 1, 3), cell.state(torch.zeros(1, 2)))
        assert outputs.shape == (4, 1, 2)


def test_a_loop_that_nobody_compiled_is_refused_or_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native_recurrence, "unavailable", lambda: "nobody compiled it")
    with pytest.raises(BackendError, match="nobody compiled it") as refused:
        choose("native", "fp32", "cpu")
    assert refused.value.hint == "--backend auto"
    assert "nobody compiled it" in choose("auto", "fp32", "cpu").reason


def test_a_gpu_gets_tritons_kernels_or_torchs_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(gpu_recurrence, "unavailable", lambda: "nobody wrote one")
    with pytest.raises(BackendError, match="triton cannot run here: nobody wrote one") as refused:
        choose("triton", "auto", "cuda")
    assert refused.value.hint == "--backend torch"
    assert "nobody wrote one" in choose("auto", "auto", "cuda").reason
    monkeypatch.setattr(gpu_recurrence, "unavailable", lambda: None)
    made = choose("auto", "fp16", "cuda")
    assert made.operands == torch.float16
    assert "Triton" in made.reason
    assert made.device.type == choose("auto", "auto", "auto").device.type == "cuda"
    assert choose("eager", "auto", "auto").device.type == "cpu", "a backend of the CPU decides, too"


@pytest.mark.parametrize(
    ("hidden", "version", "why"),
    [("0", None, "built without CUDA"), ("", "13.0", "CUDA_VISIBLE_DEVICES is empty"), ("0", "13.0", "finds no GPU")],
)
def test_a_gpu_that_cannot_be_used_is_refused_with_the_reason(
    hidden: str, version: str | None, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", hidden)
    monkeypatch.setattr(torch.version, "cuda", version)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(BackendError, match=why) as refused:
        choose("auto", "auto", "cuda")
    assert (refused.value.where, refused.value.hint) == ("device", "--device cpu")
    assert choose("auto", "auto", "auto").device.type == "cpu"


def test_the_eager_loop_has_no_parallel_cells() -> None:
    with pytest.raises(BackendError, match="eager has no kernel for the cell mingru"):
        refuse("eager", "mingru")
    refuse("eager", "gru", layer_normalisation=True, zoneout=0.1)


def test_keeping_freed_memory_is_possible_or_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.libc_ver", lambda: ("", ""))
    assert keep_freed_memory() is False
