"""Filters with worker processes: the same bytes as from one process, and no process left over, however they end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from typer.testing import Result

from nlpseq.commands import filters
from nlpseq.models import classifier, translator
from nlpseq.models.classifier import ClassifierOptions
from nlpseq.models.linear import LinearModel, Vocabulary
from nlpseq.models.model_file import save_model
from nlpseq.models.text_ngrams import count_ngrams
from nlpseq.models.translator import TranslatorOptions
from nlpseq.text import lines
from nlpseq.text.tokenisers import train_tokeniser

Run = Callable[..., Result]

WORDS = ["a", "cat", "sat", "on", "the", "mat", "while", "öl", "猫", "dogs", "ran"]
TEXT = [" ".join(WORDS[number % 7 : number % 7 + 1 + number % 5]) for number in range(40)]
LINES = (
    "\n".join([*TEXT[:9], "", "\t", *TEXT[9:20], "a" * 3000, "tab\tbed", *TEXT[20:]]).encode() + b"\n\xff\xfe bad\nlast"
)
OBJECTS = b'{"text": "a cat", "translation": 1}\n[]\n{"text": ""}\n{"id": 3}\n\n{"text": "the mat", "label": 2}\n' * 4
linux = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="processes are looked up in /proc")


def _translator(folder: Path, kind: str, seed: int) -> Path:
    options = TranslatorOptions(hidden_size=8, embedding_size=6)
    tokeniser = train_tokeniser(kind, TEXT, 300)
    weights = translator.initial_weights(options, tokeniser.size, seed)
    weights["output.bias"][10] += 3  # texts are short
    save_model(folder / f"{kind}{seed}.safetensors", translator.TASK, asdict(options), weights, tokeniser)
    return folder / f"{kind}{seed}.safetensors"


def _linear_model() -> LinearModel:
    """A linear model of the n-grams of some of the lines."""
    keys = np.unique(count_ngrams(TEXT[:20], "parts").keys)
    weight = np.random.default_rng(1).standard_normal((len(keys), 3)).astype(np.float32)
    return LinearModel(Vocabulary("parts", keys, np.ones(len(keys), np.float32)), weight, np.zeros(3, np.float32))


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Small models of random weights by name."""
    folder = tmp_path_factory.mktemp("models")
    made = {f"{kind}{seed}": _translator(folder, kind, seed) for kind, seed in (("char", 1), ("char", 2), ("word", 1))}
    options = ClassifierOptions(hidden_size=8, embedding_size=6, evidence=0, linear="parts")
    tokeniser = train_tokeniser("char", TEXT * 2, 300)
    weights = classifier.initial_weights(options, tokeniser.size, np.ones(3), 1) | _linear_model().weights()
    made["classifier"] = folder / "classifier.safetensors"
    header = {"labels": ["bad", "good", "odd"]}
    save_model(made["classifier"], classifier.TASK, asdict(options), weights, tokeniser, **header)
    return made


@pytest.fixture
def workers_at_once(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Portions are small, and workers are worth it after the first; the list gets a number for each that starts."""
    for module in (lines, filters):
        monkeypatch.setattr(module, "FIRST_LINES", 3)
    monkeypatch.setattr(lines, "LINES_AT_ONCE", 7)
    monkeypatch.setattr(filters, "WORTH_WORKERS", 0.0)
    started: list[int] = []
    popen = subprocess.Popen

    def start(*arguments: object, **settings: object) -> object:
        started.append(len(started))
        return popen(*arguments, **settings)  # type: ignore[call-overload]

    monkeypatch.setattr(subprocess, "Popen", start)
    return started


TRANSLATE = [
    ("char1", ()),
    ("char1", ("--n-best", "2", "--beam", "3")),
    ("char1", ("--sample", "2", "--random-seed", "3", "--temperature", "2")),
    ("char1", ("--json", "--coverage-penalty", "0.1")),
    ("char1", ("--json", "--attention", "-")),
    ("char1", ("--attention", "look.jsonl")),
    ("char1", ("--attention", "look.svg", "-m", "char2")),
    ("word1", ("--replace-unknown",)),
    ("char1", ("--jsonl",)),
]


@pytest.mark.parametrize(("model", "flags"), TRANSLATE, ids=[" ".join(flags) or "plain" for _, flags in TRANSLATE])
def test_translations_are_the_same_bytes(
    nlpseq: Run, models: dict[str, Path], workers_at_once: list[int], model: str, flags: tuple[str, ...]
) -> None:
    arguments = [models.get(flag, flag) for flag in flags]
    look = [Path(flag) for flag in flags if flag.startswith("look")]
    found = []
    for processes in (1, 2) if flags else (1, 2, 3):
        workers_at_once.clear()
        data = OBJECTS if "--jsonl" in flags else LINES
        done = nlpseq("translate", "-m", models[model], "--processes", processes, *arguments, input=data)
        assert done.exit_code == 0, done.stderr
        assert len(workers_at_once) == (0 if processes == 1 else processes)
        found.append((done.stdout_bytes, done.stderr, [path.read_bytes() for path in look]))
    assert found[0][0].count(b"\n") >= 24
    assert all(one == found[0] for one in found[1:])


@pytest.mark.parametrize("flags", [(), ("--all", "--json")], ids=str)
def test_labels_are_the_same_bytes(
    nlpseq: Run, models: dict[str, Path], workers_at_once: list[int], flags: tuple[str, ...]
) -> None:
    arguments = ("classify", "-m", models["classifier"], *flags)
    found = [nlpseq(*arguments, "--processes", number, input=LINES) for number in (1, 2)]
    assert (found[0].stdout_bytes, found[0].stderr) == (found[1].stdout_bytes, found[1].stderr)
    assert len(workers_at_once) == 2


@pytest.mark.parametrize("flags", [(), ("--json",), ("--output", "vectors.npy")], ids=" ".join)
@pytest.mark.parametrize("model", ["classifier", "char1"])
def test_vectors_are_the_same_bytes(
    nlpseq: Run, models: dict[str, Path], workers_at_once: list[int], model: str, flags: tuple[str, ...]
) -> None:
    found = []
    for number in (1, 2):
        done = nlpseq("embed", "-m", models[model], *flags, "--processes", number, input=LINES)
        assert done.exit_code == 0, done.stderr
        found.append((done.stdout_bytes, done.stderr, Path(flags[1]).read_bytes() if flags[1:] else b""))
    assert found[0] == found[1]
    assert len(workers_at_once) == 2


def test_threads_label_and_score_lines_by_default(
    nlpseq: Run, models: dict[str, Path], model_path: Path, workers_at_once: list[int]
) -> None:
    assert nlpseq("classify", "-m", models["classifier"], input=LINES).exit_code == 0
    assert nlpseq("score", "-m", model_path, input=LINES).exit_code == 0
    assert nlpseq("embed", "-m", model_path, input=LINES).exit_code == 0
    assert not workers_at_once


@pytest.mark.parametrize("flags", [(), ("--jsonl",)], ids=str)
def test_scores_are_the_same_bytes(
    nlpseq: Run, model_path: Path, workers_at_once: list[int], flags: tuple[str, ...]
) -> None:
    data = OBJECTS if flags else LINES
    found = [nlpseq("score", "-m", model_path, *flags, "--processes", number, input=data) for number in (1, 2)]
    assert (found[0].stdout_bytes, found[0].stderr) == (found[1].stdout_bytes, found[1].stderr)
    assert len(workers_at_once) == 2


@pytest.mark.parametrize("more", [0, 1, -1])
def test_scores_given_sources_are_the_same_bytes_and_a_wrong_number_of_them_is_told(
    nlpseq: Run, models: dict[str, Path], workers_at_once: list[int], tmp_path: Path, more: int
) -> None:
    count = len(LINES.split(b"\n")) + more
    (tmp_path / "sources").write_text("".join(f"{TEXT[number % 40]}\n" for number in range(count)))
    arguments = ("score", "-m", models["char1"], "--source", tmp_path / "sources")
    found = [nlpseq(*arguments, "--processes", number, input=LINES) for number in (1, 2)]
    assert found[0].exit_code == found[1].exit_code == abs(more)
    assert (found[0].stdout_bytes, found[0].stderr) == (found[1].stdout_bytes, found[1].stderr)
    assert len(workers_at_once) == 2


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("translate", "--processes", "0"), "--processes: must be at least 1, was 0"),
        (("translate", "--processes", "2", "--device", "cuda"), "--processes: must be 1 on a GPU, was 2"),
        (("score", "--processes", "2", "--follow"), "--follow and --processes: exclude each other"),
    ],
)
def test_a_number_of_processes_that_cannot_be_is_refused(nlpseq: Run, arguments: tuple[str, ...], said: str) -> None:
    done = nlpseq(*arguments, input=b"a\n")
    assert done.exit_code == 2
    assert said in done.stderr


def test_few_lines_start_no_process(nlpseq: Run, models: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object, **settings: object) -> None:
        raise AssertionError("a process was started")

    monkeypatch.setattr(subprocess, "Popen", refuse)
    done = nlpseq("translate", "-m", models["char1"], "--processes", 2, input=LINES)
    assert done.exit_code == 0, done.stderr


# The program in a process of its own, with workers as soon as a second portion waits.
AT_ONCE = "from nlpseq.commands import cli, filters; filters.WORTH_WORKERS = 0.0; cli.main()"
TRANSLATING = [sys.executable, "-c", AT_ONCE, "translate", "-m", "english-german", "-q", "--processes", "2"]


def _children(process: int) -> set[int]:
    try:
        return set(map(int, Path(f"/proc/{process}/task/{process}/children").read_text().split()))
    except OSError:
        return set()


def _is_alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def _until(holds: Callable[[], bool], seconds: float = 60) -> bool:
    deadline = time.monotonic() + seconds
    while not holds() and time.monotonic() < deadline:
        time.sleep(0.01)
    return holds()


@contextmanager
def _translating(folder: Path) -> Iterator[tuple[subprocess.Popen[bytes], set[int]]]:
    """A running translation of lines enough for many seconds, and its two workers."""
    (folder / "long.txt").write_text("A man in a red shirt is sleeping on a green bench.\n" * 20_000)
    command = [*TRANSLATING, str(folder / "long.txt")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert _until(lambda: len(_children(process.pid)) == 2 or process.poll() is not None)
        try:
            yield process, _children(process.pid)
        finally:
            process.kill()


@linux
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -9)])
def test_a_signal_ends_a_filter_and_its_workers(tmp_path: Path, number: int, status: int) -> None:
    with _translating(tmp_path) as (process, workers):
        assert len(workers) == 2
        process.send_signal(number)
        assert process.wait(10) == status
        assert process.stderr is not None and process.stderr.read() == b""
        assert _until(lambda: not any(map(_is_alive, workers)), 5)


@linux
def test_a_killed_worker_is_told_after_the_lines_before(tmp_path: Path) -> None:
    with _translating(tmp_path) as (process, workers):
        os.kill(max(workers), signal.SIGKILL)
        written, said = process.communicate(timeout=30)
        assert process.returncode == 1
        assert b"error: worker process: it was ended by SIGKILL" in said and b"hint:  --processes 1" in said
        assert written.endswith(b"\n") and written.count(b"\n") >= 64
        assert not any(map(_is_alive, workers))


@linux
def test_a_reader_that_goes_ends_the_workers_too(tmp_path: Path) -> None:
    with _translating(tmp_path) as (process, workers):
        assert process.stdout is not None and process.stderr is not None
        assert process.stdout.readline()
        process.stdout.close()
        assert process.wait(30) == 0
        assert process.stderr.read() == b""
        assert not any(map(_is_alive, workers))


@linux
def test_lines_that_come_later_are_answered_at_once() -> None:
    with subprocess.Popen(TRANSLATING, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(b"A man is sleeping on a green bench.\n" * 200)
        process.stdin.flush()
        for _ in range(200):
            assert process.stdout.readline()
        assert _children(process.pid)
        for line in (b"A dog runs.\n", b"\n", b"A man.\n"):
            process.stdin.write(line)
            process.stdin.flush()
            assert process.stdout.readline().endswith(b"\n")
        process.stdin.close()
        assert process.wait(10) == 0
