"""Small models of each task, trained once."""

from __future__ import annotations

from pathlib import Path

import pytest

import nlpseq
from nlpseq.tasks import COMMANDS


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The folder of a trained model by the name of its task's command."""
    folder = tmp_path_factory.mktemp("trained")
    for command in COMMANDS:
        size = {"hidden_size": 16, "batch_size": 8, **({"ngrams": 1} if command == "lm" else {})}
        nlpseq.train(command, out=folder / command, steps=4, device="cpu", random_seed=3, **size)
    return {command: folder / command for command in COMMANDS}
