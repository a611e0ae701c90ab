"""torch's own operators under the signature of the plain loop: the same values and gradients, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from test_recurrence import SHAPES, Case

from nlpseq.cells import CELLS
from nlpseq.cells import unroll as plain
from nlpseq.errors import BackendError
from nlpseq.kernels.choice import choose, refuse
from nlpseq.kernels.cpu import compiled
from nlpseq.kernels.torch_layers import OPERATORS, TorchLayers, unroll
from nlpseq.models.language_model import LanguageModelOptions
from nlpseq.training.options import LanguageModelTraining, TrainingOptions
from nlpseq.training.requests import LanguageModelRequest
from nlpseq.training.tasks.language_model import LanguageModelRun

Close = Callable[..., None]


@pytest.mark.parametrize("reverse", [False, True], ids=["forwards", "backwards"])
@pytest.mark.parametrize("option", ["plain", "lengths"])
@pytest.mark.parametrize("name", OPERATORS)
def test_operators_equal_the_plain_loop(name: str, option: str, reverse: bool, assert_close: Close) -> None:
    for shape in SHAPES:
        case = Case(name, option, shape)
        found, expected = case.results(unroll, reverse=reverse), case.results(plain, reverse=reverse)
        assert found.keys() == expected.keys()
        for what in expected:
            assert_close(found[what], expected[what], what=f"{what} of {shape}")


@pytest.mark.parametrize("reverse", [False, True], ids=["forwards", "backwards"])
@pytest.mark.parametrize("lengths", [[0, 2, 0], [4, 0, 4], [3, 1, 2]])
@pytest.mark.parametrize("name", OPERATORS)
def test_sequences_may_be_empty_and_all_may_be_short(
    name: str, lengths: list[int], reverse: bool, assert_close: Close
) -> None:
    case = Case(name)
    case.lengths = torch.tensor(lengths)
    found, expected = case.results(unroll, reverse=reverse), case.results(plain, reverse=reverse)
    for what in expected:
        assert_close(found[what], expected[what], what=what)


def test_without_any_step_the_state_stays() -> None:
    case = Case("lstm")
    outputs, last = unroll(case.cell, case.weights, case.inputs, case.state, torch.zeros(3, dtype=torch.long))
    assert outputs.shape == case.grad_outputs.shape
    assert not outputs.any()
    assert all(torch.equal(value, before) for value, before in zip(last, case.state, strict=True))


@pytest.mark.parametrize("option", ["plain", "lengths"])
@pytest.mark.parametrize("name", OPERATORS)
def test_an_inputs_product_may_be_given(name: str, option: str, assert_close: Close) -> None:
    case = Case(name, option)
    case.inputs = torch.randn(5, 3, case.cell.gates * 7, dtype=torch.float64).requires_grad_()
    case.weights = case.weights._replace(weight_ih=None, bias_ih=None)
    found, expected = case.results(unroll), case.results(plain)
    for what in expected:
        assert_close(found[what], expected[what], what=what)


@pytest.mark.parametrize("option", ["plain", "lengths"])
@pytest.mark.parametrize("name", OPERATORS)
def test_operators_equal_the_plain_loop_in_single_precision(name: str, option: str, assert_close: Close) -> None:
    case = Case(name, option, dtype=torch.float32)
    found, expected = case.results(unroll), case.results(plain)
    for what in expected:
        assert found[what].dtype == torch.float32
        assert_close(found[what], expected[what], "float32", what)


@pytest.mark.parametrize("option", ["plain", "lengths"])
@pytest.mark.parametrize("name", OPERATORS)
def test_half_precision_stays_near_the_truth(name: str, option: str, assert_close: Close) -> None:
    """As the test of our own kernel; the state is in bf16 too, which weights that forget bear."""
    shape, scale = (6, 8, 16, 24), 24**-0.5
    found = Case(name, option, shape, torch.float32, scale).results(TorchLayers(torch.bfloat16))
    expected = Case(name, option, shape, scale=scale).results(plain)
    for what in expected:
        assert found[what].dtype == torch.float32, "results and gradients are of the given type"
        assert_close(found[what], expected[what], "bfloat16", what)


@pytest.mark.parametrize("name", OPERATORS)
def test_nothing_given_is_changed(name: str) -> None:
    case = Case(name, "lengths")
    before = {key: value.detach().clone() for key, value in case.parameters().items()}
    case.results(unroll)
    assert all(torch.equal(before[key], value) for key, value in case.parameters().items())


@pytest.mark.parametrize(
    ("name", "option", "word"),
    [
        *((name, "plain", name) for name in CELLS if name not in OPERATORS),
        ("lstm", "normalised", "layer normalisation"),
        ("lstm", "zoneout-mean", "zoneout"),
    ],
)
def test_what_torch_lacks_is_refused(name: str, option: str, word: str) -> None:
    case = Case(name, option)
    with pytest.raises(BackendError, match=f"torch has no operator with .*{word}") as refused:
        case.results(unroll)
    assert refused.value.hint == "--backend auto"
    settings = {"layer_normalisation": option == "normalised", "zoneout": case.settings.get("zoneout", 0.0)}
    with pytest.raises(BackendError, match=word):
        refuse("torch", name, **settings)
    refuse("auto", name, **settings)


@pytest.mark.parametrize(("precision", "operands"), [("fp32", torch.float32), ("bf16", torch.bfloat16)])
def test_torch_can_be_chosen(precision: str, operands: torch.dtype) -> None:
    made = choose("torch", precision, "cpu")
    assert made.run_layer == TorchLayers(operands)
    assert made.operands == operands
    assert made.reason == f"torch's operators, {precision} (as asked)"


@pytest.mark.parametrize(
    "model", [{"cell": "gru", "reset_before": True}, {"zoneout": 0.1}, {"layer_normalisation": True}]
)
def test_a_run_that_torch_cannot_train_is_refused_before_it_begins(model: dict[str, object], tmp_path: Path) -> None:
    request = LanguageModelRequest(
        corpus=("no-such-file",),
        out=tmp_path / "run",
        model=replace(LanguageModelOptions(), **model),
        training=TrainingOptions(backend="torch", steps=1),
    )
    with pytest.raises(BackendError, match="torch has no operator"):
        LanguageModelRun(request)
    assert not (tmp_path / "run").exists()


def test_training_on_a_gpu_that_is_not_there_is_refused_with_torch_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    training = TrainingOptions(backend="torch", device="cuda", steps=1)
    with pytest.raises(BackendError, match="cuda cannot be used") as refused:
        LanguageModelRun(LanguageModelRequest(corpus=("no-such-file",), out=tmp_path / "run", training=training))
    assert refused.value.hint == "--device cpu"


@pytest.mark.parametrize("backend", ["torch", "eager", "plain"])
def test_a_run_trains_and_scores_on_its_own_backend(
    backend: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run_nothing(*arguments: object, **settings: object) -> None:
        raise AssertionError("another backend was asked for")

    monkeypatch.setattr(compiled, "unroll", run_nothing)
    corpus = tmp_path / "corpus.txt"
    corpus.write_text("the cat sat on the mat. " * 100)
    request = LanguageModelRequest(
        corpus=(str(corpus),),
        out=tmp_path / "run",
        model=LanguageModelOptions(cell="gru", hidden_size=8, embedding_size=4),
        training=LanguageModelTraining(backend=backend, steps=2, batch_size=2, sequence_length=5),
    )
    run = LanguageModelRun(request)
    for _ in run.progress():
        pass
    assert run.finish()["valid"]["loss"] > 0
