"""The options that repeat a run, from its configuration: with them the same corpus gives the same weights.

They are the values that were used, with a number of steps in place of minutes. Only those that differ from the
program's defaults are named.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from nlpseq.options import flag
from nlpseq.tasks import TASKS, Task
from nlpseq.training.continuing import DATA

SHARED = ("cell", "hidden_size", "embedding_size")  # chosen for a language model that is trained first, too
UNNAMED = ("device", "backend", "save_every")  # say where and how a run is computed, not what


def repeated(config: Mapping[str, Any]) -> dict[str, Any]:
    """The options by their flat names, as `nlpseq.train` takes them, which repeat the run with this configuration."""
    task, asked = TASKS[config["task"]], config["asked"]
    plain = task.load("request")()
    values = {name: asked[name] for name in DATA if asked.get(name)}
    if "source" in values:
        values.pop("corpus", None)
    values |= {name: asked[name] for name in ("init_from", "teacher") if asked.get(name)}
    if "pretraining" in config:
        values.pop("init_from", None)
        values |= config["pretraining"] | {name: config["model"][name] for name in SHARED}
    for options, chosen in (
        (plain.corpus_options, asked["corpus_options"]),
        (plain.model, config["model"]),
        (plain.training, config["training"]),
    ):
        for field in fields(options):
            value = chosen.get(field.name)
            if field.name not in UNNAMED and value is not None and value != field.default:
                values[field.name] = value
    return values


def command(config: Mapping[str, Any]) -> str:
    """The shell command that repeats the run with this configuration, into the usual folder."""
    task = TASKS[config["task"]]
    values = repeated(config)
    words = ["nlpseq", "train", task.command, *values.pop("corpus", [])]
    for name, value in values.items():
        words += _words(name, value)
    return shlex.join(words)


def _words(name: str, value: Any) -> list[str]:
    """An option as words of the command line."""
    if isinstance(value, bool):
        return [flag(name) if value else f"--no-{flag(name)[2:]}"]
    if name == "columns":
        return [flag(name), ",".join(value)]
    if isinstance(value, list):
        return [word for item in value for word in (flag(name), str(item))]
    return [flag(name), repr(value) if isinstance(value, float) else str(value)]


def as_asked(task: Task, asked: Mapping[str, Any], given: Iterable[str]) -> list[str]:
    """The command that asks for a run again, with the options that were set, as words."""
    sections = (asked, *(asked[name] for name in ("corpus_options", "model", "training")))
    words = ["nlpseq", "train", task.command, *asked["corpus"]]
    for name in sorted(set(given) - {"corpus", "learning_rate"}):
        value = next((section[name] for section in sections if name in section), None)
        words += _words(name, value) if value is not None else []
    return words


def resuming(
    task: Task, folder: Path, *options: str, corpus: Sequence[str] = (), teachers: Sequence[object] = ()
) -> str:
    """The shell command that continues the run in a folder; one with teachers is compared with them at its end."""
    words = ["nlpseq", "train", task.command, *corpus]
    if teachers:
        words = ["nlpseq", "distil", *(word for name in corpus for word in ("--corpus", name))]
    return shlex.join([*words, "--resume", *options, "--out", str(folder)])
