"""A run on the beginning of a corpus records it, continues with it, and is repeated with it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import nlpseq
from nlpseq.errors import CorpusError, OptionError
from nlpseq.training.repeating import command, repeated

TEXT = "".join(f"line {number} of a text, with the word {number % 7}\n" for number in range(800))


def _config(run: Path) -> dict[str, Any]:
    return json.loads((run / "config.json").read_text())


def _sha256(run: Path) -> str:
    return str(_config(run)["data"]["sha256"])


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run of three steps on the first 400 lines of a text."""
    (tmp_path / "a.txt").write_text(TEXT)
    nlpseq.train("lm", tmp_path / "a.txt", take=400, steps=3, hidden_size=16, random_seed=5, out=tmp_path / "run")
    return tmp_path / "run"


def test_a_run_on_a_beginning_is_a_run_on_its_text(run: Path, tmp_path: Path) -> None:
    (tmp_path / "b.txt").write_text("".join(TEXT.splitlines(keepends=True)[:400]))
    nlpseq.train("lm", tmp_path / "b.txt", steps=3, hidden_size=16, random_seed=5, out=tmp_path / "other")
    assert _sha256(run) == _sha256(tmp_path / "other")
    weights = [nlpseq.load(path).model.weights for path in (run, tmp_path / "other")]
    assert all((weights[0][name] == weights[1][name]).all() for name in weights[0])


def test_a_beginning_is_recorded_and_repeated(run: Path, tmp_path: Path) -> None:
    config = _config(run)
    assert config["asked"]["corpus"] == [str(tmp_path / "a.txt")] and config["asked"]["take"] == 400
    assert f"nlpseq train lm {tmp_path / 'a.txt'} --take 400 " in command(config)
    values = repeated(config)
    nlpseq.train("lm", *values.pop("corpus"), out=tmp_path / "again", **values)
    assert (tmp_path / "again" / "model.safetensors").read_bytes() == (run / "model.safetensors").read_bytes()


def test_a_run_continues_with_its_beginning_or_another(run: Path, tmp_path: Path) -> None:
    before = _sha256(run)
    nlpseq.train("lm", resume=True, steps=5, out=run)
    assert _sha256(run) == before and _config(run)["asked"]["take"] == 400
    nlpseq.train("lm", resume=True, steps=6, take=500, out=run)
    assert _sha256(run) != before and _config(run)["asked"]["take"] == 500
    (tmp_path / "c.txt").write_text(TEXT * 2)
    nlpseq.train("lm", tmp_path / "c.txt", resume=True, steps=7, out=run)
    assert _config(run)["asked"]["take"] is None


def test_a_model_of_a_beginning_is_evaluated_on_its_end(run: Path) -> None:
    scores = {score.name: score for score in nlpseq.load(run).evaluate()}
    trained = _config(run)["result"]["valid"]
    assert scores["loss"].value == pytest.approx(trained["loss"], abs=1e-6)
    assert "a.txt@400:held-out" in scores["loss"].signature


@pytest.mark.parametrize("task", ["sentiment", "translation"])
def test_the_bundled_corpora_have_beginnings(task: str, tmp_path: Path) -> None:
    nlpseq.train(task, take=120, steps=1, hidden_size=8, embedding_size=8, out=tmp_path / "run")
    config = _config(tmp_path / "run")
    assert (config["asked"]["corpus"], config["asked"]["take"]) == ([], 120)


def test_standard_input_has_none(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="standard input is read to its end"):
        nlpseq.train("lm", "-", take=3, out=tmp_path / "run")


class Hub:
    """Replaces `datasets.load_dataset`: rows that fail after `most`."""

    features = None

    def __init__(self, most: int) -> None:
        self.most = most
        self.readings = 0

    def __call__(self, *_: Any, **__: Any) -> Hub:
        self.readings += 1
        return self

    def __iter__(self) -> Iterator[dict[str, Any]]:
        yield from ({"text": line} for line in TEXT.splitlines()[: self.most])
        raise ConnectionError("the connection was reset")


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Hub:
    datasets = pytest.importorskip("datasets")
    replacement = Hub(100)
    monkeypatch.setattr("huggingface_hub.get_session", lambda: SimpleNamespace(head=lambda *_, **__: None))
    monkeypatch.setattr(datasets, "load_dataset", replacement)
    return replacement


def test_a_data_set_of_the_hub_is_fetched_once(hub: Hub, tmp_path: Path) -> None:
    nlpseq.train("lm", "hf:a/b", take=100, steps=2, hidden_size=16, out=tmp_path / "run")
    assert hub.readings == 1
    assert not list((tmp_path / "run").rglob("hub-*"))


def test_a_network_that_fails_leaves_nothing_behind(hub: Hub, tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="after 100 rows: the connection was reset") as caught:
        nlpseq.train("lm", "hf:a/b", steps=2, hidden_size=16, out=tmp_path / "run")
    assert caught.value.hint.endswith("hf:a/b@100")
    assert not (tmp_path / "run").exists()
    nlpseq.train("lm", "hf:a/b@100", steps=2, hidden_size=16, out=tmp_path / "run")
    assert _config(tmp_path / "run")["asked"]["corpus"] == ["hf:a/b@100"]
