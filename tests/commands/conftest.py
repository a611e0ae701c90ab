"""Running the program inside the test, and the files that break things."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from nlpseq.commands.cli import app
from nlpseq.models import classifier
from nlpseq.models.classifier import ClassifierOptions
from nlpseq.models.model_file import save_model
from nlpseq.text.tokenisers import ByteTokeniser

ROBUSTNESS = (Path(__file__).parents[2] / "../shared/data/robustness").resolve()


@pytest.fixture(autouse=True)
def an_empty_folder(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands run in an empty folder: what lies about elsewhere changes neither defaults nor hints."""
    monkeypatch.chdir(tmp_path_factory.mktemp("empty"))


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """A text of 300 lines that are much alike."""
    path = tmp_path / "test.txt"
    text = "".join(f"the cat {number} sat on the mat, où es-tu?\n" for number in range(300))
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture
def nlpseq() -> Callable[..., Result]:
    """`nlpseq("score", "-m", path, input=b"..")`: what the program does, in this process."""

    def run(*arguments: object, **settings: Any) -> Result:
        return CliRunner().invoke(app, [str(one) for one in arguments], catch_exceptions=False, **settings)

    return run


@pytest.fixture(params=sorted(ROBUSTNESS.rglob("*.t*")) or [None], ids=lambda path: path.name if path else "none")
def odd_file(request: pytest.FixtureRequest) -> Iterator[bytes]:
    """The bytes of each file that breaks things."""
    if request.param is None:
        pytest.skip("the robustness files are not beside this checkout")
    yield request.param.read_bytes()


@pytest.fixture
def lines_of() -> Callable[[bytes], list[bytes]]:
    """The lines of some bytes: only a newline ends one, and the last may lack it."""
    return lambda data: data.removesuffix(b"\n").split(b"\n") if data else []


@pytest.fixture
def other_task(tmp_path: Path) -> Path:
    """A model file of another task."""
    path = tmp_path / "classifier.safetensors"
    options = ClassifierOptions(hidden_size=2, embedding_size=2)
    weights = classifier.initial_weights(options, 256, np.ones(2), 1)
    save_model(path, classifier.TASK, asdict(options), weights, ByteTokeniser(()), labels=["bad", "good"])
    return path
