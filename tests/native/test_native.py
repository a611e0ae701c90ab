"""The compiled step against the cells' own equations, and what happens where there is none."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from nlpseq.cells import CELLS, LayerWeights
from nlpseq.cells.unroll import advance, project_inputs, zero_state
from nlpseq.models import language_model, storage
from nlpseq.models.language_model import LanguageModelOptions
from nlpseq.models.stepper import Stepper
from nlpseq.native import extension, recurrence
from nlpseq.native.compact import describe_matrix, upper_halves, whole_numbers
from nlpseq.native.extension import Unavailable
from nlpseq.native.stack import NativeLinear, NativeStack

Close = Callable[..., None]

pytestmark = pytest.mark.usefixtures("instructions")

INPUTS, HIDDEN, WORDS = 19, 37, 23


def _layers(cell: Any, normalised: bool, depth: int = 2) -> list[LayerWeights]:
    generator = np.random.default_rng(1)
    rows = cell.gates * HIDDEN

    def draw(*shape: int) -> np.ndarray:
        return generator.normal(0, 0.3, shape).astype(np.float32)

    drawn = [
        LayerWeights(
            draw(rows, HIDDEN if layer else INPUTS),
            draw(rows, HIDDEN),
            draw(rows),
            draw(rows),
            1 + draw(rows) if normalised else None,
            1 + draw(rows) if normalised else None,
        )
        for layer in range(depth)
    ]
    return [one._replace(weight_hh=None, bias_hh=None, gain_hh=None) if cell.parallel else one for one in drawn]


def _rounded(weights: LayerWeights, precision: str) -> LayerWeights:
    named = {name: value for name, value in weights._asdict().items() if value is not None}
    return weights._replace(**storage.rounded(named, precision))


# A normalised product is not the sum of two, so nothing asks for both there.
FIRST_LAYERS = [(False, "product"), (False, "inputs"), (False, "both"), (True, "product"), (True, "inputs")]


@pytest.mark.parametrize(("normalised", "given"), FIRST_LAYERS)
@pytest.mark.parametrize(("zoneout", "precision"), [(0.0, "fp32"), (0.3, "fp32"), (0.3, "bf16"), (0.3, "int8")])
@pytest.mark.parametrize("name", recurrence.CELLS)
def test_the_step_is_the_cells(
    name: str, zoneout: float, precision: str, normalised: bool, given: str, assert_close: Close
) -> None:
    cell = CELLS[name]
    layers = [_rounded(one, precision) for one in _layers(cell, normalised)]
    generator = np.random.default_rng(2)
    products = generator.normal(size=(WORDS, cell.gates * HIDDEN)).astype(np.float32)
    states = [zero_state(cell, 1, HIDDEN, layers[0].weight_ih) for _ in layers]
    native = NativeStack(cell, layers, states, zoneout, products)
    for token in range(9):
        inputs = generator.normal(size=(1, INPUTS)).astype(np.float32)
        product = {
            "product": products[token : token + 1],
            "inputs": project_inputs(layers[0], inputs),
            "both": products[token : token + 1] + inputs @ np.asarray(layers[0].weight_ih).T,
        }[given]
        native.advance(None if given == "inputs" else token, None if given == "product" else inputs)
        for depth, weights in enumerate(layers):
            if depth:
                product = project_inputs(weights, states[depth - 1].hidden)
            states[depth] = advance(cell, weights, product, states[depth], zoneout)
    for found, expected in zip(native.states, states, strict=True):
        for field in expected._fields:
            if precision == "int8":  # the step rounds what it multiplies to 16 bits
                right = getattr(expected, field)
                assert abs(getattr(found, field) - right).max() < 3e-4 * max(1, abs(right).max())
            else:
                assert_close(getattr(found, field), getattr(expected, field), "float32", field)
    assert (native.hidden == native.states[-1].hidden).all()


SHAPES = [(1, 1), (3, 5), (7, 16), (6, 65), (1030, 517), (9, 2049), (5, 40_000), (33_001, 64)]


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("shape", SHAPES)
def test_a_product_is_that_of_float64(shape: tuple[int, int], precision: str) -> None:
    generator = np.random.default_rng(3)
    drawn = {"weight": shape, "bias": shape[:1], "inputs": (1, shape[1])}
    arrays = {name: generator.normal(size=size).astype(np.float32) for name, size in drawn.items()}
    arrays["weight"] = storage.rounded({"weight": arrays["weight"]}, precision)["weight"]
    linear = NativeLinear(**arrays)
    linear.apply()
    weight, bias, inputs = (array.astype(np.float64) for array in arrays.values())
    assert abs(linear.outputs - (inputs @ weight.T + bias)).max() < 1e-5 * shape[1] ** 0.5


def _int8_matrix(*shape: int) -> np.ndarray:
    drawn = np.random.default_rng(5).normal(size=shape).astype(np.float32)
    return storage.rounded({"weight": drawn}, "int8")["weight"]


@pytest.mark.parametrize("shape", [shape for shape in SHAPES if shape[1] >= 8])
def test_a_product_of_int8_is_off_by_the_rounding_of_its_input_at_most(shape: tuple[int, int]) -> None:
    generator = np.random.default_rng(3)
    weight, bias, inputs = _int8_matrix(*shape), generator.normal(size=shape[0]), generator.normal(size=(1, shape[1]))
    linear = NativeLinear(weight, bias.astype(np.float32), inputs.astype(np.float32))
    linear.apply()
    unit = abs(inputs).max() / 32767
    most = abs(weight).sum(1, dtype=np.float64) * unit / 2
    expected = inputs @ weight.T.astype(np.float64) + bias
    error = abs(linear.outputs - expected)[0]
    assert (error <= 1.001 * most + 1e-6 * (1 + abs(expected[0]))).all()
    assert np.sqrt((error**2).mean()) < unit * shape[1] ** 0.5  # errors of single numbers cancel out


@pytest.mark.parametrize("shape", [(1, 8), (6, 65), (103, 517), (9, 2049), (5, 40_000), (3, 70_000)])
@pytest.mark.parametrize("extreme", [False, True])
def test_a_product_of_int8_with_whole_numbers_is_exact(shape: tuple[int, int], extreme: bool) -> None:
    """Sums of the largest numbers do not overflow, and no column is left out."""
    generator = np.random.default_rng(6)
    whole, inputs = generator.integers(-127, 128, shape), generator.integers(-32767, 32768, (1, shape[1]))
    if extreme:
        whole[:], inputs[:] = np.where(np.arange(shape[0]) % 2, 127, -127)[:, None], 32767
    whole[:, 0], inputs[0, -1] = 127, 32767
    scales = 2.0 ** generator.integers(-9, 3, (shape[0], 1)) * 1.5
    linear = NativeLinear((whole * scales).astype(np.float32), None, inputs.astype(np.float32))
    linear.apply()
    expected = (whole @ inputs[0]) * scales[:, 0]
    assert (abs(linear.outputs[0] - expected) <= 3e-7 * abs(expected)).all()


@pytest.mark.parametrize("shape", [(7, 9), (4, 300)])
def test_inputs_of_int8_that_are_not_finite_or_tiny(shape: tuple[int, int]) -> None:
    bias = np.arange(shape[0], dtype=np.float32)
    for value in (np.nan, np.inf, -np.inf):
        inputs = np.ones((1, shape[1]), np.float32)
        inputs[0, -1] = value
        linear = NativeLinear(_int8_matrix(*shape), bias, inputs)
        linear.apply()
        assert np.isnan(linear.outputs).all()
    for value in (0.0, 1e-40, -1e-38):
        linear = NativeLinear(_int8_matrix(*shape), bias, np.full((1, shape[1]), value, np.float32))
        linear.apply()
        assert abs(linear.outputs - bias).max() < 1e-30


def test_numbers_of_int8_are_found_in_floats() -> None:
    weight = _int8_matrix(40, 33)
    weight[7] = 0  # a row that a file does not hold
    found = whole_numbers(weight)
    assert found is not None
    whole, scales = found
    assert whole.dtype == np.int8
    assert (whole * scales[:, None].astype(np.float64) == weight).all()
    for row, column, value in ((39, 32, weight[39, 32] * 1.001), (0, 0, np.nan), (3, 1, np.inf)):
        changed = weight.copy()
        changed[row, column] = value
        assert whole_numbers(changed) is None


@pytest.mark.parametrize(("precision", "bits"), [("fp32", 32), ("bf16", 16), ("int8", 8)])
def test_a_matrix_is_kept_in_the_bits_that_it_needs(precision: str, bits: int) -> None:
    drawn = np.random.default_rng(5).normal(size=(30, 20)).astype(np.float32)
    kept, matrix = describe_matrix(storage.rounded({"weight": drawn}, precision)["weight"])
    assert (matrix.rows, matrix.columns, matrix.bits) == (30, 20, bits)
    assert kept[0].itemsize == bits // 8


def test_only_what_loses_nothing_is_kept_in_16_bits() -> None:
    whole = np.array([[1.0, -0.5], [3.0, 2.0**-130]], np.float32)
    kept = upper_halves(whole)
    assert kept is not None
    assert ((kept.astype(np.uint32) << 16).view(np.float32) == whole).all()
    whole[1, 0] = 1 + 2.0**-8  # nine bits
    assert upper_halves(whole) is None


@pytest.mark.parametrize("size", [1, 15, 16, 256, 9001])
def test_log_softmax_is_that_of_float64(size: int) -> None:
    bias = np.random.default_rng(4).normal(0, 30, size)  # far apart, so that most of the terms vanish
    one = np.ones((1, 1), np.float32)
    found = NativeLinear(np.zeros((size, 1), np.float32), bias.astype(np.float32), one).log_softmax()
    expected = bias - np.logaddexp.reduce(bias)
    assert abs(found - expected).max() < 3e-5
    assert abs(np.exp(found.astype(np.float64)).sum() - 1) < 1e-5


@pytest.mark.parametrize("name", recurrence.CELLS)
def test_extreme_products_saturate_and_nan_stays(name: str) -> None:
    cell = CELLS[name]
    layers = _layers(cell, False, depth=1)
    products = np.stack([np.full(cell.gates * HIDDEN, value, np.float32) for value in (1e30, -1e30, np.nan)])
    for token in range(2):
        states = [zero_state(cell, 1, HIDDEN, layers[0].weight_ih)]
        native = NativeStack(cell, layers, states, 0.0, products)
        native.advance(token, None)
        expected = advance(cell, layers[0], products[token : token + 1], states[0])
        np.testing.assert_allclose(native.hidden, expected.hidden, rtol=1e-6, atol=1e-7)
    native.advance(2, None)
    assert np.isnan(native.hidden).all()


def _weights() -> tuple[dict[str, np.ndarray], LanguageModelOptions]:
    options = LanguageModelOptions(hidden_size=160, embedding_size=40, tied=False, ngrams=1)
    return language_model.initial_weights(options, 256, 1), options


def _follow(tokens: list[int], precision: str = "fp32") -> np.ndarray:
    weights, options = _weights()
    stepper = Stepper(storage.rounded(weights, precision), options)
    for token in tokens:
        stepper.advance([token])
    return stepper.predict()


def test_texts_in_several_threads_do_not_meet() -> None:
    texts = [[(7 * place + text) % 256 for place in range(200)] for text in range(4)]
    expected = [_follow(text) for text in texts]
    with ThreadPoolExecutor(4) as threads:
        for found, alone in zip(threads.map(_follow, texts), expected, strict=True):
            assert (found == alone).all()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_forked_process_works_without_the_helpers() -> None:
    expected = _follow([1, 2, 3])
    child = os.fork()
    if not child:
        os._exit(0 if (_follow([1, 2, 3]) == expected).all() else 1)
    assert os.waitpid(child, 0)[1] == 0


@pytest.mark.parametrize(("precision", "tolerance"), [("fp32", 1e-5), ("bf16", 1e-5), ("int8", 1e-3)])
def test_without_the_library_numpy_does_the_work(
    precision: str, tolerance: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    native = _follow([5, 6, 5], precision)

    def missing() -> Any:
        raise Unavailable("it was not compiled")

    monkeypatch.delenv(extension.SETTING)
    monkeypatch.setattr(extension, "load_library", missing)
    monkeypatch.setattr(extension, "available_sets", missing)
    assert abs(_follow([5, 6, 5], precision) - native).max() < tolerance
    assert extension.describe() == "NumPy (it was not compiled)"


def test_a_broken_library_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    broken = tmp_path / "_compiled.so"
    broken.write_bytes(b"\x7fELF and no more")
    monkeypatch.setattr(extension, "find_spec", lambda _: type("Spec", (), {"origin": str(broken)}))
    with pytest.raises(Unavailable, match="cannot be loaded"):
        extension.load_library.__wrapped__()


def test_what_it_cannot_run_is_left_to_numpy() -> None:
    cell = CELLS["lstm"]
    layers = [LayerWeights(*(None if v is None else v.astype(np.float64) for v in one)) for one in _layers(cell, False)]
    states = [zero_state(cell, 1, HIDDEN, layers[0].weight_ih) for _ in layers]
    with pytest.raises(Unavailable, match="32-bit"):
        NativeStack(cell, layers, states, 0.0)


@pytest.mark.parametrize(("wanted", "expected"), [("1", 1), ("3", 3), ("1000", 16), ("0", 1)])
def test_threads_follow_the_users_setting(wanted: str, expected: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", wanted)
    assert extension.threads() == expected
