"""Products of packed matrices, and what is summed up of them, against float64."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from nlpseq.native import extension, product
from nlpseq.native.matrix import Packed

pytestmark = pytest.mark.usefixtures("instructions")

# Rows, inputs, outputs: odd ones; several blocks of rows; several parts of the depth, and of what a pass takes of it.
SHAPES = [(1, 1, 1), (5, 3, 2), (7, 17, 65), (100, 70, 130), (205, 600, 40), (30, 2500, 90)]


def _drawn(rows: int, inputs: int, outputs: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    generator = np.random.default_rng(rows)
    shapes = ((rows, inputs), (outputs, inputs), (outputs,))
    left, matrix, bias = (generator.normal(size=shape).astype(np.float32) for shape in shapes)
    return left, matrix * inputs**-0.5, 3 * bias


@pytest.mark.parametrize("shape", SHAPES)
def test_a_product_with_and_without_a_bias(shape: tuple[int, int, int]) -> None:
    left, matrix, bias = _drawn(*shape)
    exact = left.astype(np.float64) @ matrix.T
    assert abs(Packed(matrix).multiply(left) - exact).max() < 3e-5
    assert abs(Packed(matrix, bias).multiply(left) - (exact + bias)).max() < 3e-5


@pytest.mark.parametrize("shape", SHAPES)
def test_sums_and_losses_are_those_of_float64(shape: tuple[int, int, int]) -> None:
    left, matrix, bias = _drawn(*shape)
    exact = left.astype(np.float64) @ matrix.T + bias
    targets = np.random.default_rng(1).integers(0, shape[2], shape[0])
    packed = Packed(matrix, bias, -1e30)
    values, maxima, log_sums = packed.multiply_with_sums(left)
    wanted = np.logaddexp.reduce(exact, -1)
    assert abs(values - exact).max() < 3e-5
    assert (maxima.max(-1) == values.max(-1)).all()
    assert abs(log_sums - wanted).max() < 3e-5
    assert abs(packed.losses(left, targets) - (wanted - exact[np.arange(shape[0]), targets])).max() < 5e-5


def test_no_rows_give_no_rows() -> None:
    packed = Packed(*_drawn(3, 4, 5)[1:], -1e30)
    assert packed.multiply(np.empty((0, 4), np.float32)).shape == (0, 5)
    assert packed.losses(np.empty((0, 4), np.float32), np.empty(0, np.int64)).shape == (0,)


def test_a_row_is_the_same_to_the_bit_beside_others_and_in_any_thread() -> None:
    left, matrix, bias = _drawn(205, 600, 300)
    packed = Packed(matrix, bias, -1e30)
    targets = np.arange(205) % 300
    together, losses = packed.multiply(left), packed.losses(left, targets)
    with ThreadPoolExecutor(3) as pool:
        assert all((one == together).all() for one in pool.map(packed.multiply, [left] * 6))
    for row in (0, 95, 96, 204):
        assert (packed.multiply(left[row : row + 1])[0] == together[row]).all()
        assert packed.losses(left[row : row + 1], targets[row : row + 1])[0] == losses[row]


def test_nan_and_infinity_stay_in_their_row() -> None:
    left, matrix, bias = _drawn(9, 20, 70)
    left[3, 5], left[6, 1] = np.nan, np.inf
    made = Packed(matrix, bias).multiply(left)
    assert np.isnan(made[3]).all()
    assert not np.isfinite(made[6]).all()
    assert np.isfinite(np.delete(made, [3, 6], 0)).all()


def test_the_loop_in_registers_counts_what_it_does() -> None:
    floats = {"sse2": 4, "neon": 4, "plain": 4, "avx2": 8}.get(extension.instructions(), 16)
    assert product.multiply_in_registers(extension.kind(), 10, 3) == 2 * 12 * floats * 30
