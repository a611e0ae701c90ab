"""The fast loops compute what the plain loop computes, with every option, and so do their gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode

from nlpseq.cells import CELLS, Cell, LayerWeights
from nlpseq.cells import unroll as plain
from nlpseq.kernels.cpu import compiled as native_recurrence
from nlpseq.kernels.cpu import recurrence
from nlpseq.native import recurrence as native

Close = Callable[..., None]
Loop = Callable[..., Any]


def _without_compiled_part(cell: Cell, *arguments: Any, **settings: Any) -> Any:
    """What runs where there is no compiled loop."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(native_recurrence, "unavailable", lambda: "it was not compiled")
        return recurrence.unroll(cell, *arguments, **settings)


LOOPS = {"eager": _without_compiled_part, "compiled": recurrence.unroll}
CELLS_WITH_LOOPS = tuple(name for name in CELLS if name in native.CELLS)

OPTIONS = ("plain", "normalised", "zoneout-masks", "zoneout-mean", "lengths", "all")
SHAPES = [(5, 3, 4, 7), (1, 3, 4, 7), (5, 1, 4, 7), (2, 2, 1, 1)]  # T, B, I, H


@pytest.fixture(params=LOOPS)
def fast(request: pytest.FixtureRequest) -> Loop:
    """Each of the fast loops."""
    reason = native_recurrence.unavailable()
    if request.param == "compiled" and reason:
        pytest.skip(f"no compiled loop: {reason}")
    return LOOPS[request.param]


class Case:
    """Everything that a layer is given, drawn at random: no dimension equals another, no value is zero."""

    def __init__(
        self,
        name: str,
        option: str = "plain",
        shape: tuple[int, ...] = SHAPES[0],
        dtype: torch.dtype = torch.float64,
        scale: float = 0.5,
    ) -> None:
        generator = np.random.default_rng(3)
        steps, batch, size, hidden = shape
        self.cell = CELLS[name]
        width = self.cell.gates * hidden

        def draw(*sizes: int) -> Tensor:
            return torch.from_numpy(generator.normal(0, scale, sizes)).to(dtype).requires_grad_()

        everything = option == "all"
        gains = [draw(width), draw(width)] if everything or option == "normalised" else [None, None]
        self.weights = LayerWeights(draw(width, size), draw(width, hidden), draw(width), draw(width), *gains)
        if self.cell.parallel:
            self.weights = self.weights._replace(weight_hh=None, bias_hh=None, gain_hh=None)
        if self.cell.peepholes:
            self.weights = self.weights._replace(peepholes=draw(self.cell.peepholes, hidden))
        self.inputs = draw(steps, batch, size)
        fields = self.cell.state._fields  # type: ignore[attr-defined]
        self.state = self.cell.state(*(draw(batch, hidden) for _ in fields))
        lengths = generator.integers(1, steps + 1, batch)
        self.lengths = torch.from_numpy(lengths) if everything or option == "lengths" else None
        self.settings: dict[str, Any] = {}
        if everything or option.startswith("zoneout"):
            self.settings["zoneout"] = 0.3
        if everything or option == "zoneout-masks":
            self.settings["masks"] = torch.from_numpy(generator.random((steps, batch, hidden)) < 0.3).to(dtype)
        self.grad_outputs = draw(steps, batch, hidden).detach()
        self.grad_last = [draw(batch, hidden).detach() for _ in fields]

    def parameters(self) -> dict[str, Tensor]:
        """All that wants a gradient, by name."""
        named = {**self.weights._asdict(), "inputs": self.inputs, **self.state._asdict()}
        return {name: value for name, value in named.items() if value is not None}

    def results(self, unroll: Callable[..., Any], **settings: Any) -> dict[str, Tensor]:
        """Outputs, last state and all gradients, by name."""
        outputs, last = unroll(
            self.cell, self.weights, self.inputs, self.state, self.lengths, **self.settings, **settings
        )
        total = (outputs * self.grad_outputs).sum()
        for value, grad in zip(last, self.grad_last, strict=True):
            total = total + (value * grad).sum()
        grads = torch.autograd.grad(total, list(self.parameters().values()))
        named = {f"gradient of {name}": grad for name, grad in zip(self.parameters(), grads, strict=True)}
        return {"outputs": outputs, **{f"last {k}": v for k, v in last._asdict().items()}, **named}


@pytest.mark.parametrize("reverse", [False, True], ids=["forwards", "backwards"])
@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize("name", CELLS_WITH_LOOPS)
def test_kernel_equals_plain_loop(fast: Loop, name: str, option: str, reverse: bool, assert_close: Close) -> None:
    for shape in SHAPES:
        if shape[3] == 1 and option in ("normalised", "all"):
            continue  # a single value that is normalised is always zero
        case = Case(name, option, shape)
        found, expected = case.results(fast, reverse=reverse), case.results(plain, reverse=reverse)
        assert found.keys() == expected.keys()
        for what in expected:
            assert_close(found[what], expected[what], what=f"{what} of {shape}")


@pytest.mark.parametrize("option", ["plain", "all"])
@pytest.mark.parametrize("name", CELLS_WITH_LOOPS)
def test_kernel_equals_plain_loop_in_single_precision(fast: Loop, name: str, option: str, assert_close: Close) -> None:
    case = Case(name, option, dtype=torch.float32)
    found, expected = case.results(fast), case.results(plain)
    for what in expected:
        assert found[what].dtype == torch.float32
        assert_close(found[what], expected[what], "float32", what)


@pytest.mark.parametrize("option", ["plain", "all"])
@pytest.mark.parametrize("name", CELLS_WITH_LOOPS)
def test_gradients_agree_with_finite_differences(fast: Loop, name: str, option: str) -> None:
    if name == "rnn-relu" and option == "all":
        pytest.skip("finite differences are wrong where a rectifier's kink is near")
    case = Case(name, option, (3, 2, 1, 2))
    parameters = case.parameters()

    def run(*values: Tensor) -> tuple[Tensor, ...]:
        named = dict(zip(parameters, values, strict=True))
        weights = LayerWeights(*(named.get(field) for field in LayerWeights._fields))
        state = type(case.state)(*(named[field] for field in case.state._fields))
        outputs, last = fast(case.cell, weights, named["inputs"], state, case.lengths, **case.settings)
        return (outputs, *last)

    assert torch.autograd.gradcheck(run, tuple(parameters.values()))


TORCH_LAYERS: dict[str, Callable[[int, int], torch.nn.RNNBase]] = {
    "rnn": lambda size, hidden: torch.nn.RNN(size, hidden, nonlinearity="tanh"),
    "rnn-relu": lambda size, hidden: torch.nn.RNN(size, hidden, nonlinearity="relu"),
    "lstm": torch.nn.LSTM,
    "gru": torch.nn.GRU,
}


@pytest.mark.parametrize("name", TORCH_LAYERS)
def test_values_and_gradients_are_torchs(fast: Loop, name: str, assert_close: Close) -> None:
    case = Case(name, dtype=torch.float32, shape=(9, 5, 4, 7))
    layer = TORCH_LAYERS[name](4, 7)
    with torch.no_grad():
        for field in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
            getattr(layer, f"{field}_l0").copy_(getattr(case.weights, field))
    first = [value[None] for value in case.state]
    outputs, last = layer(case.inputs, tuple(first) if name == "lstm" else first[0])
    last = last if name == "lstm" else (last,)
    total = (outputs * case.grad_outputs).sum()
    total = total + sum((value[0] * grad).sum() for value, grad in zip(last, case.grad_last, strict=True))
    given = {f"{field}_l0": f"gradient of {field}" for field in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")}
    wanted = [getattr(layer, field) for field in given] + [case.inputs, *case.state]
    names = [*given.values(), "gradient of inputs", *(f"gradient of {field}" for field in case.state._fields)]
    found = case.results(fast)
    assert_close(found["outputs"], outputs, "float32", "outputs")
    for what, expected in zip(names, torch.autograd.grad(total, wanted), strict=True):
        assert_close(found[what], expected, "float32", what)


@pytest.mark.parametrize("option", ["plain", "all"])
@pytest.mark.parametrize("name", CELLS_WITH_LOOPS)
def test_half_precision_operands_stay_near_the_truth(fast: Loop, name: str, option: str, assert_close: Close) -> None:
    if name == "rnn-relu" and option == "all":
        pytest.skip("where a rectifier's kink is near, rounding decides whether there is a gradient")
    """Of weights small enough that a recurrence forgets: a chaotic one would multiply every rounding error."""
    shape, scale = (6, 8, 16, 24), 24**-0.5
    found = Case(name, option, shape, torch.float32, scale).results(fast, operands=torch.bfloat16)
    expected = Case(name, option, shape, scale=scale).results(plain)
    for what in expected:
        assert found[what].dtype == torch.float32, "the state and all gradients stay in fp32"
        assert_close(found[what], expected[what], "bfloat16", what)


def test_half_precision_is_really_used(fast: Loop) -> None:
    case = Case("lstm", dtype=torch.float32)
    full, half = case.results(fast), case.results(fast, operands=torch.bfloat16)
    assert not torch.equal(full["outputs"], half["outputs"])


@pytest.mark.parametrize("name", CELLS_WITH_LOOPS)
def test_inputs_need_not_be_contiguous(fast: Loop, name: str, assert_close: Close) -> None:
    case = Case(name, "lengths")
    expected = case.results(plain)
    case.inputs = case.inputs.detach().transpose(0, 1).contiguous().transpose(0, 1).requires_grad_()
    case.grad_outputs = case.grad_outputs.transpose(0, 1).contiguous().transpose(0, 1)
    found = case.results(fast)
    for what in expected:
        assert_close(found[what], expected[what], what=what)


@pytest.mark.parametrize("name", CELLS_WITH_LOOPS)
def test_nothing_given_is_changed(fast: Loop, name: str) -> None:
    case = Case(name, "all")
    before = {key: value.detach().clone() for key, value in case.parameters().items()}
    case.results(fast)
    with torch.no_grad():
        fast(case.cell, case.weights, case.inputs, case.state, case.lengths, **case.settings)
    assert all(torch.equal(before[key], value) for key, value in case.parameters().items())


@pytest.mark.parametrize("name", CELLS_WITH_LOOPS)
def test_gradients_flow_from_the_last_state_alone(fast: Loop, name: str, assert_close: Close) -> None:
    case = Case(name, "lengths")
    case.grad_outputs = torch.zeros_like(case.grad_outputs)
    found, expected = case.results(fast), case.results(plain)
    for what in expected:
        assert_close(found[what], expected[what], what=what)


@pytest.mark.parametrize("name", CELLS_WITH_LOOPS)
def test_outputs_alone_can_be_differentiated(fast: Loop, name: str, assert_close: Close) -> None:
    case = Case(name)
    weight = case.weights.weight_ih
    found, expected = (
        torch.autograd.grad(unroll(case.cell, case.weights, case.inputs, case.state)[0].sum(), weight)[0]
        for unroll in (fast, plain)
    )
    assert_close(found, expected)


class _NewMemory(TorchDispatchMode):
    """The most bytes that were held at once inside, in blocks that torch made there."""

    def __init__(self, given: list[Tensor]) -> None:
        super().__init__()
        self.given = {value.untyped_storage().data_ptr() for value in given}
        self.blocks: dict[int, tuple[StorageWeakRef, int]] = {}
        self.peak = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        self.blocks = {place: block for place, block in self.blocks.items() if not block[0].expired()}
        for value in result if isinstance(result, tuple | list) else (result,):
            if isinstance(value, Tensor) and value.untyped_storage().data_ptr() not in self.given:
                storage = value.untyped_storage()
                self.blocks[storage.data_ptr()] = StorageWeakRef(storage), storage.nbytes()
        self.peak = max(self.peak, sum(size for _, size in self.blocks.values()))
        return result


@pytest.mark.parametrize("option", ["plain", "normalised"])
@pytest.mark.parametrize("name", CELLS_WITH_LOOPS)
def test_without_a_gradient_nothing_is_kept_for_one(fast: Loop, name: str, option: str) -> None:
    """With the input's product given, the states of all steps are all that is new and large."""
    steps, batch, hidden = 100, 2, 3
    case = Case(name, option, (steps, batch, 4, hidden))
    width = case.cell.gates * hidden
    product = torch.ones(steps, batch, width, dtype=torch.float64)
    weights = case.weights._replace(weight_ih=None, bias_ih=None, gain_ih=None)
    states = len(case.state) * 8 * (steps + 1) * batch * hidden
    for want_gradient in (False, True):
        given = [product, *case.parameters().values()]
        with torch.set_grad_enabled(want_gradient), _NewMemory(given) as memory:
            fast(case.cell, weights, product, case.state)
        room = states + 8 * steps * batch * width // 2
        assert (memory.peak > room) == want_gradient, f"{memory.peak} bytes at once, the states are {states}"
