"""The runs in a folder, from the headers and the small files in their own folders; no tensor is read.

A run's folder may be damaged or half written: what can be read is told, with the first fault. torch is not imported
here, so that runs are listed at once.
"""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from nlpseq.errors import RunError
from nlpseq.models.model_file import CHECKSUM, NAME, read_header
from nlpseq.models.structure import check_json, is_number_in
from nlpseq.paths import exists, is_file, is_folder
from nlpseq.tasks import TASKS
from nlpseq.training.replaced_run import ASIDE, PREVIOUS
from nlpseq.training.run_config import CONFIG, config_checksum
from nlpseq.training.run_folder import HISTORY, RESUME, TOKENS

FILES = (CONFIG, HISTORY, NAME, RESUME)  # a folder with one of them is a run's
DEPTH = 2  # folders below the one whose runs are listed
FINISHED, UNFINISHED, DAMAGED = "finished", "unfinished", "damaged"
NO_OTHER = "nlpseq runs"  # the hint if no other run was meant
ALIKE = 0.7  # how alike a name is that was probably meant; 1: equal

Object = dict[str, Any]


@dataclass(frozen=True)
class RunFacts:
    """What is known of a run; None and empty values are unknown."""

    name: str  # its folder, below the one whose runs are listed
    path: Path
    state: str
    fault: str = ""  # why it is damaged
    task: str = ""  # the word after `nlpseq train`
    corpus: list[str] = field(default_factory=list)
    step: int | None = None
    steps: int | None = None  # of the whole run
    scores: list[Object] = field(default_factory=list)  # of a finished run, on all validation texts
    quick_loss: float | None = None  # the best of the quick validations
    size: int | None = None  # of the model file, in bytes
    changed: float = 0.0  # when its newest file was written, in seconds since 1970
    config: Object = field(default_factory=dict)
    last: Object = field(default_factory=dict)  # the last line of its history


def list_runs(folder: Path) -> list[RunFacts]:
    """The runs in a folder, itself and two levels below it, those that changed last at the end.

    Raises RunError if the folder cannot be read.
    """
    if exists(folder) and not is_folder(folder):
        raise RunError(str(folder), "is a file, not a folder", "nlpseq runs")
    if not exists(folder):
        raise RunError(str(folder), "no such folder", _nearest(folder, "nlpseq runs"))
    try:
        next(folder.iterdir(), None)
    except OSError as error:
        raise RunError(str(folder), f"cannot be read: {error.strerror}", "nlpseq runs FOLDER") from None
    runs = [run_facts(path, str(path.relative_to(folder))) for path in _run_folders(folder, DEPTH)]
    return sorted(runs, key=lambda run: (run.changed, run.name))


def run_facts(path: Path, name: str) -> RunFacts:
    """The facts of the run in a folder."""
    faults: list[str] = []
    state = _state_folder(path)
    config = _read_if_there(state, CONFIG, faults)
    header = _header(path / NAME, faults)
    saved = _header(state / RESUME, faults)
    losses, last = _history(state / HISTORY)
    asked, training = _object(config, "asked"), _object(header, "training")
    finished = config["finished"] is True if "finished" in config else bool(header) and not (path / TOKENS).exists()
    if config and not asked and not faults:
        faults.append(f"{CONFIG} is damaged, or no run's")
    if not (config or header or faults):
        faults.append(f"{CONFIG} is missing")
    done = _number(_object(config, "result"), "steps", _number(training, "steps", _number(training, "step")))
    steps = done if finished else _number(saved, "step", _number(last, "step"))
    task = TASKS.get(str(config.get("task", header.get("task"))))
    size, changed = _stamps(path)
    scores = header.get("scores") if finished else None
    return RunFacts(
        name=path.name if name == "." else name,
        path=path,
        state=DAMAGED if faults else FINISHED if finished else UNFINISHED,
        fault=faults[0] if faults else "",
        task=task.command if task else "",
        corpus=_corpus(asked, _object(header, "data"), task.corpus if task else ""),
        step=steps,
        steps=steps if finished else _number(saved, "total", _number(_object(config, "training"), "steps")),
        scores=[score for score in scores if isinstance(score, dict)] if isinstance(scores, list) else [],
        quick_loss=min(losses, default=None),
        size=size,
        changed=changed,
        config=config,
        last=last,
    )


def find_run(path: Path, option: str) -> Path:
    """The folder of the run that a folder, its model file or its configuration names.

    Raises RunError if no run is there; `option` is the flag that named it.
    """
    folder = path if is_folder(path) else path.parent
    if not exists(path):
        raise RunError(str(path), "no such run", _nearest(path, NO_OTHER))
    if is_file(folder / CONFIG) or _state_folder(folder) != folder:
        return folder
    inside = [run.relative_to(folder) for run in _run_folders(folder, DEPTH) if run != folder] if path == folder else []
    hint = f"{option} {shlex.quote(str(folder / inside[0]))}" if inside else NO_OTHER
    raise RunError(str(path), f"belongs to no run: there is no {CONFIG}" if path != folder else "holds no run", hint)


def read_config(folder: Path) -> Object:
    """The configuration in the folder of a run. Raises RunError if it is missing or damaged."""
    faults: list[str] = []
    config = _read_if_there(_state_folder(folder), CONFIG, faults)
    if not config:
        raise RunError(
            str(folder / CONFIG), faults[0].removeprefix(CONFIG).strip() if faults else "is missing or empty"
        )
    return config


def _state_folder(folder: Path) -> Path:
    """The folder with the files of a run but for its model: those of an earlier run until a new one is first saved."""
    for moved in (folder / ASIDE, folder / PREVIOUS):
        if (moved / CONFIG).is_file() and not (folder / RESUME).exists():
            return moved
    return folder


def _run_folders(folder: Path, depth: int) -> Iterator[Path]:
    """A folder and those below it that are runs."""
    if any(os.path.lexists(folder / name) for name in FILES):
        yield folder
    if depth:
        try:
            inside = sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
        except OSError:
            return
        for path in inside:
            if path.name != TOKENS:
                yield from _run_folders(path, depth - 1)


def _read_if_there(folder: Path, name: str, faults: list[str]) -> Object:
    """The object in a JSON file, empty if there is no such file; a fault is added to `faults`."""
    if (folder / name).exists() and not (folder / name).is_file():  # reading a pipe would wait for ever
        faults.append(f"{name} is no file")
        return {}
    try:
        value = json.loads((folder / name).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except OSError as error:
        faults.append(f"{name} cannot be read: {error.strerror}")
        return {}
    except (ValueError, RecursionError):
        faults.append(f"{name} is damaged: it is not JSON")
        return {}
    if not isinstance(value, dict):
        faults.append(f"{name} is damaged: it is not an object")
        return {}
    try:
        if value.get(CHECKSUM, config_checksum(value)) != config_checksum(value):
            faults.append(f"{name} is damaged: its contents do not match its checksum")
    except RecursionError:
        faults.append(f"{name} is damaged: it is nested too deeply")
        return {}
    value.pop(CHECKSUM, None)
    return value


def _header(path: Path, faults: list[str]) -> Object:
    """The header of a model or resume file, empty if the file is missing; a fault is added to `faults`."""
    if not os.path.lexists(path):
        return {}
    header = read_header(path)
    if header is None:
        faults.append(f"{path.name} is damaged, or not nlpseq's")
    return header or {}


def _history(path: Path) -> tuple[list[float], Object]:
    """The losses of the quick validations in a history, and its last row; lines that cannot be read are skipped."""
    losses: list[float] = []
    last: Object = {}
    if not path.is_file():
        return losses, last
    try:
        with path.open("rb") as file:
            for line in file:
                try:
                    row = json.loads(line)
                    check_json(row)
                except (ValueError, RecursionError):
                    continue
                if isinstance(row, dict):
                    last = row
                    loss = row.get("valid_loss")
                    losses += [float(loss)] if is_number_in(loss, -1e300, 1e300) else []
    except OSError:
        pass
    return losses, last


def _object(values: Mapping[str, Any], name: str) -> Object:
    value = values.get(name)
    return value if isinstance(value, dict) else {}


def _number(values: Mapping[str, Any], name: str, default: int | None = None) -> int | None:
    value = values.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) else default


def _corpus(asked: Mapping[str, Any], data: Mapping[str, Any], bundled: str) -> list[str]:
    """The names of the corpora that a run was asked for, else those in its model, else the bundled one."""
    files = [asked[name] for name in ("source", "target") if asked.get(name)]
    for names in (asked.get("corpus") or files, data.get("corpus")):
        if isinstance(names, list) and names:
            return [str(name) for name in names]
    return [bundled] if bundled and asked else []


def _stamps(path: Path) -> tuple[int | None, float]:
    """The size of the model, and when the newest file of the run was written."""
    states = {}
    for name in FILES:
        try:
            states[name] = (path / name).stat()
        except OSError:
            continue
    size = states[NAME].st_size if NAME in states else None
    return size, max((state.st_mtime for state in states.values()), default=0.0)


def _nearest(path: Path, otherwise: str) -> str:
    """A hint at the folder beside a missing one with a similar name."""
    try:
        names = [found.name for found in path.absolute().parent.iterdir()]
    except OSError:
        return otherwise
    near = get_close_matches(path.name, names, 1, ALIKE)
    return f"did you mean {path.with_name(near[0])}?" if near else otherwise
