"""The scan on a GPU: under Triton's interpreter, in a process of its own, because it is switched on at import."""

from __future__ import annotations

import pytest

from tests.kernels.gpu.test_triton_recurrence import run_interpreted


def test_scan_under_the_interpreter() -> None:
    pytest.importorskip("triton", reason="Triton is not installed")
    run_interpreted("interpreted_scan.py")
