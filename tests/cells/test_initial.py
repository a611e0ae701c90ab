"""Initial values: orthonormal blocks, variances, biases, and that a seed means the same twice."""

from __future__ import annotations

import numpy as np
import pytest

from nlpseq.cells import CELLS
from nlpseq.cells.initial import INITIAL_VALUES, layer_values, orthogonal


def _generator(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.mark.parametrize("shape", [(7, 7), (9, 4), (4, 9), (1, 5), (1, 1)], ids=str)
def test_orthogonal_matrices_have_orthonormal_rows_or_columns(shape: tuple[int, int]) -> None:
    matrix = orthogonal(_generator(), *shape)
    assert matrix.shape == shape
    small = matrix.T @ matrix if shape[0] >= shape[1] else matrix @ matrix.T
    assert np.allclose(small, np.eye(min(shape)), atol=1e-12)


def test_orthogonal_matrices_favour_no_direction() -> None:
    """Without the correction of signs, a QR decomposition's first entry is never positive."""
    first = [orthogonal(_generator(seed), 3, 3)[0, 0] for seed in range(200)]
    assert abs(np.mean(np.sign(first))) < 0.3  # four standard errors of 200 fair coins


@pytest.mark.parametrize("name", [name for name, cell in CELLS.items() if not cell.parallel])
def test_every_recurrent_block_is_orthonormal(name: str) -> None:
    values = layer_values(CELLS[name], 5, 8, _generator())
    blocks = np.split(values["weight_hh"], CELLS[name].gates)
    for block in blocks:
        assert np.allclose(block @ block.T, np.eye(8), atol=1e-5)
    assert len({block.tobytes() for block in blocks}) == len(blocks), "blocks are drawn one by one"


VARIANCES = {
    "xavier": 2 / (200 + 300),  # Glorot and Bengio (2010), equation 12
    "he": 2 / 300,  # He et al. (2015), equation 10
    "normal": 1 / 300,  # LeCun et al. (1998), equation 16
    "uniform": 1 / 200 / 3,  # that of U(-a, a) is a * a / 3
}


@pytest.mark.parametrize("name", VARIANCES)
def test_variance_is_that_of_the_paper(name: str) -> None:
    matrix = INITIAL_VALUES[name](_generator(), 200, 300)
    assert matrix.shape == (200, 300)
    assert abs(matrix.mean()) < 4 * np.sqrt(VARIANCES[name] / matrix.size)
    assert matrix.var() == pytest.approx(VARIANCES[name], rel=0.03)  # five standard errors of a normal's variance


def test_every_way_of_drawing_but_one_has_its_variance_tested() -> None:
    assert set(VARIANCES) == set(INITIAL_VALUES) - {"orthogonal"}


@pytest.mark.parametrize("name", ["xavier", "uniform"])
def test_uniform_values_stay_within_their_bound(name: str) -> None:
    matrix = INITIAL_VALUES[name](_generator(), 20, 30)
    assert abs(matrix).max() <= np.sqrt(3 * (2 / 50 if name == "xavier" else 1 / 20 / 3))


@pytest.mark.parametrize(
    ("name", "biases"),
    [("rnn", [0]), ("lstm", [0, 1, 0, 0]), ("gru", [0, 0, 0]), ("mingru", [0, 0]), ("minlstm", [2, 0, 0])],
)
def test_biases_are_zero_but_those_of_gates_that_keep_the_state(name: str, biases: list[float]) -> None:
    values = layer_values(CELLS[name], 3, 5, _generator())
    expected = np.repeat(biases, 5)
    assert np.array_equal(values["bias_ih"] + values.get("bias_hh", 0), expected)


def test_normalised_layers_get_gains_of_one() -> None:
    values = layer_values(CELLS["gru"], 3, 5, _generator(), layer_normalisation=True)
    assert np.array_equal(values["gain_ih"], np.ones(15, np.float32))
    assert np.array_equal(values["gain_hh"], np.ones(15, np.float32))
    assert "gain_ih" not in layer_values(CELLS["gru"], 3, 5, _generator())


@pytest.mark.parametrize("initial", INITIAL_VALUES)
def test_a_seed_means_the_same_twice_and_another_means_another(initial: str) -> None:
    one, same, other = (layer_values(CELLS["lstm"], 3, 5, _generator(seed), initial=initial) for seed in (1, 1, 2))
    assert all(np.array_equal(one[name], same[name]) for name in one)
    assert not np.array_equal(one["weight_hh"], other["weight_hh"])
    assert not np.array_equal(one["weight_ih"], other["weight_ih"])
