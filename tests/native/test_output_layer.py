"""The compiled output layer and matrices against NumPy's own products."""

from __future__ import annotations

import numpy as np
import pytest

from nlpseq import arrays
from nlpseq.native import extension
from nlpseq.native.extension import Unavailable
from nlpseq.native.matrix import PackedMatrix
from nlpseq.native.output import OutputLayer, chunk_maxima, summarised
from nlpseq.native.product import CHUNK

pytestmark = pytest.mark.usefixtures("instructions")

SHAPES = [(1, 1, 1), (7, 5, 63), (6, 16, 64), (13, 33, 65), (40, 70, 300)]  # rows, inputs, outputs


def _drawn(rows: int, inputs: int, outputs: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    generator = np.random.default_rng(rows)
    shapes = ((rows, inputs), (outputs, inputs), (outputs,))
    features, weight, bias = (generator.normal(size=shape).astype(np.float32) for shape in shapes)
    return features, weight, 3 * bias


@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize("shape", SHAPES)
def test_logits_and_what_is_known_of_them(
    shape: tuple[int, int, int], compiled: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not compiled:
        monkeypatch.setattr(extension, "kind", _unavailable)
    features, weight, bias = _drawn(*shape)
    layer = OutputLayer(weight, bias)
    assert compiled or layer.packed is None
    exact = features.astype(np.float64) @ weight.T + bias
    found = layer(features)
    np.testing.assert_allclose(found.values, exact, atol=1e-4)
    np.testing.assert_allclose(found.log_sums, np.log(np.exp(exact).sum(-1)), atol=1e-4)
    starts = range(0, weight.shape[0], CHUNK)
    wanted = np.stack([exact[:, start : start + CHUNK].max(-1) for start in starts], -1)
    np.testing.assert_allclose(found.maxima, wanted, atol=1e-4)
    np.testing.assert_array_equal(chunk_maxima(found.values), found.maxima)


def _unavailable() -> None:
    raise Unavailable("not here")


def test_far_apart_logits_are_summed_without_overflow() -> None:
    values = np.array([[1e4, -1e4, 0.0], [-1e4, -1e4, -1e4]], np.float32)
    np.testing.assert_allclose(summarised(values).log_sums, [1e4, -1e4 + np.log(3)])
    layer = OutputLayer(values.T.copy(), np.zeros(3, np.float32))
    np.testing.assert_allclose(layer(np.eye(2, dtype=np.float32)).log_sums, [1e4, -1e4 + np.log(3)])


@pytest.mark.parametrize("shape", SHAPES)
def test_a_packed_matrix_multiplies_as_an_array_does(shape: tuple[int, int, int]) -> None:
    features, weight, bias = _drawn(*shape)
    packed = PackedMatrix.of(weight)
    np.testing.assert_allclose(arrays.project(features, packed, bias), features @ weight.T + bias, atol=1e-4)
    deep = np.stack([features, features])
    np.testing.assert_allclose(arrays.project(deep, packed), deep @ weight.T, atol=1e-4)
    np.testing.assert_array_equal(np.asarray(packed), weight)
    half = slice(len(weight) // 2 + 1)
    np.testing.assert_allclose(features @ packed[half].T, features @ weight[half].T, atol=1e-4)
    np.testing.assert_array_equal(features @ packed[half].T, (features @ packed.T)[:, half])
    np.testing.assert_array_equal(packed[0], weight[0])


def test_a_row_is_the_same_to_the_bit_beside_others() -> None:
    features, weight, bias = _drawn(*SHAPES[-1])
    layer, packed = OutputLayer(weight, bias), PackedMatrix.of(weight)
    together, product = layer(features).values, features @ packed.T
    for row in range(len(features)):
        np.testing.assert_array_equal(layer(features[row : row + 1]).values[0], together[row])
        np.testing.assert_array_equal((features[row : row + 1] @ packed.T)[0], product[row])


def test_other_numbers_than_float32_are_left_to_numpy() -> None:
    features, weight, bias = (one.astype(np.float64) for one in _drawn(*SHAPES[1]))
    assert type(PackedMatrix.of(weight)) is np.ndarray
    np.testing.assert_array_equal(OutputLayer(weight, bias)(features).values, features @ weight.T + bias)
