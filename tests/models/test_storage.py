"""Packed weights: what is exact, how far rounded numbers are off, and what a foreign header gets."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from nlpseq.models.storage import FORMATS, pack, rounded, unpack


def _weights() -> dict[str, np.ndarray]:
    generator = np.random.default_rng(0)
    table = np.zeros((500, 16), np.float32)
    table[[0, 3, 77, 499]] = generator.normal(size=(4, 16))
    return {
        "ngrams.weight": table,
        "evidence.table": generator.normal(size=(40, 3)).astype(np.float32),
        "layers.0.weight_hh": generator.normal(size=(12, 9)).astype(np.float32),
        "linear.weight": generator.normal(size=(50, 1)).astype(np.float32),
        "linear.keys": np.arange(50, dtype=np.uint32) * 77_000_000,
        "output.bias": generator.normal(size=7).astype(np.float32),
        "empty": np.zeros((0, 3), np.float32),
        "counts": np.arange(12, dtype=np.int64).reshape(3, 4),
    }


@pytest.mark.parametrize("number_format", FORMATS)
def test_what_was_stored_is_stored_again_to_the_same_bits(number_format: str) -> None:
    packed, entries = pack(_weights(), number_format)
    again, same_entries = pack(unpack(packed, entries), number_format)
    assert same_entries == entries
    assert again.keys() == packed.keys()
    for name, tensor in packed.items():
        assert again[name].dtype == tensor.dtype
        assert again[name].tobytes() == tensor.tobytes(), name


def test_fp32_loses_nothing_and_leaves_out_rows_of_zeros() -> None:
    weights = _weights()
    packed, entries = pack(weights, "fp32")
    assert entries == {"ngrams.weight": {"shape": [500, 16], "format": "fp32"}}
    assert packed["ngrams.weight"].shape == (4, 16)
    assert packed["ngrams.weight:rows"].tolist() == [0, 3, 77, 499]
    unpacked = unpack(packed, entries)
    assert unpacked.keys() == weights.keys()
    for name, weight in weights.items():
        assert unpacked[name].dtype == weight.dtype
        assert unpacked[name].tobytes() == weight.tobytes()


def test_negative_zeros_and_numbers_that_are_none_come_back() -> None:
    table = np.zeros((900, 8), np.float32)
    table[5, 0], table[6, 1], table[7, 2] = -0.0, np.nan, np.inf
    for number_format in FORMATS:
        found = unpack(*pack({"table": table}, number_format))["table"]
        assert found.tobytes() == table.tobytes()


def test_bf16_rounds_matrices_as_torch_does() -> None:
    values = np.random.default_rng(1).normal(size=(64, 33)).astype(np.float32)
    values[0, :2] = [1 + 2**-8, 1 + 3 * 2**-8]  # halfway between two numbers: to the even one
    found = unpack(*pack({"matrix": values, "vector": values[0]}, "bf16"))
    assert np.array_equal(found["matrix"], torch.from_numpy(values).bfloat16().float().numpy())
    assert np.array_equal(found["vector"], values[0])


def test_weights_are_rounded_as_torch_rounds_them() -> None:
    generator = np.random.default_rng(5)
    matrix = (generator.normal(size=(50, 40)) * 10.0 ** generator.integers(-30, 30, (50, 40))).astype(np.float32)
    matrix[0, :4] = [1 + 2.0**-8, 1 + 3 * 2.0**-8, 0.0, -1 - 2.0**-8]  # ties, which go to the even one
    weights = {"matrix": matrix, "bias": matrix[1]}
    found = rounded(weights, "bf16")
    assert (found["matrix"] == torch.from_numpy(matrix).bfloat16().float().numpy()).all()
    assert (found["bias"] == weights["bias"]).all()
    assert (rounded(weights, "fp32")["matrix"] == matrix).all()


def test_rounding_twice_is_rounding_once() -> None:
    for number_format in FORMATS:
        once = rounded(_weights(), number_format)
        for name, values in rounded(once, number_format).items():
            assert values.tobytes() == once[name].tobytes(), (number_format, name)


@pytest.mark.parametrize("columns", [1, 7, 8, 9])
def test_narrow_matrices_are_rounded_to_bf16_in_int8(columns: int) -> None:
    values = np.random.default_rng(1).normal(size=(40, columns)).astype(np.float32)
    packed, entries = pack({"matrix": values}, "int8")
    narrow = columns < 8
    assert entries["matrix"]["format"] == ("bf16" if narrow else "int8")
    assert ("matrix:scales" in packed) is not narrow
    found = unpack(packed, entries)["matrix"]
    assert np.array_equal(found, torch.from_numpy(values).bfloat16().float().numpy()) is narrow
    assert sum(tensor.nbytes for tensor in packed.values()) <= values.nbytes / 2


@given(arrays.arrays(np.float32, (4, 8), elements=st.floats(-1e6, 1e6, width=32)))
def test_int8_is_off_by_half_a_unit_of_the_row_at_most(values: np.ndarray) -> None:
    packed, entries = pack({"matrix": values}, "int8")
    assert packed["matrix"].dtype == np.int8
    found = unpack(packed, entries)["matrix"]
    unit = np.abs(values).max(1, keepdims=True).astype(np.float64) / 127
    assert np.all(np.abs(found.astype(np.float64) - values) <= np.maximum(0.5005 * unit, 1e-30))
    again = pack({"matrix": found}, "int8")[0]
    assert again["matrix"].tobytes() == packed["matrix"].tobytes()
    assert again["matrix:scales"].tobytes() == packed["matrix:scales"].tobytes()


@pytest.mark.parametrize("name", ["evidence.table", "output.bias", "linear.keys", "counts", "empty"])
def test_what_must_be_exact_is_exact_in_int8(name: str) -> None:
    weights = _weights()
    assert np.array_equal(unpack(*pack(weights, "int8"))[name], weights[name])


@pytest.mark.parametrize(
    "entry",
    [
        None,
        {},
        {"shape": [500, 16]},
        {"shape": [500, 16], "format": "int4"},
        {"shape": [500, 16], "format": "int8"},
        {"shape": [3, 16], "format": "fp32"},
        {"shape": [500, 7], "format": "fp32"},
        {"shape": "large", "format": "fp32"},
        {"shape": -1, "format": "fp32"},
    ],
)
def test_an_entry_that_does_not_fit_is_refused(entry: Any) -> None:
    packed, _ = pack(_weights(), "fp32")
    with pytest.raises(ValueError):
        unpack(packed, {"ngrams.weight": entry})
    with pytest.raises(ValueError):
        unpack(packed, {"missing": {"shape": [1], "format": "fp32"}})
