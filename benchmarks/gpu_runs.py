"""What a user of a GPU runs: training, resuming and decoding by the command line, for the record of `gpu_record.py`.

Training runs are processes of their own, as a user starts them, so their seconds are all in all. Decoding is timed
within one process, the second time that a command is given, so that starting and compiling are left out. The price is
that a user waits longer than these rates say.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from gpu_cells import Row, first_line

ROOT = Path(__file__).parents[1]
DEVICE = "cuda"
LONGEST_TRAINING = 45.0  # seconds, all in all
START = 9.0  # seconds of a run that --minutes does not count: Python's start, and what follows the training
TOO_SHORT = 12.0  # seconds, of which a run says nothing
STEPS, SAVE_EVERY, HIDDEN = 200, 20, 256  # of the run that is killed
TRANSLATED, SCORED, CLASSIFIED, GENERATED = 1000, 4000, 2000, 500  # lines, and tokens of each text


class Training(NamedTuple):
    """One training run: what it is called, the files that it needs, and its commands' words."""

    name: str
    files: tuple[str, ...]  # under the folder of data
    train: tuple[str, ...]  # words that are a file's name are replaced by its path
    evaluate: tuple[str, ...]


MULTI30K = {part: tuple(f"multi30k/{part}.{language}" for language in ("en", "de")) for part in ("train", "val")}
TEST = tuple(f"multi30k/test_2016_flickr.{language}" for language in ("en", "de"))
SHAKESPEARE, WIKITEXT = "tinyshakespeare/input.txt", tuple(f"wikitext2/{one}.txt" for one in ("train", "valid", "test"))
TRAININGS = {
    "shakespeare": Training("tiny Shakespeare, characters", (SHAKESPEARE,), ("lm", SHAKESPEARE), ()),
    "wikitext": Training(
        "WikiText-2, words",
        WIKITEXT,
        ("lm", WIKITEXT[0], "--valid", WIKITEXT[1], "--tokens", "word"),
        (WIKITEXT[2],),
    ),
    "multi30k": Training(
        "Multi30k, English to German",
        (*MULTI30K["train"], *MULTI30K["val"], *TEST),
        (
            *("translation", "--source", MULTI30K["train"][0], "--target", MULTI30K["train"][1]),
            *("--valid", MULTI30K["val"][0], "--valid", MULTI30K["val"][1]),
        ),
        ("--source", TEST[0], "--target", TEST[1]),
    ),
}


def find_data(given: Path | None) -> Path | None:
    """The folder of data: the one that is given, else `shared/data` in the repository or beside it."""
    folders = [given] if given is not None else [ROOT / "shared" / "data", ROOT.parent / "shared" / "data"]
    return next((folder for folder in folders if folder.is_dir()), None)


def missing(training: Training, data: Path | None) -> str | None:
    """Why a run cannot be made, or None."""
    if data is None:
        return "there is no folder shared/data"
    lacking = [file for file in training.files if not (data / file).is_file()]
    return f"shared/data lacks {', '.join(lacking)}" if lacking else None


def _words(words: Sequence[str], training: Training, data: Path) -> list[str]:
    return [str(data / word) if word in training.files else word for word in words]


def nlpseq(*words: object) -> list[str]:
    """A command line of the package as it lies here, installed or not."""
    return [sys.executable, "-m", "nlpseq", *map(str, words)]


def start(words: Sequence[object], **settings: Any) -> subprocess.Popen[str]:
    """Begin a command; what it says is kept."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    return subprocess.Popen(
        nlpseq(*words),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        text=True,
        env=environment,
        **settings,
    )


def finish(process: subprocess.Popen[str], deadline: float) -> tuple[str, str]:
    """What a command wrote to both its outputs. Raises RuntimeError if it fails or is not done by the deadline."""
    try:
        written, said = process.communicate(timeout=max(0.1, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise RuntimeError("it was stopped, for its time was over") from None
    if process.returncode:
        lines = [line for line in said.splitlines() if line.strip()]
        wrong = [line for line in lines if line.startswith("error")] or lines[-1:] or ["it said nothing"]
        raise RuntimeError(f"exit status {process.returncode}: {wrong[0][:300]}")
    return written, said


def training_words(training: Training, data: Path, folder: Path, seconds: float) -> list[str]:
    """The command that trains for `seconds`, all in all."""
    budget = ["--minutes", f"{seconds / 60:.3f}", "--device", DEVICE, "--out", str(folder), "--overwrite", "--json"]
    return ["train", *_words(training.train, training, data), *budget]


def train(deadline: float, data: Path | None, folder: Path) -> Iterator[Row]:
    """All training runs, one after the other, and their models' test scores, which are made beside the next run."""
    evaluations: dict[str, subprocess.Popen[str]] = {}
    for place, (key, training) in enumerate(TRAININGS.items()):
        reason = missing(training, data)
        share = (deadline - time.monotonic()) / (len(TRAININGS) - place)
        seconds = min(LONGEST_TRAINING, share - START)
        if reason is None and seconds < TOO_SHORT:
            reason = f"{max(0, seconds):.0f} seconds are left for it"
        if reason is not None or data is None:
            yield {"left out": f"training on {training.name}: {reason}"}
            continue
        words = training_words(training, data, folder / key, seconds)
        try:
            yield training_row(
                training.name, seconds, *finish(start(words), min(deadline, time.monotonic() + 1.3 * share))
            )
        except (RuntimeError, ValueError, KeyError) as error:
            yield {"failure": f"training on {training.name}: {first_line(error)}"}
            continue
        words = ["evaluate", "-m", str(folder / key), *_words(training.evaluate, training, data), "--json"]
        evaluations[key] = start([*words, "--device", DEVICE])
    for key, process in evaluations.items():
        try:
            written, _ = finish(process, deadline)
            yield from score_rows(TRAININGS[key].name, json.loads(written)["scores"])
        except (RuntimeError, ValueError, KeyError) as error:
            yield {"failure": f"evaluating the model of {TRAININGS[key].name}: {first_line(error)}"}


def training_row(name: str, seconds: float, written: str, said: str) -> Row:
    """A row of the table of training runs, of what `train --json` wrote and said."""
    found = json.loads(written.splitlines()[-1])
    valid = {key: round(value, 4) for key, value in found["valid"].items() if isinstance(value, int | float)}
    model = next((line for line in said.splitlines() if "random seed" in line), "")
    return {
        "table": "Training by the command line",
        "corpus": name,
        "seconds asked for": round(seconds, 1),
        "seconds": found["seconds"],
        "steps": found["steps"],
        "tokens/s": found["tokens_per_second"],
        "validation": ", ".join(f"{key} {value}" for key, value in valid.items()),
        "model": model,
    }


def score_rows(name: str, scores: Sequence[dict[str, Any]]) -> Iterator[Row]:
    """A row for each score of `evaluate --json`."""
    for score in scores:
        yield {
            "table": "Scores of these models by `nlpseq evaluate`",
            "corpus": name,
            "score": score["name"],
            "unit": score["unit"],
            "value": round(score["value"], 4),
            "signature": score["signature"],
        }


def resume(deadline: float, folder: Path) -> Iterator[Row]:
    """A run that is killed and taken up again, and one that is not: whether both end in the same weights.

    The one that is killed begins when the other has saved itself, so that it finds its kernels compiled.
    """
    whole, broken = folder / "whole", folder / "broken"
    words = ["train", "lm", "stories", "--device", DEVICE, "--steps", STEPS, "--save-every", SAVE_EVERY]
    words += [
        "--dropout",
        0.2,
        "--zoneout",
        0.1,
        "--hidden-size",
        HIDDEN,
        "--layers",
        2,
        "--overwrite",
        "--json",
        "--out",
    ]
    first = start([*words, whole])
    wait_for_step(first, whole / "resume.safetensors", 1, deadline)
    second = start([*words, broken])
    step = kill_within(second, broken / "resume.safetensors", deadline)
    finish(first, deadline)
    if step is None:
        yield {"failure": "the run that was to be killed had ended, or saved nothing in time"}
        return
    finish(start(["train", "lm", "--resume", "--out", broken, "--json"]), deadline)
    found = compare(whole / "model.safetensors", broken / "model.safetensors")
    yield {"table": "Resuming after kill -9", "steps": STEPS, "killed after step": step, **found}
    if not found["same bits"]:
        yield {"failure": "a resumed run ended in other weights than one that was not interrupted"}


def kill_within(process: subprocess.Popen[str], saved: Path, deadline: float) -> int | None:
    """Kill a run that has saved itself in its second half; the step that it will go on from, None if it has ended."""
    wait_for_step(process, saved, STEPS // 2, deadline)
    process.kill()
    process.communicate()
    return saved_step(saved)


def wait_for_step(process: subprocess.Popen[str], saved: Path, step: int, deadline: float) -> None:
    """Wait until a run has saved itself at a step or later, has ended, or its time is over."""
    while process.poll() is None and time.monotonic() < deadline and (saved_step(saved) or 0) < step:
        time.sleep(0.002)


def saved_step(saved: Path) -> int | None:
    """The step that a run was saved after, None if it was not."""
    from nlpseq.errors import ModelFileError
    from nlpseq.models.model_file import read_tensors

    try:
        return int(read_tensors(saved)[0]["step"])
    except ModelFileError:
        return None


def compare(one: Path, other: Path) -> Row:
    """Whether two models have the same weights to the last bit, and if not, how far they are apart."""
    from nlpseq.models.model_file import read_tensors

    left, right = read_tensors(one)[1], read_tensors(other)[1]
    same = left.keys() == right.keys() and all(np.array_equal(left[name], right[name]) for name in left)
    shared = [name for name in left if name in right and left[name].shape == right[name].shape]
    apart = [np.abs(left[name].astype(float) - right[name].astype(float)).max(initial=0) for name in shared]
    far = float(max(apart, default=0.0))
    return {"tensors": len(left), "same bits": same, "largest difference": far}


class Decoding(NamedTuple):
    """One filter: its model, its words, its standard input, and what is counted."""

    model: str
    words: tuple[object, ...]
    lines: tuple[str, ...]
    count: int | None  # None: the tokens that it says it made
    unit: str


def decode(deadline: float, data: Path | None, folder: Path) -> Iterator[Row]:
    """How fast each filter is on the GPU; a model that `train` has not left is trained for some steps."""
    yield from _some_models(folder, deadline)
    for name, job in decodings(data).items():
        if time.monotonic() > deadline:
            yield {"left out": f"{name}, for want of time"}
            continue
        try:
            yield decoding_row(name, job, folder)
        except Exception as error:
            yield {"failure": f"{name} --device {DEVICE}: {first_line(error)}"}


def _some_models(folder: Path, deadline: float) -> Iterator[Row]:
    wanted = {
        "shakespeare": ("lm", "stories"),
        "multi30k": ("translation",),
        "reviews": ("sentiment", "--linear", "none"),  # only the network runs on the device
    }
    processes = {
        name: start(["train", *words, "--steps", 60, "--device", DEVICE, "--out", folder / name, "--overwrite"])
        for name, words in wanted.items()
        if not (folder / name / "model.safetensors").exists()
    }
    for name, process in processes.items():
        try:
            finish(process, deadline)
            if name != "reviews":
                yield {"note": f"the model of {name} was trained for 60 steps on bundled texts"}
        except RuntimeError as error:
            yield {"failure": f"train {' '.join(wanted[name])} --device {DEVICE}: {first_line(error)}"}


def decodings(data: Path | None) -> dict[str, Decoding]:
    """What is timed; bundled texts stand in for data that is not there."""
    from nlpseq.text.bundled import BUNDLED

    def lines(file: str, corpus: str, column: int | None, count: int) -> tuple[str, ...]:
        there = data is not None and (data / file).is_file()
        text = (data / file).read_text("utf-8") if there and data is not None else "".join(BUNDLED[corpus].read())
        found = [line for line in text.split("\n") if line.strip()]
        if not there and column is not None:
            found = [line.split("\t")[column] for line in found if "\t" in line]
        return tuple(found[:count])

    sources = lines(TEST[0], "english-german", 0, TRANSLATED)
    scored = lines(SHAKESPEARE, "stories", None, SCORED)
    reviews = lines("", "reviews", 1, CLASSIFIED)
    made = ("-n", 64, "--length", GENERATED, "--random-seed", 1, "--json")
    return {
        "translate": Decoding("multi30k", ("--beam", 5), sources, len(sources), "lines"),
        "generate -n 64": Decoding("shakespeare", made, (), None, "tokens"),
        "score": Decoding("shakespeare", (), scored, len(scored), "lines"),
        "classify": Decoding("reviews", (), reviews, len(reviews), "lines"),
    }


def decoding_row(name: str, job: Decoding, folder: Path) -> Row:
    """A row of the table of filters. Raises RuntimeError if the command fails."""
    from typer.testing import CliRunner

    from nlpseq.commands.cli import app

    words = [name.split()[0], "-m", str(folder / job.model), *map(str, job.words), "--device", DEVICE, "--quiet"]
    text = "".join(line + "\n" for line in job.lines)
    seconds = []
    for _ in range(2):
        begun = time.perf_counter()
        done = CliRunner().invoke(app, words, input=text)
        seconds.append(time.perf_counter() - begun)
        if done.exit_code:
            said = done.stderr.strip().splitlines() or [repr(done.exception)]
            raise RuntimeError(" ".join(said)[-300:])
    count = job.count
    if count is None:
        count = sum(json.loads(line)["tokens"] for line in done.stdout.splitlines())
    return {
        "table": "Filters on the GPU, after start",
        "command": f"{name} --device {DEVICE}",
        "work": f"{count:,} {job.unit}",
        "first call, seconds": round(seconds[0], 3),
        "second call, seconds": round(seconds[1], 3),
        "a second": round(count / seconds[1], 1),
    }
