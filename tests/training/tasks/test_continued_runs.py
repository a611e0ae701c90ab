"""Runs that are trained on: a new budget, new values, a new corpus; and runs of minutes that are repeated."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nlpseq.errors import CorpusError, Interrupted, NlpseqError, OptionError, RunError
from nlpseq.models.model_file import load_model, read_tensors
from nlpseq.tasks import COMMANDS
from nlpseq.training import repeating
from nlpseq.training.requests import make_request
from nlpseq.training.run_list import run_facts

WORDS = ["red", "old", "dull", "warm", "fine", "cold"]
SMALL: dict[str, Any] = {"hidden_size": 12, "embedding_size": 8, "batch_size": 5, "precision": "fp32"}
Write = Callable[[Path, int], None]


def _texts(seed: int, count: int) -> list[str]:
    generator = np.random.default_rng(seed)
    return [" ".join(generator.choice(WORDS, 5)) for _ in range(count)]


def _write_lines(path: Path, seed: int) -> None:
    path.write_text("".join(f"{text}.\n" for text in _texts(seed, 300)))


def _write_labelled(path: Path, seed: int) -> None:
    rows = [f"{'up' if 'warm' in text else 'down'}\t{text}\n" for text in _texts(seed, 300)]
    path.write_text("label\ttext\n" + "".join(rows))


def _write_pairs(path: Path, seed: int) -> None:
    path.write_text("".join(f"{text}\t{text.upper()}\n" for text in _texts(seed, 300)))


WRITERS: dict[str, Write] = {"lm": _write_lines, "sentiment": _write_labelled, "translation": _write_pairs}


@pytest.fixture(params=COMMANDS)
def command(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def _run(command: str, folder: Path, *, corpus: bool = True, **options: Any) -> Any:
    """A run of the task on the corpus beside its folder, ready to train."""
    path = folder.parent / "corpus.tsv"
    if not path.exists():
        WRITERS[command](path, 1)
    given = {**({} if options.get("resume") else SMALL), **options, "out": folder}
    task = COMMANDS[command]
    return task.load("run")(make_request(task, [path] if corpus else [], given))


def _train(run: Any, stop_after: int | None = None) -> dict[str, Any]:
    try:
        for progress in run.progress():
            if progress.step == stop_after and not progress.note:
                run.run.signal_number = 2
    except Interrupted:
        return {}
    result: dict[str, Any] = run.finish()
    return result


def _weights(folder: Path) -> dict[str, np.ndarray]:
    return load_model(folder).weights


def _same(one: Path, other: Path) -> bool:
    return all(np.array_equal(value, _weights(other)[name]) for name, value in _weights(one).items())


def test_a_finished_run_is_trained_on_to_a_new_end(command: str, tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert _train(_run(command, run, steps=6))["steps"] == 6
    further = _run(command, run, corpus=False, resume=True, steps=15)
    records = list(further.progress())
    assert [record.step for record in records] == list(range(7, 16))
    rates = [record.rate for record in records]
    assert rates[0] < max(rates) > 5 * rates[-1], "the rate is warmed up and annealed again"
    assert further.finish()["steps"] == 15
    config = json.loads((run / "config.json").read_text())
    assert config["training"]["steps"] == 15
    assert config["continued"] == [{"after": 6, "anneal": 0.4}]


def test_the_optimisers_state_is_kept(tmp_path: Path) -> None:
    _train(_run("lm", tmp_path / "run", steps=4))
    again = _run("lm", tmp_path / "run", resume=True, steps=8)
    assert any("exp_avg" in name and value.any() for name, value in again.run.updates.arrays().items())


def test_a_leg_that_is_stopped_and_resumed_is_the_same_leg(command: str, tmp_path: Path) -> None:
    whole, parted = tmp_path / "whole", tmp_path / "parted"
    for folder in (whole, parted):
        _train(_run(command, folder, steps=5))
    _train(_run(command, whole, resume=True, steps=14))
    _train(_run(command, parted, resume=True, steps=14), stop_after=9)
    _train(_run(command, parted, corpus=False, resume=True))
    assert _same(whole, parted)


def test_the_same_command_again_is_no_new_budget(tmp_path: Path) -> None:
    whole, parted = tmp_path / "whole", tmp_path / "parted"
    _train(_run("lm", whole, steps=12))
    _train(_run("lm", parted, steps=12), stop_after=4)
    _train(_run("lm", parted, resume=True, steps=12))
    assert _same(whole, parted)


def test_a_finished_run_needs_a_budget_and_its_hint_does_good(command: str, tmp_path: Path) -> None:
    _train(_run(command, tmp_path / "run", steps=3))
    with pytest.raises(RunError, match="its run is finished") as refused:
        _run(command, tmp_path / "run", resume=True)
    words = shlex.split(refused.value.hint)
    assert words[:4] == ["nlpseq", "train", command, "--resume"]
    assert (
        _train(_run(command, tmp_path / "run", resume=True, steps=int(words[words.index("--steps") + 1])))["steps"] == 6
    )


def test_a_budget_that_is_spent_is_refused(tmp_path: Path) -> None:
    _train(_run("lm", tmp_path / "run", steps=9))
    with pytest.raises(OptionError, match="steps: is the length of the whole run") as refused:
        _run("lm", tmp_path / "run", resume=True, steps=5)
    assert "--steps 18" in refused.value.hint
    assert not (tmp_path / "run" / "tokens").exists()


@pytest.mark.parametrize(
    ("changed", "where"),
    [
        ({"cell": "rnn"}, "cell"),
        ({"hidden_size": 13}, "hidden_size"),
        ({"layers": 2}, "layers"),
        ({"tokens": "bpe"}, "tokens"),
    ],
)
def test_the_architecture_and_the_tokens_stay(changed: dict[str, Any], where: str, tmp_path: Path) -> None:
    _train(_run("lm", tmp_path / "run", steps=3))
    with pytest.raises(OptionError, match="when the run was started") as refused:
        _run("lm", tmp_path / "run", resume=True, steps=6, **changed)
    assert refused.value.where == where
    assert _train(_run("lm", tmp_path / "run", resume=True, steps=6, tokens="char", hidden_size=12))["steps"] == 6


@pytest.mark.parametrize(
    "changed",
    [
        {"dropout": 0.4, "input_dropout": 0.2},
        {"learning_rate": 1e-3},
        {"batch_size": 3},
        {"optimiser": "sgd"},
        {"random_seed": 9},
        {"average": 0.5},
        {"clip": 0.3, "weight_decay": 0.0},
    ],
    ids=str,
)
def test_values_of_training_are_taken_and_recorded(command: str, changed: dict[str, Any], tmp_path: Path) -> None:
    _train(_run(command, tmp_path / "run", steps=4))
    again = _run(command, tmp_path / "run", resume=True, steps=9, **changed)
    assert {name: getattr(again.training, name) for name in changed} == changed
    _train(again)
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert {name: config["training"][name] for name in changed} == changed
    assert config["continued"][0] == {"after": 4, **changed, "anneal": 0.4}
    assert {name: load_model(tmp_path / "run").header["training"][name] for name in changed} == changed


def test_a_corpus_that_changed_is_noticed(command: str, tmp_path: Path) -> None:
    _train(_run(command, tmp_path / "run", steps=4))
    before = load_model(tmp_path / "run").tokeniser.fingerprint
    WRITERS[command](tmp_path / "corpus.tsv", 2)
    again = _run(command, tmp_path / "run", corpus=False, resume=True, steps=8)
    assert any("corpus.tsv has changed since the run was started" in note for note in again.notes)
    _train(again)
    model = load_model(tmp_path / "run")
    assert model.tokeniser.fingerprint == before
    assert (
        model.header["data"]["sha256"] == json.loads((tmp_path / "run" / "config.json").read_text())["data"]["sha256"]
    )


def test_a_corpus_that_is_as_before_is_not_talked_about(command: str, tmp_path: Path) -> None:
    _train(_run(command, tmp_path / "run", steps=4))
    (tmp_path / "corpus.tsv").touch()
    assert not [
        note
        for note in _run(command, tmp_path / "run", resume=True, steps=8).notes
        if "text" in note and "of before" in note
    ]


def test_a_stopped_run_keeps_its_text_until_a_corpus_is_named(command: str, tmp_path: Path) -> None:
    _train(_run(command, tmp_path / "run", steps=9), stop_after=3)
    WRITERS[command](tmp_path / "corpus.tsv", 2)
    plain = _run(command, tmp_path / "run", corpus=False, resume=True)
    assert any("has changed or is gone" in note for note in plain.notes)
    plain.folder.release()
    named = _run(command, tmp_path / "run", resume=True)
    assert any("it continues with the new text" in note for note in named.notes)
    assert _train(named)["steps"] == 9


def test_another_corpus_is_read_with_the_runs_tokens(command: str, tmp_path: Path) -> None:
    _train(_run(command, tmp_path / "run", steps=4))
    other = tmp_path / "other.tsv"
    WRITERS[command](other, 3)
    task = COMMANDS[command]
    again = task.load("run")(make_request(task, [other], {"out": tmp_path / "run", "resume": True, "steps": 7}))
    assert again.corpus.facts["corpus"] == [str(other)]
    assert f"the run continues with the text of {other}" in again.notes
    assert again.corpus.tokeniser.fingerprint == load_model(tmp_path / "run").tokeniser.fingerprint
    assert _train(again)["steps"] == 7


def test_a_corpus_that_is_gone_is_said_with_a_way_out(command: str, tmp_path: Path) -> None:
    _train(_run(command, tmp_path / "run", steps=4))
    (tmp_path / "corpus.tsv").unlink()
    task = COMMANDS[command]
    with pytest.raises(CorpusError, match="the run's corpus cannot be read") as refused:
        task.load("run")(make_request(task, [], {"out": tmp_path / "run", "resume": True, "steps": 7}))
    assert f"nlpseq train {command} CORPUS --resume" in refused.value.hint


def test_a_label_that_the_run_does_not_know_is_refused(tmp_path: Path) -> None:
    _train(_run("sentiment", tmp_path / "run", steps=4))
    other = tmp_path / "other.tsv"
    other.write_text(
        "label\ttext\n"
        + "".join(f"{label}\t{text}\n" for label, text in zip(["up", "odd"] * 100, _texts(4, 200), strict=True))
    )
    task = COMMANDS["sentiment"]
    with pytest.raises(NlpseqError, match="odd"):
        task.load("run")(make_request(task, [other], {"out": tmp_path / "run", "resume": True, "steps": 7}))
    assert not list((tmp_path / "run").glob(".tokens-*"))


def test_a_run_that_is_stopped_at_its_first_step_leaves_a_model(command: str, tmp_path: Path) -> None:
    _train(_run(command, tmp_path / "run", steps=50), stop_after=1)
    assert load_model(tmp_path / "run").header["training"]["step"] == 1


def test_a_new_run_keeps_the_old_model_until_it_has_its_own(tmp_path: Path) -> None:
    _train(_run("lm", tmp_path / "run", steps=3))
    new = _run("lm", tmp_path / "run", steps=3, overwrite=True)
    assert load_model(tmp_path / "run").header["training"]["step"] == 3
    _train(new, stop_after=1)
    assert load_model(tmp_path / "run").header["training"]["step"] == 1


@pytest.mark.parametrize("options", [{}, {"anneal": 1.0}, {"average": 0.9, "accumulate": 2}], ids=str)
def test_a_run_of_minutes_is_repeated_to_the_bit_by_its_command(
    command: str, options: dict[str, Any], tmp_path: Path
) -> None:
    timed = _run(command, tmp_path / "timed", minutes=0.03, **options)
    result = _train(timed)
    (line,) = [line for line in timed.endings() if line.startswith("the same model again: ")]
    again = tmp_path / "again"
    repeated = repeating.repeated(json.loads((tmp_path / "timed" / "config.json").read_text()))
    corpora = repeated.pop("corpus")
    assert f"--steps {result['steps']}" in line and corpora[0] in line
    task = COMMANDS[command]
    assert _train(task.load("run")(make_request(task, corpora, {**repeated, "out": again})))["valid"] == result["valid"]
    files = [read_tensors(folder / "model.safetensors") for folder in (tmp_path / "timed", again)]
    assert files[0][0] == files[1][0], "the header too"


def test_layers_that_are_frozen_at_first_are_repeated_too(tmp_path: Path) -> None:
    _train(_run("lm", tmp_path / "teacher", steps=3))
    (tmp_path / "corpus.tsv").unlink()
    start = {"init_from": tmp_path / "teacher", "unfreeze": 0.4, "minutes": 0.03, "batch_size": 5}
    path = tmp_path / "corpus.tsv"
    _write_labelled(path, 1)
    task = COMMANDS["sentiment"]
    timed = task.load("run")(make_request(task, [path], {**start, "out": tmp_path / "timed"}))
    _train(timed)
    repeated = repeating.repeated(timed.config)
    again = make_request(task, repeated.pop("corpus"), {**repeated, "out": tmp_path / "again"})
    _train(task.load("run")(again))
    assert _same(tmp_path / "timed", tmp_path / "again")


def test_the_command_names_every_kind_of_value(tmp_path: Path) -> None:
    path = tmp_path / "two words.tsv"
    _write_pairs(path, 1)
    options = {**SMALL, "steps": 2, "columns": ["1", "2"], "valid": [str(path)], "reset_before": True, "dropout": 0.25}
    task = COMMANDS["translation"]
    run = task.load("run")(make_request(task, [path], {**options, "out": tmp_path / "run"}))
    _train(run)
    words = shlex.split(repeating.command(run.config))
    assert words[:4] == ["nlpseq", "train", "translation", str(path)]
    for flag, value in (("--columns", "1,2"), ("--valid", str(path)), ("--dropout", "0.25"), ("--steps", "2")):
        assert words[words.index(flag) + 1] == value
    assert "--reset-before" in words


def test_a_run_is_trained_on_for_minutes(tmp_path: Path) -> None:
    _train(_run("lm", tmp_path / "run", steps=6))
    further = _run("lm", tmp_path / "run", corpus=False, resume=True, minutes=0.03)
    records = list(further.progress())
    assert next(record.step for record in records if not record.note) == 7
    assert further.run.counters.total == further.run.step > 6
    assert not any("the same model again" in line for line in further.endings())


def test_a_new_dropout_is_halved_for_inputs(tmp_path: Path) -> None:
    _train(_run("lm", tmp_path / "run", steps=3))
    assert _run("lm", tmp_path / "run", resume=True, steps=6, dropout=0.4).training.input_dropout == 0.2


def test_damaged_tokens_are_made_again(command: str, tmp_path: Path) -> None:
    whole, parted = tmp_path / "whole", tmp_path / "parted"
    _train(_run(command, whole, steps=9))
    _train(_run(command, parted, steps=9), stop_after=3)
    for path in (parted / "tokens").iterdir():
        if path.name != "tokeniser.json":
            path.write_bytes(b"damaged")
    _train(_run(command, parted, corpus=False, resume=True))
    assert _same(whole, parted)


def test_a_refused_corpus_does_not_take_the_place_of_the_runs_own(command: str, tmp_path: Path) -> None:
    whole, parted = tmp_path / "whole", tmp_path / "parted"
    _train(_run(command, whole, steps=9))
    _train(_run(command, parted, steps=9), stop_after=5)
    other = tmp_path / "other.tsv"
    WRITERS[command](other, 3)
    task = COMMANDS[command]
    with pytest.raises(OptionError, match="has 5 steps already"):
        task.load("run")(make_request(task, [other], {"out": parted, "resume": True, "steps": 4}))
    _train(_run(command, parted, corpus=False, resume=True))
    assert _same(whole, parted)


def test_a_run_that_was_put_back_says_so(tmp_path: Path) -> None:
    _train(_run("lm", tmp_path / "run", steps=3))
    killed = _run("lm", tmp_path / "run", steps=50, overwrite=True)
    assert run_facts(tmp_path / "run", "run").step == 3, "the list shows the run whose model is there"
    killed.folder.release()
    again = _run("lm", tmp_path / "run", corpus=False, resume=True, steps=6)
    assert "a new run was stopped before it was first saved: this is the run from before" in again.notes
    assert _train(again)["steps"] == 6
    assert run_facts(tmp_path / "run", "run").step == 6


def test_a_new_run_that_diverges_is_asked_for_again_by_its_hint(tmp_path: Path) -> None:
    _train(_run("lm", tmp_path / "run", steps=3))
    with pytest.raises(RunError, match="; the run from before is kept") as refused:
        _train(_run("lm", tmp_path / "run", steps=5, learning_rate=1e30, overwrite=True))
    words = shlex.split(refused.value.hint)
    assert words[:4] == ["nlpseq", "train", "lm", str(tmp_path / "corpus.tsv")]
    assert {"--overwrite", "--hidden-size", "--learning-rate"} <= set(words) and words.count("--out") == 1


def test_a_run_of_standard_input_says_that_it_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _train(_run("lm", tmp_path / "run", steps=3))
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    config["asked"]["corpus"] = ["-"]
    config.pop("checksum")  # of the configuration as it was
    (tmp_path / "run" / "config.json").write_text(json.dumps(config))
    with pytest.raises(CorpusError, match="trained on standard input, which is gone") as refused:
        _run("lm", tmp_path / "run", corpus=False, resume=True, steps=6)
    assert refused.value.hint == f"nlpseq train lm FILE --resume --out {tmp_path / 'run'}"
