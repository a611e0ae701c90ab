"""The compiled code under address and undefined-behaviour sanitizers: a part of its tests, and what must be found."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

import sanitized

TESTS = (  # of benchmarks/sanitized.py these are run here; `python benchmarks/sanitized.py` runs all, on all kinds
    "tests/native/test_layer.py",
    "tests/native/test_boundaries.py",
    "tests/native/test_output_layer.py",
)
BEYOND = """
import sanitized
sanitized.load()
import numpy as np
from nlpseq.native import extension
values = np.zeros(100, np.float32)
extension.load_library().nlpseq_log_softmax(0, values.ctypes.data, SIZE)
print("unseen")
"""


@pytest.fixture(scope="module")
def variables(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Those with which a child process loads the library, of the plain kind of processor."""
    if reason := sanitized.why_not():
        pytest.skip(f"no sanitizers: {reason}")
    return sanitized.environment(sanitized.build(tmp_path_factory.mktemp("sanitized"), plain=True))


@pytest.mark.parametrize(("size", "status", "said"), [(100, 0, "unseen"), (200, 99, "heap-buffer-overflow")])
def test_a_read_beyond_an_end_is_found(size: int, status: int, said: str, variables: dict[str, str]) -> None:
    words = [sys.executable, "-c", BEYOND.replace("SIZE", str(size))]
    done = subprocess.run(words, env={**os.environ, **variables}, capture_output=True, text=True, timeout=60)
    assert done.returncode == status, done.stderr[-1000:]
    assert said in done.stdout + done.stderr


def test_compiled_code_reads_and_writes_within_its_arrays(variables: dict[str, str]) -> None:
    done = sanitized.run_tests(variables, TESTS)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    assert " passed" in done.stdout
