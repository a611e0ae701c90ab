"""The model file: what goes in comes out, and anything else is refused in a sentence."""

from __future__ import annotations

import json
import os
import random
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save, save_file

from nlpseq import __version__
from nlpseq.errors import ModelFileError, NlpseqError, RunError
from nlpseq.files import replace_file
from nlpseq.models import language_model, model_file
from nlpseq.models.language_model import LanguageModelOptions
from nlpseq.models.model_file import load_again, load_model, read_tensors, save_model, write_tensors
from nlpseq.models.storage import FORMATS
from nlpseq.text.tokenisers import train_tokeniser

TASK = "language-model"
MADE = LanguageModelOptions(cell="gru", hidden_size=3, embedding_size=4, zoneout=0.25, ngrams=2, ngram_buckets=2000)
OPTIONS = asdict(MADE)
SCORE = {"name": "loss", "value": 1.5, "unit": "token", "signature": "loss|x", "parts": {"nats": 3.0}}
TOKENISER = train_tokeniser("word", ["the cat é"] * 2, 300)


def _weights() -> dict[str, np.ndarray]:
    weights = language_model.initial_weights(MADE, TOKENISER.size, 1)
    weights["ngrams.weight"][::50] = np.random.default_rng(3).normal(size=(40, 4))
    return weights


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A whole model file."""
    file = tmp_path / "model.safetensors"
    save_model(file, TASK, OPTIONS, _weights(), TOKENISER, scores=[SCORE], data={"é": 1})
    return file


def test_what_is_saved_is_loaded(path: Path) -> None:
    for given in (path, path.parent):
        model = load_model(given, TASK)
        assert model.task == TASK
        assert model.options == OPTIONS
        assert model.path == path
        assert model.header["version"] == __version__
        assert model.header["scores"] == [SCORE]
        assert model.header["data"] == {"é": 1}
        assert model.tokeniser.decode(model.tokeniser.encode("the é cat\n")) == "the é cat\n"
        assert model.weights.keys() == _weights().keys()
        for name, value in _weights().items():
            assert model.weights[name].dtype == value.dtype
            assert np.array_equal(model.weights[name], value)


def test_the_same_model_gives_the_same_bytes(path: Path, tmp_path: Path) -> None:
    model = load_model(path)
    again = tmp_path / "again"
    reversed_weights = dict(reversed(list(model.weights.items())))
    save_model(again, TASK, OPTIONS, reversed_weights, model.tokeniser, scores=model.header["scores"], data={"é": 1})
    assert again.read_bytes() == path.read_bytes()


def test_a_file_cut_anywhere_is_refused(path: Path) -> None:
    whole = path.read_bytes()
    for length in [0, 1, 7, 8, 9, *range(20, len(whole), 97), len(whole) - 1]:
        path.write_bytes(whole[:length])
        with pytest.raises(ModelFileError) as refused:
            load_model(path)
        assert refused.value.where == str(path)
    path.write_bytes(whole + b"x")
    with pytest.raises(ModelFileError):
        load_model(path)


def _content(path: Path) -> tuple[Any, ...]:
    model = load_model(path, TASK)
    arrays = tuple((name, value.shape, value.tobytes()) for name, value in model.weights.items())
    return (json.dumps(model.header, sort_keys=True), model.tokeniser.to_bytes(), arrays)


def test_a_flipped_bit_is_refused_or_changes_nothing(path: Path) -> None:
    """A few bits mean nothing, such as the case of a letter in the number 1e-05."""
    whole, expected = path.read_bytes(), _content(path)
    chosen = random.Random(0).sample(range(8 * len(whole)), 1500)
    refused = 0
    for bit in chosen:
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        try:
            assert _content(path) == expected, f"bit {bit} changes the model unseen"
        except NlpseqError as error:
            refused += 1
            assert isinstance(error, ModelFileError)
    assert refused > 0.99 * len(chosen)


@pytest.mark.parametrize("store", FORMATS)
def test_a_packed_model_is_loaded_and_saved_again_to_the_same_bytes(store: str, tmp_path: Path) -> None:
    weights, tokeniser = _weights(), TOKENISER
    first, second = tmp_path / "first", tmp_path / "second"
    save_model(first, TASK, OPTIONS, weights, tokeniser, store)
    model = load_model(first, TASK)
    assert model.header["format"] == model_file.COMPACT_FORMAT
    assert model.weights.keys() == weights.keys()
    for name, value in weights.items():
        assert model.weights[name].dtype == np.float32
        assert model.weights[name].shape == value.shape
    assert first.stat().st_size < sum(weight.nbytes for weight in weights.values()) / 2
    save_model(second, TASK, OPTIONS, model.weights, tokeniser, store)
    assert second.read_bytes() == first.read_bytes()


def test_a_model_with_nothing_packed_is_of_the_format_that_older_versions_read(path: Path) -> None:
    options = replace(MADE, ngrams=1)
    save_model(path, TASK, asdict(options), language_model.initial_weights(options, TOKENISER.size, 1), TOKENISER)
    assert load_model(path).header["format"] == model_file.FORMAT == 1


def test_a_damaged_packed_model_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    save_model(file, TASK, OPTIONS, _weights(), TOKENISER, "int8")
    whole, expected = file.read_bytes(), _content(file)
    for bit in random.Random(0).sample(range(8 * len(whole)), 400):
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        file.write_bytes(damaged)
        try:
            assert _content(file) == expected, f"bit {bit} changes the model unseen"
        except NlpseqError as error:
            assert isinstance(error, ModelFileError)


def test_a_header_that_does_not_fit_the_tensors_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    header = {"format": 2, "task": TASK, "options": {}, "storage": {"a": {"shape": [3, 3], "format": "int8"}}}
    write_tensors(file, header, {"a": np.ones((2, 3), np.int8)})
    with pytest.raises(ModelFileError, match="is damaged: a is not stored as its header says"):
        read_tensors(file)


def test_a_safetensors_file_of_somebody_else_is_refused(tmp_path: Path) -> None:
    foreign = tmp_path / "foreign.safetensors"
    for metadata in (None, {"format": "pt"}):
        save_file({"weight": np.ones((2, 3), np.float32)}, foreign, metadata)
        with pytest.raises(ModelFileError, match="not one of nlpseq"):
            load_model(foreign)


@pytest.mark.parametrize("text", ["[]", "7", "null", "{}", "not json", '{"format": "1"}'])
def test_a_header_that_is_none_of_ours_is_refused(text: str, tmp_path: Path) -> None:
    foreign = tmp_path / "foreign.safetensors"
    foreign.write_bytes(save({"weight": np.ones(2, np.float32)}, {"nlpseq": text}))
    with pytest.raises(ModelFileError):
        load_model(foreign)


@pytest.mark.parametrize("data", [b"", b"hello\n", b"\x1f\x8b\x08", bytes(1000), b"\xff" * 64], ids=repr)
def test_a_file_that_is_no_safetensors_is_refused(data: bytes, tmp_path: Path) -> None:
    other = tmp_path / "other.safetensors"
    other.write_bytes(data)
    with pytest.raises(ModelFileError, match="damaged, or not a model file"):
        load_model(other)


def test_a_newer_format_is_refused_with_the_way_to_upgrade(path: Path) -> None:
    newest = model_file.COMPACT_FORMAT
    write_tensors(path, {"format": newest + 1, "version": "9.9", "task": TASK, "options": OPTIONS}, _weights())
    with pytest.raises(ModelFileError, match=f"format {newest + 1}, made by nlpseq 9.9; .*up to {newest}") as refused:
        load_model(path)
    assert "upgrade" in refused.value.hint


def test_a_model_of_another_task_is_refused(path: Path) -> None:
    with pytest.raises(ModelFileError, match="is a language model, a translator is needed") as refused:
        load_model(path, "translator")
    assert refused.value.hint == "-m english-german"


def test_a_missing_model_names_the_command_that_makes_one(tmp_path: Path) -> None:
    for missing in (tmp_path / "none" / "of", tmp_path / "nothing" / "model.safetensors"):
        with pytest.raises(ModelFileError, match="no such model") as refused:
            load_model(missing, TASK)
        assert refused.value.hint.startswith("nlpseq train lm --out ")


def test_a_file_of_ours_that_is_no_model_is_refused(tmp_path: Path) -> None:
    other = tmp_path / "resume.safetensors"
    write_tensors(other, {"format": 1, "version": "1"}, {"a": np.ones(2)})
    with pytest.raises(ModelFileError, match="but not a model"):
        load_model(other)


def test_arrays_of_every_kind_survive(tmp_path: Path) -> None:
    tensors = {
        "a": np.arange(6, dtype=np.int64).reshape(2, 3).T,
        "b": np.float64([1.5, np.nan, np.inf]),
        "c": np.array(3, np.uint8),
        "d": np.zeros((2, 0), np.float32),
    }
    write_tensors(tmp_path / "x", {"format": 1, "best": None, "rate": 0.1}, tensors)
    header, found = read_tensors(tmp_path / "x")
    assert {key: header[key] for key in ("format", "best", "rate")} == {"format": 1, "best": None, "rate": 0.1}
    for name, value in tensors.items():
        assert found[name].dtype == value.dtype
        assert np.array_equal(found[name], value, equal_nan=value.dtype.kind == "f")


def test_a_name_with_undecodable_bytes_does_not_stop_a_model_from_being_saved(tmp_path: Path) -> None:
    header = {"format": 1, "corpus": [os.fsdecode(b"caf\xe9.txt")]}
    write_tensors(tmp_path / "x", header, {"a": np.ones(2)})
    assert read_tensors(tmp_path / "x")[0]["corpus"] == header["corpus"]


def _full(number: int) -> None:
    raise OSError(28, "No space left on device")


def test_a_full_disk_leaves_the_old_file_and_nothing_beside_it(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = path.read_bytes()
    monkeypatch.setattr(os, "fsync", _full)
    with pytest.raises(RunError, match="No space left on device") as refused:
        save_model(path, TASK, OPTIONS, _weights(), train_tokeniser("byte", [], 256))
    assert refused.value.where == str(path)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_a_kill_before_the_rename_leaves_the_old_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = path.read_bytes()

    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        replace_file(path, b"half")
    assert path.read_bytes() == before


def test_what_is_written_reaches_the_disk_before_its_name(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    fsync, replace = os.fsync, Path.replace
    monkeypatch.setattr(os, "fsync", lambda number: (order.append("flushed"), fsync(number))[1])
    monkeypatch.setattr(Path, "replace", lambda self, to: (order.append("renamed"), replace(self, to))[1])
    replace_file(path, b"new")
    assert order[:2] == ["flushed", "renamed"]
    assert path.read_bytes() == b"new"


def test_a_folder_that_is_a_file_is_refused_in_a_sentence(path: Path) -> None:
    with pytest.raises(RunError, match="cannot be written"):
        replace_file(path / "model.safetensors", b"x")
    with pytest.raises(RunError, match="cannot be written"):
        replace_file(path.parent / "missing" / "model.safetensors", b"x")


def test_a_path_without_a_model_gets_a_hint_that_does_good(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    runs = tmp_path / "runs"
    (runs / "good").mkdir(parents=True)
    (runs / "good" / "model.safetensors").write_bytes(path.read_bytes())
    begun = runs / "begun"
    begun.mkdir()
    (begun / "config.json").write_text("{}")
    (begun / "resume.safetensors").write_bytes(b"x")
    for missing, task, what, hint in (
        (runs, None, "holds no model, but runs: good", f"-m {runs / 'good'}"),
        (runs / "goood", None, "no such model", f"did you mean {runs / 'good'}?"),
        (runs / "other", None, "no such model", f"-m {runs / 'good'}"),
        (runs / "other", "classifier", "no such model", f"nlpseq train sentiment --out {runs / 'other'}"),
        (
            Path("checkpoints/translation"),
            None,
            "no such model",
            "nlpseq train translation --out checkpoints/translation",
        ),
        (begun, "translator", "holds a run that has not saved", f"nlpseq train translation --resume --out {begun}"),
    ):
        with pytest.raises(ModelFileError, match=what) as refused:
            load_model(missing, task)
        assert refused.value.hint == hint


def test_a_model_is_loaded_again_unless_its_file_was_replaced(path: Path) -> None:
    def load(place: Path) -> tuple[model_file.Model, str]:
        return load_model(place), "options"

    first = load_model(path)
    assert load_again(load, first.origin)[0].origin == first.origin
    save_model(path, TASK, OPTIONS, language_model.initial_weights(MADE, TOKENISER.size, 2), TOKENISER)
    with pytest.raises(ModelFileError, match="was replaced while it was in use"):
        load_again(load, first.origin)
