"""Tests need no network, and no shell of a certain kind."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def test_a_connection_is_refused() -> None:
    for address in ("192.0.2.1", "127.0.0.1"):
        with pytest.raises(OSError, match=f"a test connects to .*{address}"):
            socket.create_connection((address, 9), timeout=1)


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_signals_are_tested_in_a_job_that_ignores_them_too() -> None:
    """As under `nohup make test &`, and with variables that change what is printed."""
    program = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "signals or ctrl_c or version"]
    variables = {
        **os.environ,
        "COLUMNS": "20",
        "FORCE_COLOR": "1",
        "PYTHONWARNINGS": "error",
        "NLPSEQ_INSTRUCTIONS": "x",
    }
    done = subprocess.run(
        [*program, str(ROOT / "tests/commands/test_cli.py")],
        cwd="/",
        env={name: value for name, value in variables.items() if not name.startswith("PYTEST_")},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),
    )
    assert done.returncode == 0, done.stdout
    assert " passed" in done.stdout
