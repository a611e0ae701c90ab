"""Updates: those of `torch.optim` to the bit, clipped, decayed where they should be, and resumed to the bit."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from nlpseq.models.model_file import read_tensors, write_tensors
from nlpseq.training.optimisers import OPTIMISERS, Updates

Close = Callable[..., None]


def _parameters() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    shapes = {"layers.0.weight": (4, 3), "layers.0.bias": (4,), "layers.0.bias.more": (2,)}
    return {name: torch.randn(shape, generator=generator).requires_grad_() for name, shape in shapes.items()}


def _step(updates: Updates, seed: int, fraction: float = 1.0) -> None:
    generator = torch.Generator().manual_seed(seed)
    updates.clear()
    for value in updates.parameters.values():
        value.grad = torch.randn(value.shape, generator=generator)
    updates.gradient_norm()
    updates.step(fraction)


@pytest.mark.parametrize("name", OPTIMISERS)
def test_a_restored_optimiser_goes_on_to_the_same_bits(name: str, tmp_path: object) -> None:
    whole = Updates(name, _parameters(), 0.01, 0.1, 1.0)
    for seed in range(6):
        _step(whole, seed)
    first = Updates(name, _parameters(), 0.01, 0.1, 1.0)
    for seed in range(3):
        _step(first, seed)
    file = tmp_path / "state"  # type: ignore[operator]
    write_tensors(file, {"format": 1}, {f"optimiser/{key}": value for key, value in first.arrays().items()})
    held = {key.removeprefix("optimiser/"): value for key, value in read_tensors(file)[1].items()}
    copied = {key: value.detach().clone().requires_grad_() for key, value in first.parameters.items()}
    second = Updates(name, copied, 0.01, 0.1, 1.0)
    second.restore(held)
    for seed in range(3, 6):
        _step(second, seed)
    for key, value in whole.parameters.items():
        assert torch.equal(value, second.parameters[key]), key
    assert whole.arrays().keys() == second.arrays().keys()
    for key, value in whole.arrays().items():
        assert np.array_equal(value, second.arrays()[key]), key
        assert value.shape == second.arrays()[key].shape, key


@pytest.mark.parametrize("name", OPTIMISERS)
def test_each_depth_has_its_rate(name: str) -> None:
    depths = {"layers.0.bias": 1, "layers.0.bias.more": 2}
    updates = Updates(name, _parameters(), 0.01, 0.1, 1e9, depths)
    plain = Updates(name, _parameters(), 0.005, 0.1, 1e9)
    for one, scales in ((updates, (1.0, 0.5, 0.0)), (plain, (1.0,))):
        generator = torch.Generator().manual_seed(1)
        for value in one.parameters.values():
            value.grad = torch.randn(value.shape, generator=generator)
        one.step(1.0, scales)
    begun = _parameters()
    assert torch.equal(updates.parameters["layers.0.bias.more"], begun["layers.0.bias.more"])
    assert torch.equal(updates.parameters["layers.0.bias"], plain.parameters["layers.0.bias"])
    assert not torch.equal(updates.parameters["layers.0.weight"], plain.parameters["layers.0.weight"])


def test_decay_shrinks_matrices_and_nothing_else() -> None:
    with_decay, without = (Updates("adamw", _parameters(), 0.01, decay, 1e9) for decay in (0.5, 0.0))
    begun = _parameters()
    for updates in (with_decay, without):
        _step(updates, 0, fraction=0.5)
    for name, value in begun.items():
        difference = (without.parameters[name] - with_decay.parameters[name]).detach()
        expected = 0.005 * 0.5 * value.detach() if value.ndim > 1 else torch.zeros_like(value)
        assert torch.allclose(difference, expected, atol=1e-7), name


@pytest.mark.parametrize("name", OPTIMISERS)
def test_a_rate_of_zero_changes_nothing(name: str) -> None:
    updates = Updates(name, _parameters(), None, 0.1, 1.0)
    _step(updates, 0, fraction=0.0)
    assert all(torch.equal(value, updates.parameters[key]) for key, value in _parameters().items())


def test_sgd_is_its_formula(assert_close: Close) -> None:
    updates = Updates("sgd", _parameters(), 2.0, 0.0, 1e9)
    _step(updates, 3, fraction=0.25)
    generator = torch.Generator().manual_seed(3)
    for name, value in _parameters().items():
        expected = value.detach() - 0.5 * torch.randn(value.shape, generator=generator)
        assert_close(updates.parameters[name], expected, "float32", name)


def test_adamw_is_its_formula(assert_close: Close) -> None:
    """Kingma and Ba (2015), algorithm 1, with the decay of Loshchilov and Hutter (2019)."""
    updates = Updates("adamw", _parameters(), 0.1, 0.2, 1e9)
    weight = _parameters()["layers.0.weight"].detach().double()
    first = second = torch.zeros_like(weight)
    for step in range(1, 4):
        _step(updates, step)
        grad = updates.parameters["layers.0.weight"].grad
        assert grad is not None
        first, second = 0.9 * first + 0.1 * grad.double(), 0.99 * second + 0.01 * grad.double() ** 2
        change = first / (1 - 0.9**step) / ((second / (1 - 0.99**step)).sqrt() + 1e-8)
        weight = weight * (1 - 0.1 * 0.2) - 0.1 * change
    assert_close(updates.parameters["layers.0.weight"], weight, "float32")


def test_gradients_above_the_clip_are_scaled_down_to_it_together() -> None:
    updates = Updates("sgd", _parameters(), 1.0, 0.0, 0.5)
    for value in updates.parameters.values():
        value.grad = torch.full(value.shape, 3.0)
    norm = updates.gradient_norm()
    assert norm == pytest.approx(3 * 18**0.5), "the norm that is shown is that before clipping"
    clipped = sum(float(value.grad.square().sum()) for value in updates.parameters.values()) ** 0.5  # type: ignore[union-attr]
    assert clipped == pytest.approx(0.5, rel=1e-4)


def test_gradients_under_the_clip_are_left_alone() -> None:
    updates = Updates("sgd", _parameters(), 1.0, 0.0, 100.0)
    for value in updates.parameters.values():
        value.grad = torch.ones_like(value)
    updates.gradient_norm()
    assert all((value.grad == 1).all() for value in updates.parameters.values() if value.grad is not None)


def _table_step(updates: Updates, seed: int, *, sparse: bool) -> None:
    """A step of a table [6, 2] of which the rows 1, 4 and 4 are read."""
    ids = torch.tensor([1, 4, 4])
    scale = torch.randn(3, 1, generator=torch.Generator().manual_seed(seed))
    updates.clear()
    (torch.nn.functional.embedding(ids, updates.parameters["table"], sparse=sparse) * scale).sum().backward()
    updates.gradient_norm()
    updates.step(1.0)


@pytest.mark.parametrize("name", OPTIMISERS)
def test_a_sparse_gradient_moves_the_rows_that_were_read_as_a_dense_one_would(name: str, assert_close: Close) -> None:
    sparse, dense = (Updates(name, {"table": torch.ones(6, 2).requires_grad_()}, 0.01, 0.0, 0.7) for _ in range(2))
    for seed in range(4):
        _table_step(sparse, seed, sparse=True)
        _table_step(dense, seed, sparse=False)
    assert_close(sparse.parameters["table"], dense.parameters["table"], "float32")
    assert (sparse.parameters["table"][[0, 2, 3, 5]] == 1).all()


@pytest.mark.parametrize("first", [True, False], ids=["sparse first", "dense first"])
@pytest.mark.parametrize("name", OPTIMISERS)
def test_a_gradient_may_be_sparse_in_one_batch_and_dense_in_the_next(
    name: str, first: bool, assert_close: Close
) -> None:
    """As where a short batch at a column's end looks rows up, and a full one multiplies the whole table."""
    mixed, dense = (Updates(name, {"table": torch.ones(6, 2).requires_grad_()}, 0.01, 0.0, 0.7) for _ in range(2))
    for seed in range(4):
        _table_step(mixed, seed, sparse=(seed % 2 == 0) == first)
        _table_step(dense, seed, sparse=False)
    assert_close(mixed.parameters["table"], dense.parameters["table"], "float32")


@pytest.mark.parametrize("name", OPTIMISERS)
def test_the_state_of_sparse_rows_is_restored_to_the_bit(name: str) -> None:
    whole = Updates(name, {"table": torch.ones(6, 2).requires_grad_()}, 0.01, 0.1, 1.0)
    for seed in range(3):
        _table_step(whole, seed, sparse=True)
    again = Updates(name, {"table": whole.parameters["table"].detach().clone().requires_grad_()}, 0.01, 0.1, 1.0)
    again.restore(whole.arrays())
    for seed in range(3, 6):
        _table_step(whole, seed, sparse=True)
        _table_step(again, seed, sparse=True)
    assert torch.equal(whole.parameters["table"], again.parameters["table"])


@pytest.mark.parametrize("name", OPTIMISERS)
def test_an_update_on_the_device_is_that_of_the_host(name: str) -> None:
    host, device = (
        Updates(name, _parameters(), None, 0.1, 0.5, {"layers.0.bias": 1}, late=late) for late in (False, True)
    )
    for turn in range(4):
        for updates in (host, device):
            updates.clear()
            sum(((turn + 1 - value) ** 2).sum() for value in updates.parameters.values()).backward()
        norm = host.gradient_norm()
        assert float(device.clip_on_device()) == pytest.approx(norm, rel=1e-6)
        host.step(0.5, (1.0, 0.25))
        device.step_unless(torch.tensor(False), torch.tensor(device.rates(0.5, (1.0, 0.25))))
    for one, other in zip(host.parameters.values(), device.parameters.values(), strict=True):
        assert torch.allclose(one, other, atol=1e-6)
    again = Updates(name, _copies(device.parameters), None, 0.1, 0.5, late=False)
    again.restore(device.arrays())
    assert again.arrays().keys() == device.arrays().keys(), "a run goes on on another device"


@pytest.mark.parametrize("name", OPTIMISERS)
def test_an_unsound_update_changes_no_parameter(name: str) -> None:
    updates = Updates(name, _parameters(), None, 0.1, 1.0, late=True)
    for unsound in (False, True):
        updates.clear()
        total = sum((value**2).sum() for value in updates.parameters.values())
        (total * (math.nan if unsound else 1.0)).backward()
        updates.clip_on_device()
        before, state = _copies(updates.parameters), updates.arrays()
        updates.step_unless(torch.tensor(unsound), torch.tensor([0.1]))
        changed = [not torch.equal(value, before[name]) for name, value in updates.parameters.items()]
        assert not any(changed) if unsound else all(changed)
    if name != "rmsprop":
        assert all(np.array_equal(value, state[field]) for field, value in updates.arrays().items())


def _copies(parameters: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: value.detach().clone().requires_grad_() for name, value in parameters.items()}


def _of_torch(
    name: str, parameters: list[Tensor], *, sparse: bool = False, late: bool = False
) -> torch.optim.Optimizer:
    """The optimiser of torch that has the same rule."""
    betas = (0.9, 0.99 if name == "adamw" else 0.999)
    if name.startswith("adam") and sparse:
        return torch.optim.SparseAdam(parameters, lr=0.01, betas=betas)
    if name.startswith("adam"):
        return torch.optim.AdamW(parameters, lr=0.01, betas=betas, weight_decay=0.0, fused=True, capturable=late)
    if name == "sgd":
        return torch.optim.SGD(parameters, lr=0.01, fused=late)
    return torch.optim.RMSprop(parameters, lr=0.01, alpha=0.99)


def _tables() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(2)
    shapes = {"large": (700, 33), "odd": (7, 5), "small": (3, 1)}
    return {name: torch.randn(shape, generator=generator).requires_grad_() for name, shape in shapes.items()}


def _same_state(updates: Updates, optimiser: torch.optim.Optimizer, parameters: Mapping[str, Tensor]) -> None:
    """The arrays are those of torch, by torch's names, so a state that torch's classes saved is read as well."""
    expected = {
        f"{name}/{field}": np.array(value.numpy() if isinstance(value, Tensor) else value)
        for name, parameter in parameters.items()
        for field, value in optimiser.state.get(parameter, {}).items()
        if value is not None
    }
    arrays = {field: value for field, value in updates.arrays().items() if not field.endswith("/sparse")}
    assert arrays.keys() == expected.keys()
    for field, value in expected.items():
        assert arrays[field].dtype == value.dtype and np.array_equal(arrays[field], value), field


@pytest.mark.parametrize("name", OPTIMISERS)
def test_dense_updates_are_those_of_torch_to_the_bit(name: str) -> None:
    ours, theirs = _tables(), _tables()
    updates, optimiser = Updates(name, ours, 0.01, 0.0, 1e9), _of_torch(name, list(theirs.values()))
    generator = torch.Generator().manual_seed(3)
    for turn in range(7):
        optimiser.param_groups[0]["lr"] = 0.01 / (turn + 1)
        for key, value in ours.items():
            value.grad = torch.randn(value.shape, generator=generator) * 10.0**-turn
            theirs[key].grad = value.grad.clone()
        ours["odd"].grad = theirs["odd"].grad = None if turn == 2 else ours["odd"].grad
        updates.gradient_norm()
        updates.step(1 / (turn + 1))
        optimiser.step()
        assert all(torch.equal(value, theirs[key]) for key, value in ours.items()), turn
    _same_state(updates, optimiser, theirs)


@pytest.mark.parametrize("name", [name for name, (_, _, sparse) in OPTIMISERS.items() if sparse is not None])
def test_sparse_updates_are_those_of_torch_to_the_bit(name: str) -> None:
    ours, theirs = _tables(), _tables()
    updates, optimiser = Updates(name, ours, 0.01, 0.0, 1e9), _of_torch(name, list(theirs.values()), sparse=True)
    generator = torch.Generator().manual_seed(4)
    for turn in range(7):
        optimiser.param_groups[0]["lr"] = 0.01 / (turn + 1)
        for key, value in ours.items():
            rows = torch.randint(len(value), (0 if (turn, key) == (3, "odd") else 50,), generator=generator)
            values = torch.randn((len(rows), value.shape[1]), generator=generator)
            value.grad = torch.sparse_coo_tensor(rows[None], values, value.shape, check_invariants=True)
            theirs[key].grad = value.grad.coalesce()
        updates.gradient_norm()
        updates.step(1 / (turn + 1))
        optimiser.step()
        assert all(torch.equal(value, theirs[key]) for key, value in ours.items()), turn
    _same_state(updates, optimiser, theirs)


@pytest.mark.parametrize("name", [name for name in OPTIMISERS if name != "rmsprop"])
def test_updates_decided_on_the_device_are_those_of_torch_to_the_bit(name: str) -> None:
    ours, theirs = _tables(), _tables()
    updates = Updates(name, ours, 0.01, 0.0, 1e9, late=True)
    optimiser = _of_torch(name, list(theirs.values()), late=True)
    generator = torch.Generator().manual_seed(5)
    for turn in range(7):
        skip, rate = torch.tensor(turn in (0, 4)), torch.tensor([0.01 / (turn + 1)])
        for key, value in ours.items():
            value.grad = torch.randn(value.shape, generator=generator)
            theirs[key].grad = value.grad.clone()
        optimiser.found_inf = skip.float()  # type: ignore[attr-defined]
        optimiser.param_groups[0]["lr"] = rate[0]
        updates.step_unless(skip, rate)
        optimiser.step()
        assert all(torch.equal(value, theirs[key]) for key, value in ours.items()), turn
    _same_state(updates, optimiser, theirs)


def test_rmsprop_decided_on_the_device_is_its_formula(assert_close: Close) -> None:
    """Torch refuses to have it read its rate from a tensor on the CPU."""
    ours, expected = _tables(), {key: value.detach().double() for key, value in _tables().items()}
    updates = Updates("rmsprop", ours, 0.01, 0.0, 1e9, late=True)
    squares = {key: torch.zeros_like(value) for key, value in expected.items()}
    generator = torch.Generator().manual_seed(6)
    for turn in range(4):
        for key, value in ours.items():
            value.grad = torch.randn(value.shape, generator=generator)
            squares[key] = 0.99 * squares[key] + 0.01 * value.grad.double() ** 2
            expected[key] -= 0.02 * value.grad.double() / (squares[key].sqrt() + 1e-8)
        updates.step_unless(torch.tensor(False), torch.tensor([0.02]))
        assert all(
            assert_close(value, expected[key], "float32", f"{key} {turn}") is None for key, value in ours.items()
        )


HEAVY = ("torch._dynamo", "torch._inductor", "sympy", "triton", "datasets", "pandas", "sacrebleu", "sklearn")
TRAIN = """
import sys
from pathlib import Path
from nlpseq.training.requests import {request}
from nlpseq.training.options import {options}
from nlpseq.training.tasks.{module} import {run}
run = {run}({request}(corpus=("{corpus}",), out=Path(sys.argv[1]), training={options}(steps=3, device="cpu")))
assert len(list(run.progress())) >= 3
print(run.finish()["steps"], *(name for name in sys.argv[2:] if name in sys.modules))
"""


@pytest.mark.parametrize(
    ("module", "run", "request_class", "options", "corpus"),
    [
        ("language_model", "LanguageModelRun", "LanguageModelRequest", "LanguageModelTraining", "stories"),
        ("classification", "ClassificationRun", "ClassifierRequest", "ClassifierTraining", "reviews"),
        ("translation", "TranslationRun", "TranslatorRequest", "TranslationTraining", "english-german"),
    ],
)
def test_training_imports_no_library_that_takes_longer_than_its_first_steps(
    module: str, run: str, request_class: str, options: str, corpus: str, tmp_path: Path
) -> None:
    code = TRAIN.format(module=module, run=run, request=request_class, options=options, corpus=corpus)
    needed = {"sklearn", "pandas"} if module == "classification" else set()  # scikit-learn fits the linear model
    command = [sys.executable, "-c", code, str(tmp_path / "run"), *(name for name in HEAVY if name not in needed)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["3"], done.stdout + done.stderr
