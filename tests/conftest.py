"""What every test can rely on, whatever the machine and the shell, and fixtures that several test files share.

This file is read before any test imports NumPy or torch. It removes variables that change what a program prints or
computes, and gives the matrix products of both one thread: products in tests are small, and with a process for each
core (pytest-xdist) more threads would only wait for each other. Our own compiled code still has a thread for each core,
and a test that is about torch's threads sets their number.
"""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

# Variables of Python itself that a test may not see: all but those that say where modules are.
KEPT = ("PYTHONPATH", "PYTHONHOME", "PYTHONSAFEPATH", "PYTHONNOUSERSITE", "PYTHONPYCACHEPREFIX", "PYTHONHASHSEED")
OURS = ("NLPSEQ_INSTRUCTIONS", "NLPSEQ_DEVICE", "NLPSEQ_QUIET", "NLPSEQ_THREADS")
REMOVED = (*OURS, "NO_COLOR", "FORCE_COLOR", "TERM", "COLUMNS", "LINES", "TERMINAL_WIDTH")
REMOVED_BEGINNINGS = ("_NLPSEQ_", "TYPER_", "_TYPER_", "COMP_", "PYTHON")
for _variable in list(os.environ):
    if _variable in REMOVED or (_variable.startswith(REMOVED_BEGINNINGS) and _variable not in KEPT):
        del os.environ[_variable]
for _variable in ("MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")

import numpy as np  # noqa: E402
import pytest  # noqa: E402
from hypothesis import settings  # noqa: E402

from nlpseq.models import language_model  # noqa: E402
from nlpseq.models.language_model import LanguageModelOptions  # noqa: E402
from nlpseq.models.model_file import save_model  # noqa: E402
from nlpseq.text.tokenisers import train_tokeniser  # noqa: E402

settings.register_profile("repeatable", derandomize=True, database=None)  # each run tries the same examples
settings.load_profile("repeatable")

TEXT = "the cat sat on the mat, où es-tu?\nthe dog sat on the log.\n\nöl 猫\n" * 40

# How far two ways of computing the same may differ: relative to the largest value of what is expected.
TOLERANCES = {
    "float64": 1e-11,  # some hundred rounding errors of 1e-16, and normalising two values multiplies them by 300
    "float32": 1e-5,  # some hundred additions of rounding error 6e-8, in another order
    "bfloat16": 2e-2,  # operands carry 8 bits: 4e-3 each, and the errors of a few steps
}


@pytest.fixture(autouse=True)
def signals_are_heard() -> Iterator[None]:
    """SIGINT and SIGTERM do what they do by default, also in a process that was started with `nohup` or `&`."""
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN and signal.getsignal(signal.SIGTERM) is not signal.SIG_IGN:
        yield
        return
    before = [signal.signal(signal.SIGINT, signal.default_int_handler), signal.signal(signal.SIGTERM, signal.SIG_DFL)]
    yield
    for number, handler in zip((signal.SIGINT, signal.SIGTERM), before, strict=True):
        signal.signal(number, handler)


@pytest.fixture(autouse=True, scope="session")
def no_network() -> Iterator[None]:
    """A test that asks another machine for anything fails."""
    connect = socket.socket.connect

    def refuse(self: socket.socket, address: Any) -> None:
        if self.family != getattr(socket, "AF_UNIX", None):
            raise OSError(f"a test connects to {address}")
        connect(self, address)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", refuse)
        yield


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
