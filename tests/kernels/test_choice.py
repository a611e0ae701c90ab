"""An explicit request is met or refused with the reason; `auto` says what it chose."""

from __future__ import annotations

import pytest
import torch

from nlpseq.cells import CELLS, LayerWeights
from nlpseq.cells import unroll as plain_unroll
from nlpseq.errors import BackendError
from nlpseq.kernels import choice
from nlpseq.kernels.choice import choose, refuse, rounded_products
from nlpseq.kernels.cpu import compiled as native_recurrence
from nlpseq.kernels.cpu import eager, recurrence
from nlpseq.kernels.gpu import recurrence as gpu_recurrence
from nlpseq.kernels.torch_layers import TorchLayers
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


@pytest.mark.parametrize(("asked", "inside"), [("bf16", "medium"), ("fp32", "highest")])
def test_torch_rounds_its_own_products_as_far_as_layers_do(asked: str, inside: str) -> None:
    torch.set_float32_matmul_precision("highest")
    with rounded_products(choose("auto", asked, "cpu")):
        assert torch.get_float32_matmul_precision() == inside
    assert torch.get_float32_matmul_precision() == "highest"


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
    monkeypatch.setattr(native_recurrence, "unavailable", lambda: "it was not compiled")
    with pytest.raises(BackendError, match="it was not compiled") as refused:
        choose("native", "fp32", "cpu")
    assert refused.value.hint == "--backend auto"
    assert "it was not compiled" in choose("auto", "fp32", "cpu").reason


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


@pytest.mark.parametrize(
    ("backend", "exact"),
    [
        ("auto", recurrence.unroll),
        ("native", native_recurrence.unroll),
        ("eager", eager.unroll),
        ("torch", TorchLayers(torch.float32)),
        ("plain", plain_unroll),
    ],
)
def test_final_scores_are_made_by_the_backend_that_trained(backend: str, exact: object) -> None:
    if backend == "native" and native_recurrence.unavailable():
        pytest.skip("no compiled loop")
    assert choose(backend, "auto", "cpu").exact == exact


def test_a_cell_without_a_kernel_runs_on_the_plain_loop_and_the_line_says_so() -> None:
    made = choose("auto", "auto", "cpu", "lstm-peephole")
    assert made.run_layer is made.exact is plain_unroll
    assert made.operands == torch.float32
    assert made.reason == "plain loop, fp32: no compiled kernel for lstm-peephole"


@pytest.mark.parametrize(
    ("backend", "precision", "where", "reason", "hint"),
    [
        ("native", "auto", "backend", "native has no kernel for the cell lstm-peephole", "--backend auto"),
        ("eager", "auto", "backend", "eager has no kernel for the cell lstm-peephole", "--backend auto"),
        ("torch", "auto", "backend", "torch has no operator with the cell lstm-peephole", "--backend auto"),
        ("auto", "bf16", "precision", "the plain loop runs in fp32 only", "--precision auto"),
    ],
)
def test_what_lacks_the_cell_is_refused(backend: str, precision: str, where: str, reason: str, hint: str) -> None:
    with pytest.raises(BackendError, match=reason) as refused:
        choose(backend, precision, "cpu", "lstm-peephole")
    assert (refused.value.where, refused.value.hint) == (where, hint)


def test_without_compiled_code_a_parallel_cell_runs_on_the_plain_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native_recurrence, "unavailable", lambda: "it was not compiled")
    assert choose("auto", "auto", "cpu", "mingru").reason == "plain loop, fp32: it was not compiled"
    assert "eager loop (it was not compiled)" in choose("auto", "fp32", "cpu", "gru").reason


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """A GPU that torch and Triton seem to be able to use."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(gpu_recurrence, "unavailable", lambda: None)
    monkeypatch.setattr(gpu_recurrence, "has_cell", lambda cell: cell in ("gru", "rnn-sigmoid"))
    return monkeypatch


def test_on_a_gpu_a_cell_runs_on_what_has_it(gpu: pytest.MonkeyPatch) -> None:
    assert "Triton's kernels, bf16" in choose("auto", "auto", "auto", "gru").reason
    assert "Triton's kernels, bf16" in choose("auto", "auto", "cuda", "mingru").reason
    assert choose("auto", "auto", "cuda", "lstm").reason.endswith("no Triton: no kernel for lstm"), "torch has it"
    made = choose("auto", "auto", "cuda", "lstm-peephole")
    assert (made.reason, made.device.type) == ("plain loop, fp32: no kernel for lstm-peephole", "cuda")
    assert made.run_layer is made.exact is plain_unroll
    assert choose("auto", "auto", "auto", "lstm-peephole").device.type == "cpu", "a GPU is not worth it for the loop"
    with pytest.raises(BackendError, match="triton cannot run here: no kernel for lstm-peephole") as refused:
        choose("triton", "auto", "cuda", "lstm-peephole")
    assert refused.value.hint == "--backend auto"


def test_on_a_gpu_without_triton_what_torch_lacks_runs_on_the_plain_loop(gpu: pytest.MonkeyPatch) -> None:
    gpu.setattr(gpu_recurrence, "unavailable", lambda: "Triton is not installed")
    assert choose("auto", "auto", "cuda", "gru").reason.startswith("torch's operators, bf16")
    for settings in ({"layer_normalisation": True}, {"zoneout": 0.1}):
        made = choose("auto", "auto", "cuda", "gru", **settings)
        assert made.reason == "plain loop, fp32: Triton is not installed"
    with pytest.raises(BackendError, match="layer normalisation") as refused:
        choose("torch", "auto", "cuda", "gru", layer_normalisation=True)
    assert refused.value.hint == "--backend auto"


def test_the_layers_of_a_gpu_run_a_cell_without_a_kernel_by_the_plain_loop(gpu: pytest.MonkeyPatch) -> None:
    """A trained model is used on a GPU by these layers, whatever its cell."""
    layers, cell = choose("triton", "fp32", "cuda").run_layer, CELLS["lstm"]
    weights = LayerWeights(torch.ones(8, 3), torch.ones(8, 2), torch.ones(8), torch.ones(8))
    state = cell.state(torch.zeros(1, 2), torch.zeros(1, 2))
    found, _ = layers(cell, weights, torch.ones(4, 1, 3), state)
    expected, _ = plain_unroll(cell, weights, torch.ones(4, 1, 3), state)
    assert torch.equal(found, expected)
