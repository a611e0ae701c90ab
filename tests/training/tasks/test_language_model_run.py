"""A language model's run from end to end: it learns, it is resumed to the bit, it survives signals."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from nlpseq.errors import CorpusError, Interrupted, ModelFileError, NlpseqError, OptionError, RunError
from nlpseq.kernels.torch_layers import OPERATORS
from nlpseq.models import language_model as lm
from nlpseq.models.language_model import LanguageModelOptions
from nlpseq.models.model_file import NAME, Model, load_model, read_tensors
from nlpseq.models.options import CELL_CHOICES
from nlpseq.training.options import CorpusOptions, LanguageModelTraining
from nlpseq.training.requests import LanguageModelRequest
from nlpseq.training.tasks.language_model import LanguageModelRun

SENTENCE = "hello world, how are"
TEXT = "".join(f"{number} bottles stand on the wall, and {number % 7} of them fall.\n" for number in range(300))
MODEL: dict[str, Any] = {"hidden_size": 12, "embedding_size": 6, "ngrams": 2, "ngram_buckets": 64, "tied": False}
TRAINING: dict[str, Any] = {
    "steps": 40,
    "batch_size": 4,
    "sequence_length": 9,
    "dropout": 0.2,
    "input_dropout": 0.1,
    "weight_drop": 0.1,
    "average": 0.9,
    "validations": 4,
    "save_every": 5,
    "precision": "fp32",
}


def make_request(folder: Path, text: str = TEXT, *, corpus: Path | None = None, **given: Any) -> LanguageModelRequest:
    corpus = corpus or folder.parent / "corpus.txt"
    if not corpus.exists():
        corpus.write_text(text, encoding="utf-8")
    model = {**MODEL, **given.pop("model", {})}
    return LanguageModelRequest(
        corpus=(str(corpus),),
        out=folder,
        model=LanguageModelOptions(**model),
        training=LanguageModelTraining(**{**TRAINING, **given}),
        corpus_options=CorpusOptions(tokens="char"),
    )


def _train(request: LanguageModelRequest) -> dict[str, Any]:
    run = LanguageModelRun(request)
    for _ in run.progress():
        pass
    return run.finish()


def _same_weights(one: Model, other: Model) -> bool:
    assert one.weights.keys() == other.weights.keys()
    return all(np.array_equal(value, other.weights[name]) for name, value in one.weights.items())


def test_a_tiny_text_is_learned_by_heart(tmp_path: Path) -> None:
    plain = {"dropout": 0.0, "input_dropout": 0.0, "weight_drop": 0.0, "average": 0.0}
    sizes = {"hidden_size": 24, "ngrams": 1, "ngram_buckets": None, "embedding_size": 16}
    request = make_request(
        tmp_path / "run", SENTENCE, steps=150, model=sizes, learning_rate=0.02, save_every=1000, **plain
    )
    result = _train(request)
    assert result["steps"] == 150
    assert result["valid"]["loss"] < 0.5, "the first letter is new each time, the others are known"
    model = load_model(tmp_path / "run")
    options = LanguageModelOptions(**model.options)
    ids = model.tokeniser.encode("h").tolist()
    state = lm.begin(model.weights, options, 1)
    while len(ids) < len(SENTENCE):
        predicted, state = lm.step(model.weights, options, np.array(ids[-1:]), state)
        ids.append(int(predicted[0].argmax()))
    assert model.tokeniser.decode(ids) == SENTENCE


def test_a_finished_run_leaves_model_history_and_configuration(tmp_path: Path) -> None:
    result = _train(make_request(tmp_path / "run"))
    names = sorted(path.name for path in (tmp_path / "run").iterdir())
    assert names == ["config.json", "history.jsonl", NAME, "resume.safetensors"]
    history = [json.loads(line) for line in (tmp_path / "run" / "history.jsonl").read_text().splitlines()]
    assert [record["step"] for record in history if "valid_loss" in record] == [10, 20, 30, 40]
    assert [record["step"] for record in history if "train_loss" in record] == list(range(1, 41))
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["finished"] and config["result"] == result
    assert result["model"] == str(tmp_path / "run" / NAME)
    assert (result["task"], result["steps"]) == ("language-model", 40)
    assert result["valid"]["perplexity"] == pytest.approx(math.exp(result["valid"]["loss"]))
    model = load_model(tmp_path / "run", "language-model")
    assert model.header["scores"][0]["value"] == result["valid"]["loss"]
    assert model.header["data"]["corpus"] == [str(tmp_path / "corpus.txt")]
    assert json.loads(json.dumps(result)) == result


def test_a_run_interrupted_and_resumed_is_the_same_run_to_the_bit(tmp_path: Path) -> None:
    corpus = tmp_path / "corpus.txt"
    whole = make_request(tmp_path / "whole", corpus=corpus, save_every=1000)
    expected = _train(whole)
    halves = make_request(tmp_path / "halves", corpus=corpus, save_every=1000)
    first = LanguageModelRun(halves)
    with pytest.raises(Interrupted):
        for record in first.progress():
            if record.step == 20:
                first.run.signal_number = signal.SIGTERM
    found = _train(replace(halves, resume=True))
    assert _same_weights(load_model(tmp_path / "halves"), load_model(tmp_path / "whole"))
    assert found["valid"] == expected["valid"]
    assert found["steps"] == expected["steps"]


KILLED = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, {folder!r})
from test_language_model_run import LanguageModelRun, make_request
for record in LanguageModelRun(make_request(Path({out!r}), corpus=Path({corpus!r}))).progress():
    if record.step == 23:
        os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_run_killed_and_resumed_is_the_same_run_to_the_bit(tmp_path: Path) -> None:
    corpus = tmp_path / "corpus.txt"
    _train(make_request(tmp_path / "whole", corpus=corpus))
    out = tmp_path / "killed"
    program = KILLED.format(folder=str(Path(__file__).parent), out=str(out), corpus=str(corpus))
    killed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert read_tensors(out / "resume.safetensors")[0]["step"] == 20
    _train(replace(make_request(out, corpus=corpus), resume=True))
    assert _same_weights(load_model(out), load_model(tmp_path / "whole"))


def test_a_terminated_command_saves_and_ends_with_143(tmp_path: Path) -> None:
    corpus, out = tmp_path / "corpus.txt", tmp_path / "run"
    corpus.write_text(TEXT)
    sizes = "--hidden-size 8 --embedding-size 4 --batch-size 2 --sequence-length 5"
    flags = f"--tokens char --steps 100000 --save-every 5 {sizes}"
    command = [sys.executable, "-m", "nlpseq", "train", "lm", str(corpus), "--out", str(out), *flags.split()]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        until = time.monotonic() + 180
        while not (out / "resume.safetensors").exists() and process.poll() is None and time.monotonic() < until:
            time.sleep(0.02)
        process.terminate()
        stdout, stderr = process.communicate(timeout=180)
    assert process.returncode == 143, stderr
    assert stdout == ""
    assert "Traceback" not in stderr
    assert "--resume" in stderr
    saved = read_tensors(out / "resume.safetensors")[0]["step"]
    again = LanguageModelRun(LanguageModelRequest(corpus=(str(corpus),), out=out, resume=True))
    assert again.run.step == saved > 0
    assert next(again.progress()).step == saved + 1


def test_a_resumed_run_refuses_other_options(tmp_path: Path) -> None:
    request = make_request(tmp_path / "run")
    first = LanguageModelRun(request)
    with pytest.raises(Interrupted):
        for _ in first.progress():
            first.run.signal_number = signal.SIGINT
    given = frozenset({"hidden_size"})
    other = replace(request, resume=True, given=given, model=replace(request.model, hidden_size=13))
    with pytest.raises(OptionError, match="was 12 when the run was started, is 13 now") as refused:
        LanguageModelRun(other)
    assert refused.value.where == "hidden_size"
    plain = LanguageModelRequest(out=request.out, resume=True)
    assert LanguageModelRun(plain).run.step == 1, "options that are left out are those of the run"


def test_a_run_is_not_overwritten_unasked(tmp_path: Path) -> None:
    request = make_request(tmp_path / "run", steps=2)
    _train(request)
    with pytest.raises(RunError, match="holds a run already"):
        LanguageModelRun(request)
    with pytest.raises(RunError, match="is finished"):
        LanguageModelRun(replace(request, resume=True))
    assert _train(replace(request, overwrite=True))["steps"] == 2


@pytest.mark.parametrize("text", ["", "x"], ids=["empty", "one character"])
def test_a_corpus_that_is_too_short_is_refused(text: str, tmp_path: Path) -> None:
    with pytest.raises(CorpusError):
        LanguageModelRun(make_request(tmp_path / "run", text))


@pytest.mark.parametrize("text", ["ab", "abc\n", SENTENCE, "é\n" * 30, TEXT[:300]], ids=len)
@pytest.mark.parametrize("batch_size", [1, 64])
def test_a_corpus_shorter_than_a_batch_is_trained_on(text: str, batch_size: int, tmp_path: Path) -> None:
    result = _train(make_request(tmp_path / "run", text, steps=3, batch_size=batch_size, sequence_length=64))
    assert math.isfinite(result["valid"]["loss"])


def test_a_run_starts_from_a_models_weights(tmp_path: Path) -> None:
    corpus = tmp_path / "corpus.txt"
    _train(make_request(tmp_path / "first", corpus=corpus, steps=3))
    request = replace(make_request(tmp_path / "second", corpus=corpus, steps=3), init_from=tmp_path / "first")
    run = LanguageModelRun(request)
    earlier = load_model(tmp_path / "first")
    for name, value in run.task.parameters.items():
        assert np.array_equal(value.detach().numpy(), earlier.weights[name])
    assert run.corpus.tokeniser.fingerprint == earlier.tokeniser.fingerprint
    other = replace(request, out=tmp_path / "third", model=replace(request.model, hidden_size=5))
    with pytest.raises(OptionError, match="is 12 in"):
        LanguageModelRun(other)


def test_a_model_to_start_from_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="no such model"):
        LanguageModelRun(replace(make_request(tmp_path / "run"), init_from=tmp_path / "nothing"))
    with pytest.raises(ModelFileError, match="reviews: is a classifier") as refused:
        LanguageModelRun(replace(make_request(tmp_path / "run"), init_from=Path("reviews")))
    assert refused.value.hint.startswith("--init-from ")
    assert not (tmp_path / "run").exists(), "what is refused leaves nothing"


def test_a_full_disk_ends_a_run_in_a_sentence_and_leaves_it_resumable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(number: int) -> None:
        raise OSError(28, "No space left on device")

    request = make_request(tmp_path / "run")
    run = LanguageModelRun(request)
    with pytest.raises(NlpseqError, match="No space left"):
        for record in run.progress():
            if record.step == 17:
                monkeypatch.setattr(os, "fsync", full)
    monkeypatch.undo()
    assert load_model(tmp_path / "run").header["training"]["step"] == 10
    assert LanguageModelRun(replace(request, resume=True)).run.step == 15


@pytest.mark.parametrize("backend", ["auto", "torch"])
@pytest.mark.parametrize("cell", CELL_CHOICES)
def test_the_plain_loop_and_a_kernel_train_the_same_model(cell: str, backend: str, tmp_path: Path) -> None:
    if backend == "torch" and cell not in OPERATORS:
        pytest.skip("torch has no such cell")
    models = []
    for name in ("plain", backend):
        model = {"cell": cell, "zoneout": 0.0, "layer_normalisation": False}
        settings = {"backend": name, "steps": 5, "validations": 1, "weight_drop": 0.0, "model": model}
        _train(make_request(tmp_path / name, **settings))
        models.append(load_model(tmp_path / name))
    for name, value in models[0].weights.items():
        assert np.allclose(value, models[1].weights[name], atol=2e-4), name  # Adam divides tiny gradients by themselves


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"backend": "torch", "model": {"cell": "mingru"}}, "the cell mingru"),
        ({"backend": "eager", "model": {"cell": "mingru"}}, "eager has no kernel for the cell mingru"),
        ({"device": "cuda"}, "cuda cannot be used"),
        ({"backend": "torch", "model": {"zoneout": 0.1}}, "zoneout"),
        ({"backend": "torch", "model": {"layer_normalisation": True}}, "layer normalisation"),
        ({"weight_drop": 0.1, "model": {"cell": "minlstm"}}, "weight_drop: drops recurrent weights"),
    ],
)
def test_what_a_backend_or_a_cell_lacks_is_refused_and_leaves_nothing(
    settings: dict[str, Any], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(NlpseqError, match=words) as refused:
        LanguageModelRun(make_request(tmp_path / "run", **settings))
    assert refused.value.hint
    assert not (tmp_path / "run").exists()


def test_a_sampled_softmax_learns(tmp_path: Path) -> None:
    settings = {
        "softmax": "sampled",
        "steps": 100,
        "learning_rate": 0.02,
        "dropout": 0.0,
        "weight_drop": 0.0,
        "average": 0.0,
    }
    result = _train(make_request(tmp_path / "run", **settings))
    assert result["valid"]["loss"] < 2.5


def test_a_corpus_that_is_not_there_is_said_before_a_folder_in_use(tmp_path: Path) -> None:
    _train(make_request(tmp_path / "run", steps=1))
    with pytest.raises(NlpseqError, match="there is no such file or corpus"):
        LanguageModelRun(replace(make_request(tmp_path / "run"), corpus=(str(tmp_path / "corpse.txt"),)))
