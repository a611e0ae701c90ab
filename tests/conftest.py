"""Fixtures that several test files share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

# How far two ways of computing the same may differ: relative to the largest value of what is expected.
TOLERANCES = {
    "float64": 1e-11,  # rounding errors of 1e-16, some hundred of them; normalising two values makes them 300 times larger
    "float32": 1e-5,  # some hundred additions of rounding error 6e-8, in another order
    "bfloat16": 2e-2,  # operands carry 8 bits: 4e-3 each, and the errors of a few steps
}


def _array(value: Any) -> np.ndarray:
    value = value.detach().double().numpy() if hasattr(value, "detach") else value
    return np.asarray(value, np.float64)


@pytest.fixture
def assert_close() -> Callable[..., None]:
    """`assert_close(found, expected, "float32")`: arrays or tensors that agree to the type's tolerance."""

    def check(found: Any, expected: Any, dtype: str = "float64", what: object = "") -> None:
        left, right = _array(found), _array(expected)
        assert left.shape == right.shape, f"{what}: shape {left.shape}, expected {right.shape}"
        error = float(abs(left - right).max(initial=0)) / max(float(abs(right).max(initial=0)), 1e-6)
        assert error <= TOLERANCES[dtype], f"{what}: differs by {error:.2e} of the largest value"

    return check
