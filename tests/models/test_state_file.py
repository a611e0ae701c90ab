"""A state in a file: what was saved comes back, and nothing else is taken for it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from nlpseq.errors import ModelFileError, RunError
from nlpseq.models import language_model
from nlpseq.models.state_file import load_state, save_state
from nlpseq.models.stepper import Stepper

MakeModel = Callable[..., Path]


def _saved(path: Path, target: Path) -> language_model.LanguageModelState:
    model, options = language_model.load(path)
    steps = Stepper(model.weights, options)
    steps.read(np.array([[10], [97], [98]]))
    save_state(target, model, steps.state, 98)
    return steps.state


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_a_state_comes_back(make_model: MakeModel, tmp_path: Path, cell: str) -> None:
    path = make_model(cell=cell, ngrams=4, ngram_buckets=16)
    state = _saved(path, tmp_path / "state")
    found, last = load_state(tmp_path / "state", *language_model.load(path))
    assert last == 98
    for name, value in language_model.flatten_state(state).items():
        assert (language_model.flatten_state(found)[name] == value).all(), name


def test_the_state_of_another_model_is_refused(make_model: MakeModel, tmp_path: Path) -> None:
    _saved(make_model(), tmp_path / "state")
    with pytest.raises(ModelFileError, match="another model"):
        load_state(tmp_path / "state", *language_model.load(make_model(seed=2)))


def test_a_model_is_no_state_and_a_state_no_model(model_path: Path, tmp_path: Path) -> None:
    _saved(model_path, tmp_path / "state")
    with pytest.raises(ModelFileError, match="not the state of a model"):
        load_state(model_path, *language_model.load(model_path))
    with pytest.raises(ModelFileError, match="not a model"):
        language_model.load(tmp_path / "state")


def test_a_missing_or_damaged_state_is_refused(model_path: Path, tmp_path: Path) -> None:
    loaded = language_model.load(model_path)
    with pytest.raises(ModelFileError, match="no such state"):
        load_state(tmp_path / "none", *loaded)
    _saved(model_path, tmp_path / "state")
    whole = (tmp_path / "state").read_bytes()
    (tmp_path / "state").write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(ModelFileError, match="damaged"):
        load_state(tmp_path / "state", *loaded)


def test_a_state_that_cannot_be_written_says_so(model_path: Path, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="cannot be written") as caught:
        _saved(model_path, tmp_path / "no" / "folder" / "state")
    assert caught.value.hint == "name another file"
