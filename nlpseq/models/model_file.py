"""The model file: weights, options, tokeniser, scores and origin of one model.

The format is safetensors, not pickle, so reading a file runs no code. The header holds one JSON object under the key
`nlpseq`. The tokeniser is stored as a tensor of bytes. A checksum over header and stored tensors reveals a damaged
file. Weights may be stored in fewer bytes (storage.py); without such weights a file is of format 1, for older versions.
"""

from __future__ import annotations

import hashlib
import json
import shlex
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors import numpy as safetensors_numpy

from nlpseq import __version__
from nlpseq.errors import ModelFileError, OptionError, TokeniserError
from nlpseq.files import replace_file
from nlpseq.models import model_path, storage
from nlpseq.models.structure import Structure, check_header, check_json, checked_weights, shortened
from nlpseq.tasks import LANGUAGE_MODEL, TASKS
from nlpseq.text.tokenisers import Tokeniser, load_tokeniser

FORMAT = 1
COMPACT_FORMAT = 2  # with weights that storage.py packed
KEY = "nlpseq"
NAME = model_path.NAME
TOKENISER = "tokeniser"
STORAGE = "storage"  # in the header: how the tensors are stored that are not whole and in fp32
CHECKSUM = "checksum"  # over the rest of the header and the tensors; it also identifies the model

Options = TypeVar("Options")
Tensors = dict[str, np.ndarray]
Origin = tuple[Path, str]


@dataclass(frozen=True)
class Model:
    """A model as it is stored in its file."""

    task: str
    options: dict[str, Any]
    weights: Tensors
    tokeniser: Tokeniser
    header: dict[str, Any]  # the JSON header: task, options, scores, data, version
    path: Path

    @property
    def name(self) -> str:
        """What messages call the model: the path of its file, or the name of a bundled model."""
        return model_path.shown(self.path)

    @property
    def origin(self) -> Origin:
        """Its file and the file's checksum, by which another process finds the same model."""
        return self.path, str(self.header.get(CHECKSUM, ""))


def write_tensors(path: Path, header: Mapping[str, Any], tensors: Mapping[str, np.ndarray]) -> None:
    """Write named arrays and a JSON header to one file.

    Raises RunError if the file cannot be written; an older file is then left as it was.
    """
    ordered = {name: np.asarray(tensors[name], order="C") for name in sorted(tensors)}
    header = {key: value for key, value in header.items() if key != CHECKSUM}
    # as ASCII, because a corpus name may contain bytes that are not UTF-8
    text = json.dumps({**header, CHECKSUM: _digest(header, ordered)})
    replace_file(path, safetensors_numpy.save(ordered, {KEY: text}))


def read_tensors(path: Path) -> tuple[dict[str, Any], Tensors]:
    """Read the header and the arrays of a file that `write_tensors` wrote; weights that were packed are unpacked.

    Raises ModelFileError if the file is missing, foreign, damaged or of a newer format; what it holds may be anything.
    """
    header, tensors = _read_stored(path)
    try:
        return header, storage.unpack(tensors, header.get(STORAGE, {}))
    except ValueError as error:
        raise _damaged(path, str(error)) from error


def _damaged(path: Path, what: str, how: str = "is damaged") -> ModelFileError:
    where = model_path.shown(path)
    again = "train it again, or copy it again" if where == str(path) else "pip install --force-reinstall nlpseq"
    return ModelFileError(where, f"{how}: {what}", again)


def _read_stored(path: Path) -> tuple[dict[str, Any], Tensors]:
    """The header and the tensors as they are stored; raises as `read_tensors` does."""
    where = model_path.shown(path)
    if path.exists() and not path.is_file():
        raise ModelFileError(where, "is not a regular file", "-m FOLDER, of a run")
    try:
        path.open("rb").close()  # safetensors takes a file that may not be read for a missing one
        with safe_open(path, framework="np") as file:
            text = (file.metadata() or {}).get(KEY)
            if text is None:
                raise ModelFileError(where, "is a safetensors file, but not one of nlpseq's")
            header = json.loads(text)
            check_json(header)
            _check_format(path, header)
            tensors = {name: file.get_tensor(name) for name in sorted(file.keys())}
    except FileNotFoundError:
        raise ModelFileError(where, "no such file", "nlpseq train lm") from None
    except OSError as error:
        raise ModelFileError(where, f"cannot be read: {error.strerror or error}") from error
    except (SafetensorError, ValueError, TypeError, AttributeError, RecursionError) as error:
        if path.suffix not in ("", ".safetensors"):
            raise ModelFileError(where, "is no model file", f"-m FOLDER, of a run; or its {NAME}") from None
        what = "its header is nested too deeply" if isinstance(error, RecursionError) else str(error)[:200]
        raise _damaged(path, what, "is damaged, or not a model file") from error
    expected = header.pop(CHECKSUM, "")
    if expected != _digest(header, tensors):
        raise _damaged(path, "its contents do not match its checksum")
    return {**header, CHECKSUM: expected}, tensors


def _check_format(path: Path, header: Any) -> None:
    if not isinstance(header, dict):
        raise ModelFileError(model_path.shown(path), "is a safetensors file, but not one of nlpseq's")
    version = header.get("format")
    if version not in (FORMAT, COMPACT_FORMAT):
        found, maker = (shortened(str(value)) for value in (version, header.get("version")))
        what = f"is of format {found}, made by nlpseq {maker}; this version reads formats up to {COMPACT_FORMAT}"
        raise ModelFileError(model_path.shown(path), what, "pip install --upgrade nlpseq")


def _digest(header: Mapping[str, Any], tensors: Mapping[str, np.ndarray]) -> str:
    """A hash of the header and of each tensor's CRC-32, five times as fast as a hash of all bytes."""
    digest = hashlib.sha256(json.dumps(header, sort_keys=True).encode())
    for name, tensor in tensors.items():
        crc = zlib.crc32(np.ascontiguousarray(tensor).data)
        digest.update(f"{name} {tensor.dtype} {tensor.shape} {crc:08x}\n".encode())
    return digest.hexdigest()


def save_model(
    path: Path,
    task: str,
    options: Mapping[str, Any],
    weights: Mapping[str, np.ndarray],
    tokeniser: Tokeniser,
    store: str = "fp32",
    **details: Any,
) -> None:
    """Write a model, its matrices in the number format `store` (see storage.py).

    `details` are further JSON values for the header, such as scores, data and training.
    """
    tensors, entries = storage.pack(weights, store)
    header: dict[str, Any] = {"format": FORMAT, "version": __version__, "task": task, "options": dict(options)}
    if entries:
        header |= {"format": COMPACT_FORMAT, STORAGE: entries}
    tensors[TOKENISER] = np.frombuffer(tokeniser.to_bytes(), np.uint8)
    write_tensors(path, {**header, **details}, tensors)


def _file(path: Path) -> Path:
    """The file of a model at a path; the path itself if it leads to no model."""
    found = model_path.model_path(path)
    return found / NAME if found.is_dir() else found


def task_of(path: Path) -> str | None:
    """The task in the header of a model file, or None if the file names no task. Reads the header only."""
    task = (read_header(_file(path)) or {}).get("task")
    return None if task is None else str(task)


def read_header(path: Path) -> dict[str, Any] | None:
    """The JSON header of a file that `write_tensors` wrote, or None if it is missing, foreign or damaged there.

    The tensors are not read, so the checksum is not compared.
    """
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="np") as file:
            header = json.loads((file.metadata() or {})[KEY])
    except (OSError, SafetensorError, ValueError, KeyError, TypeError, RecursionError):
        return None
    return header if isinstance(header, dict) else None


def _missing(path: Path, task: str | None, flag: str) -> ModelFileError:
    """The error for a path that holds no model, with a hint at a model or at the way to one."""
    usual = next((own.name for own in TASKS.values() if own.folder == path), None)
    verb, task = _verb(usual or task), task or usual
    if (path / "config.json").exists():
        go_on = "--resume" if (path / "resume.safetensors").exists() else "--overwrite"
        what = "holds a run that has not saved a model yet"
        return ModelFileError(str(path), what, f"nlpseq train {verb} {go_on} --out {shlex.quote(str(path))}")
    if inside := _runs(path):
        fitting = (_runs(path, task) or inside)[0]
        hint = f"{flag} {shlex.quote(str(path / fitting))}"
        return ModelFileError(str(path), f"holds no model, but runs: {', '.join(inside)}", hint)
    bundled = model_path.BUNDLED if path == Path(path.name) else ()
    folder = path.absolute().parent
    if near := get_close_matches(path.name, [*_runs(folder), *bundled], 1, 0.8):
        hint = f"did you mean {path.with_name(near[0])}?"
    elif beside := _runs(folder, task):
        hint = f"{flag} {shlex.quote(str(path.with_name(beside[0])))}"
    else:
        hint = f"nlpseq train {verb} --out {shlex.quote(str(path))}"
    return ModelFileError(str(path), "no such model", hint)


def _runs(folder: Path, task: str | None = None) -> list[str]:
    """The names of the run folders in a folder that hold a model, by default of any task."""
    try:
        runs = sorted(run.name for run in folder.iterdir() if (run / NAME).exists())
    except OSError:
        return []
    return [run for run in runs if task in (None, task_of(folder / run))]


def _usual_model(task: str, flag: str) -> str:
    """A hint at a model of a task: that of its default folder, the bundled one, or one to train."""
    own = TASKS.get(task, LANGUAGE_MODEL)
    if task_of(own.folder) == task:
        return f"{flag} {own.folder}"
    if own.name == task and model_path.bundled_file(own.bundled):
        return f"{flag} {own.bundled}"
    return f"nlpseq train {own.command}" if flag == "-m" else f"leave out {flag}"


def load_model(path: Path, task: str | None = None, flag: str = "-m") -> Model:
    """Read a model from its file or run folder, or a bundled model by its name; `flag` is the option that named it.

    Raises ModelFileError if it is missing or damaged, or if it is a model of another task than `task`.
    """
    file = _file(path)
    if not file.exists():
        raise _missing(path, task, flag)
    header, stored = _read_stored(file)
    own_task, name = header.get("task"), model_path.shown(file)
    if own_task is None or TOKENISER not in stored:
        raise ModelFileError(name, "is a file of nlpseq's, but not a model", f"use {NAME} of the run folder")
    if not isinstance(own_task, str) or own_task not in TASKS:
        what = f"is of a task that this version does not know: {shortened(str(own_task))}"
        raise ModelFileError(name, what, "pip install --upgrade nlpseq")
    if task is not None and own_task != task:
        raise ModelFileError(name, f"is a {_noun(own_task)}, a {_noun(task)} is needed", _usual_model(task, flag))
    try:
        tokeniser = load_tokeniser(stored.pop(TOKENISER).tobytes())
    except TokeniserError as error:
        raise ModelFileError(name, f"has a tokeniser that cannot be used: {error.what}", error.hint) from error
    return _checked(Model(own_task, header.get("options") or {}, stored, tokeniser, header, file))


def _checked(model: Model) -> Model:
    """A model with its weights as they run. Raises ModelFileError unless it fits its header (see structure.py)."""
    structure: Structure = TASKS[model.task].load("structure")
    try:
        check_header(model.header)
        structure.check_header(model.header)
        options = read_options(model, structure.options)
        entries = model.header.get(STORAGE, {})
        weights = checked_weights(structure, options, model.tokeniser.size, model.header, model.weights, entries)
    except ValueError as error:
        raise _damaged(model.path, str(error)) from error
    return replace(model, weights=weights)


def load_again(load: Callable[[Path], tuple[Model, Options]], origin: Origin) -> tuple[Model, Options]:
    """A model from where it came. Raises ModelFileError as `load`, and if the file has been replaced."""
    model, options = load(origin[0])
    if model.origin != origin:
        raise ModelFileError(model.name, "was replaced while it was in use", "run the command again")
    return model, options


def read_options(model: Model, kind: type[Options]) -> Options:
    """A model's options. Raises ModelFileError if this version does not know one of them."""
    try:
        return kind(**model.options)
    except (TypeError, OptionError) as error:
        hint = "pip install --upgrade nlpseq"
        raise ModelFileError(
            model.name, f"has options that this version does not know: {error!s:.200}", hint
        ) from error


def _noun(task: str) -> str:
    """What a model of a task is called."""
    return TASKS[task].noun if task in TASKS else task


def _verb(task: str | None) -> str:
    """The word after `nlpseq train` for a task."""
    return TASKS.get(task or "", LANGUAGE_MODEL).command
