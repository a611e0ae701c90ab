"""Local input opens no socket: a short part of `benchmarks/no_sockets.py`."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parents[1] / "benchmarks" / "no_sockets.py"


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
def test_reading_tables_and_texts_opens_no_socket() -> None:
    done = subprocess.run([sys.executable, PROGRAM, "corpus"], capture_output=True, text=True, timeout=300, check=False)
    if "ptrace" in done.stdout + done.stderr:
        pytest.skip("this system lets no process be traced")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("no sockets") == 6
