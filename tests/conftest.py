"""Fixtures that several test files share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nlpseq.models import language_model
from nlpseq.models.language_model import LanguageModelOptions
from nlpseq.models.model_file import save_model
from nlpseq.text.tokenisers import train_tokeniser

TEXT = "the cat sat on the mat, où es-tu?\nthe dog sat on the log.\n\nöl 猫\n" * 40

# How far two ways of computing the same may differ: relative to the largest value of what is expected.
TOLERANCES = {
    "float64": 1e-11,  # some hundred rounding errors of 1e-16, and normalising two values multiplies them by 300
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


def _write_model(path: Path, kind: str = "char", seed: int = 1, **settings: Any) -> Path:
    """Write a small language model of random weights, over a tokeniser trained on TEXT."""
    details = {name: settings.pop(name) for name in ("data", "scores", "training") if name in settings}
    options = LanguageModelOptions(
        **{"hidden_size": 16, "embedding_size": 8, "tied": False, "ngrams": 1, "layers": 2, **settings}
    )
    tokeniser = train_tokeniser(kind, TEXT.split("\n"), 300)
    frequencies = np.bincount(tokeniser.encode(TEXT), minlength=tokeniser.size)
    weights = language_model.initial_weights(options, tokeniser.size, seed, frequencies)
    save_model(path, language_model.TASK, asdict(options), weights, tokeniser, **details)
    return path


@pytest.fixture(scope="session")
def make_model(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """`make_model(kind, **options)`: the path of such a model, made once."""
    made: dict[str, Path] = {}

    def make(kind: str = "char", **settings: Any) -> Path:
        key = repr((kind, sorted(settings.items())))
        if key not in made:
            made[key] = _write_model(tmp_path_factory.mktemp("model") / "model.safetensors", kind, **settings)
        return made[key]

    return make


@pytest.fixture(scope="session")
def model_path(make_model: Callable[..., Path]) -> Path:
    """A small language model over characters."""
    return make_model()
