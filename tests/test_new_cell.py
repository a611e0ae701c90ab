"""A cell is one file and its lines in the table: with these alone it trains, resumes, scores and generates.

The test does what CONTRIBUTING.md says of a cell, in a copy of the package: it writes one file and edits one other.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from nlpseq.models.model_file import NAME as MODEL
from nlpseq.models.model_file import read_tensors

ROOT = Path(__file__).parents[1]

NAME = "lstm-peephole"
CELL = '''"""Long short-term memory with peepholes: its gates see the memory, too."""

from __future__ import annotations

from nlpseq.arrays import Array, sigmoid, tanh
from nlpseq.cells.cell import Cell
from nlpseq.cells.lstm import LSTMState


def step(from_input: Array, from_hidden: Array, state: LSTMState, peepholes: Array) -> LSTMState:
    """Advance by one time step; both products are [B, 4H], in the blocks i f g o, and peepholes [3, H] of i, f and o.

    Gers and Schmidhuber (2000). The output gate sees the new memory, the other two see the old one.
    """
    size = state.hidden.shape[-1]
    gates = from_input + from_hidden
    admitted = sigmoid(gates[:, :size] + peepholes[0] * state.memory)
    kept = sigmoid(gates[:, size : 2 * size] + peepholes[1] * state.memory)
    memory = kept * state.memory + admitted * tanh(gates[:, 2 * size : 3 * size])
    shown = sigmoid(gates[:, 3 * size :] + peepholes[2] * memory)
    return LSTMState(shown * tanh(memory), memory)


LSTM_PEEPHOLE = Cell("lstm-peephole", 4, LSTMState, step, initial_biases=(0.0, 1.0, 0.0, 0.0), peepholes=3)
'''
EDITS = (  # of nlpseq/cells/__init__.py: the import, the table
    (
        "from nlpseq.cells.lstm import LSTM\n",
        "from nlpseq.cells.lstm import LSTM\nfrom nlpseq.cells.lstm_peephole import LSTM_PEEPHOLE\n",
    ),
    (" LSTM, ", " LSTM, LSTM_PEEPHOLE, "),
)

TEXT = "the cat sat on the mat, où es-tu?\nthe dog sat on the log.\n\n" * 40
STEPS = 40
TRAIN = f"train lm corpus.txt --cell {NAME} --tokens char --steps {STEPS} --save-every 4 --batch-size 4"
TRAIN += " --hidden-size 8 --embedding-size 6 --sequence-length 7 --zoneout 0.1 --layers 2"


@dataclass(frozen=True)
class Copy:
    """A folder with the package and a corpus, and a corpus to train on."""

    folder: Path

    def start(self, command: str) -> subprocess.Popen[str]:
        """`nlpseq` with these arguments, of the copy."""
        variables = {**os.environ, "PYTHONPATH": str(self.folder), "OMP_NUM_THREADS": "1"}
        arguments = [sys.executable, "-m", "nlpseq", *command.split()]
        return subprocess.Popen(
            arguments,
            cwd=self.folder,
            env=variables,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, command: str, status: int = 0, text: str = "") -> tuple[str, str]:
        """Standard output and standard error of a command that reads `text` and ends with `status`."""
        process = self.start(command)
        output, errors = process.communicate(text, timeout=120)
        assert process.returncode == status, f"{command}: {errors}"
        assert "Traceback" not in errors, errors
        return output, errors


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Copy:
    """A copy of the package with one more cell."""
    folder = tmp_path_factory.mktemp("copy")
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "nlpseq", folder / "nlpseq", ignore=ignored, copy_function=shutil.copyfile)
    (folder / "nlpseq/cells").chmod(0o700)  # the checkout may be read-only
    (folder / "nlpseq/cells/lstm_peephole.py").write_text(CELL, encoding="utf-8")
    table = folder / "nlpseq/cells/__init__.py"
    text = table.read_text(encoding="utf-8")
    for old, new in EDITS:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    table.write_text(text, encoding="utf-8")
    (folder / "corpus.txt").write_text(TEXT, encoding="utf-8")
    return Copy(folder)


@pytest.fixture(scope="module")
def trained(copy: Copy) -> str:
    """Standard error of a run of STEPS steps, whose model is in the folder `whole`."""
    return copy.run(f"{TRAIN} --out whole")[1]


def test_it_trains_on_the_plain_loop_and_says_why(copy: Copy, trained: str) -> None:
    assert f"{NAME} 2x8" in trained.splitlines()[1]
    assert f"plain loop, fp32: no compiled kernel for {NAME}" in trained.splitlines()[3]
    weights = read_tensors(copy.folder / "whole" / MODEL)[1]
    assert weights["layers.1.peepholes"].shape == (3, 8)
    assert np.abs(weights["layers.0.peepholes"]).min() > 0, "peepholes begin at zero and are trained"


def test_killed_and_resumed_it_comes_to_the_same_bits(copy: Copy, trained: str) -> None:
    until, saved = time.monotonic() + 120, copy.folder / "killed/resume.safetensors"
    with copy.start(f"{TRAIN} --out killed") as process:
        while not saved.exists() and process.poll() is None and time.monotonic() < until:
            time.sleep(0.005)
        process.kill()
        errors = process.communicate(timeout=120)[1]
    assert process.returncode == -signal.SIGKILL, errors
    copy.run("train lm --out killed --resume")
    found, expected = (read_tensors(copy.folder / name / MODEL)[1] for name in ("killed", "whole"))
    assert found.keys() == expected.keys()
    assert all(np.array_equal(found[name], expected[name]) for name in expected)


def test_it_evaluates_scores_and_generates(copy: Copy, trained: str) -> None:
    scores = json.loads(copy.run("evaluate -m whole corpus.txt --json -q")[0])["scores"]
    loss = next(score for score in scores if score["name"] == "loss")
    assert loss["value"] < np.log(20), "better than a guess among the characters of the text"
    output = copy.run("score -m whole --follow --json -q", text=TEXT)[0]
    lines = [json.loads(line) for line in output.splitlines()]
    assert len(lines) == TEXT.count("\n")
    assert -sum(line["log_probability"] for line in lines) == pytest.approx(loss["parts"]["nats"], rel=1e-4)
    text = copy.run("generate -m whole --seed the --length 50 --random-seed 3 -q")[0]
    assert text.startswith("the")
    assert len(text.rstrip("\n")) > 40
    assert NAME in copy.run("inspect model -m whole")[0]


@pytest.mark.parametrize(
    ("backend", "reason"),
    [
        ("native", f"native has no kernel for the cell {NAME}"),
        ("torch", f"torch has no operator with the cell {NAME}"),
    ],
)
def test_a_backend_without_the_cell_is_refused_with_the_reason(copy: Copy, backend: str, reason: str) -> None:
    errors = copy.run(f"{TRAIN} --out refused --backend {backend}", status=1)[1]
    assert errors.splitlines()[1:] == [f"error: --backend: {reason}", "hint:  --backend auto"]
    assert not (copy.folder / "refused").exists()


def test_it_is_timed_like_any_other(copy: Copy) -> None:
    options = f"--cell {NAME} --shape 3x2x5 --dtype fp32 --repeats 1"
    output, errors = copy.run(f"bench cells {options} --json")
    (row,) = json.loads(output)
    assert row["cell"] == NAME
    assert row["ours_ms"] > 0
    assert row["torch_ms"] is None
    assert f"plain loop, fp32: no compiled kernel for {NAME}" in errors
