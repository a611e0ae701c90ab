"""The files of a training run.

    model.safetensors    the best model so far
    resume.safetensors   everything that the next step depends on, so that a resumed run is the same to the last bit
    history.jsonl        a line for each validation, and for about a thousand steps
    config.json          the requested options, the values chosen for those that were left open, and the result
    tokens/              the tokenised corpus, until the run is finished
    .previous/           the files of the run that a new one replaces, until that one is first saved
    language-model/      the run folder of the language model that a classifier with --unlabelled starts from
    .unlabelled/         its texts and what was asked for, until that classifier is first saved

A new run leaves an older one in its folder unchanged until its own corpus is read: the new tokens are written beside
the old ones and then renamed. The cost is that both are on disk for a moment.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import weakref
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from nlpseq import __version__
from nlpseq.errors import ModelFileError, OptionError, RunError
from nlpseq.files import replace_file
from nlpseq.models.model_file import FORMAT, NAME, read_tensors, write_tensors
from nlpseq.models.model_path import UNLABELLED

try:
    import fcntl
except ImportError:  # on Windows
    fcntl = None  # type: ignore[assignment]

RESUME, CONFIG, HISTORY, TOKENS = "resume.safetensors", "config.json", "history.jsonl", "tokens"
CORPUS = "corpus.json"  # among the tokens
PREVIOUS = ".previous"
BEFORE = "language-model"
NEW_RUN = "--overwrite in place of --resume starts a new run"


class RunFolder:
    """The folder of one training run."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.model = path / NAME
        self.resume = path / RESUME
        self.tokens = path / TOKENS
        self.fresh = path / f".tokens-{os.getpid()}"  # the tokens of a run that has not started
        self.previous = path / PREVIOUS  # an earlier run's files, until a new run is first saved
        self.unlabelled = path / UNLABELLED  # what a run in two parts needs, until its second part is first saved
        self.created: list[Path] = []  # folders
        self.was_put_back = False  # whether the run is one that a new run replaced, but was never saved
        self._unlock: Callable[[], object] = bool

    def check(self, *, resume: bool, overwrite: bool, resumable: bool = True) -> None:
        """Raises as `open` does, but for a folder that cannot be written; changes nothing.

        `resumable` says whether the command that fills the folder has --resume, which the hint then names.
        """
        if resume and overwrite:
            raise OptionError("resume and overwrite", "are opposites: use one of them")
        has_state = self.unlabelled.exists() or any((folder / RESUME).exists() for folder in (self.path, self.previous))
        used = has_state or self.model.exists() or self._has_config()
        was_never_saved = self._has_config() and (self.tokens.exists() or not self.model.exists())
        if resume and not (has_state or was_never_saved):
            if not used:
                reason, hint = "it holds no run", "leave out --resume"
            else:
                reason, hint = "its state is gone", f"--init-from {self.path} --out FOLDER starts from its model"
            raise RunError(str(self.path), f"cannot be resumed: {reason}", hint)
        if used and not (resume or overwrite):
            resuming = "--resume, " if resumable and (has_state or was_never_saved) else ""
            raise RunError(str(self.path), "holds a run already", f"add {resuming}--overwrite or --out FOLDER")
        foreign = [name for name in (CONFIG, HISTORY, TOKENS) if (self.path / name).exists()]
        if foreign and not used:
            what = f"holds {' and '.join(foreign)}, which no run of nlpseq wrote"
            raise RunError(str(self.path), what, "--out FOLDER")

    def _has_config(self) -> bool:
        try:
            _check_config(json.loads((self.path / CONFIG).read_text()))
        except (OSError, ValueError):
            return False
        return True

    def open(self, *, resume: bool, overwrite: bool) -> None:
        """Open the folder, or create it.

        Raises OptionError if both `resume` and `overwrite` are set. Raises RunError if the folder holds a run and
        neither is set, if there is nothing to resume, or if the folder cannot be written.
        """
        self.check(resume=resume, overwrite=overwrite)
        self.created = [folder for folder in (self.path, *self.path.parents) if not folder.exists()]
        try:
            if not resume:
                self.fresh.mkdir(parents=True, exist_ok=True)
            if not os.access(self.path, os.W_OK):
                raise PermissionError(0, "Permission denied")
        except OSError as error:
            raise RunError(
                str(self.path), f"cannot be written: {error.strerror}", "choose another folder with --out"
            ) from error
        self._lock()
        self.was_put_back = self.put_back()
        for name in (NAME, RESUME, CONFIG):  # what a kill in the middle of writing left
            for abandoned in self.path.glob(f".{name}.*"):
                abandoned.unlink(missing_ok=True)

    def _lock(self) -> None:
        """Keep other runs out of the folder until `release`, or until this process ends.

        Raises RunError if another run is in it. Windows and some network file systems have no such locks.
        """
        self.release()
        if fcntl is None:
            return
        descriptor = os.open(self.path, os.O_RDONLY)
        self._unlock = weakref.finalize(self, os.close, descriptor)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.abandon()
            raise RunError(str(self.path), "another run is training into it now", "--out FOLDER") from None
        except OSError:
            self.release()

    def release(self) -> None:
        """Let other runs into the folder."""
        self._unlock()

    def begin(self, config: Mapping[str, Any]) -> None:
        """Start a new run: write its options, and set an earlier run's files aside until the new one is first saved.

        The earlier model stays where it is until then.
        """
        shutil.rmtree(self.previous, ignore_errors=True)
        for name in (RESUME, HISTORY, CONFIG, TOKENS):
            if (self.path / name).exists():
                self.previous.mkdir(exist_ok=True)
                (self.path / name).replace(self.previous / name)
        self.write_config(config)
        self.take_fresh()

    def put_back(self) -> bool:
        """Put an earlier run back if the new one was never saved; returns whether that was done."""
        lost = self.previous.is_dir() and not self.resume.exists()
        if lost:
            shutil.rmtree(self.tokens, ignore_errors=True)
            for name in (HISTORY, CONFIG):
                (self.path / name).unlink(missing_ok=True)
            for file in self.previous.iterdir():
                file.replace(self.path / file.name)
        shutil.rmtree(self.previous, ignore_errors=True)
        return lost

    def withdraw(self) -> None:
        """Undo `begin` and `open`: the run could not start."""
        if not self.put_back():
            shutil.rmtree(self.tokens, ignore_errors=True)
            for name in (HISTORY, CONFIG):
                (self.path / name).unlink(missing_ok=True)
        self.abandon()

    def take_fresh(self) -> None:
        """Put the tokens that were just written in place of the run's tokens."""
        shutil.rmtree(self.tokens, ignore_errors=True)
        self.fresh.rename(self.tokens)
        for abandoned in self.path.glob(".tokens-*"):
            shutil.rmtree(abandoned, ignore_errors=True)

    def abandon(self) -> None:
        """Remove what `open` and a run that could not start have created, and nothing else."""
        self.release()
        shutil.rmtree(self.fresh, ignore_errors=True)
        for folder in self.created:
            with suppress(OSError):
                folder.rmdir()

    def write_config(self, config: Mapping[str, Any]) -> None:
        """Write the requested and the chosen options."""
        text = json.dumps({"version": __version__, **config}, indent=2) + "\n"
        replace_file(self.path / CONFIG, text.encode())

    def read_config(self) -> dict[str, Any]:
        """Read what `write_config` wrote. Raises RunError if it is missing or damaged."""
        path = self.path / CONFIG
        try:
            config = json.loads(path.read_text())
            _check_config(config)
        except OSError as error:
            raise RunError(str(path), f"cannot be read: {error.strerror}", NEW_RUN) from error
        except ValueError as error:
            what = "is damaged: it is not a run's JSON"
            raise RunError(str(path), f"{what}, {error}", NEW_RUN) from error
        return dict(config)

    def add_to_history(self, record: Mapping[str, Any]) -> None:
        """Append one line of JSON to the history; a step that is run again has two lines.

        Raises RunError if it cannot be written.
        """
        path = self.path / HISTORY
        try:
            with path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(record) + "\n")
        except OSError as error:
            raise RunError(
                str(path), f"cannot be written: {error.strerror}", "free some space, then --resume"
            ) from error

    def save_resume(self, header: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
        """Write the resume file, replacing an older one."""
        write_tensors(self.resume, {"format": FORMAT, "version": __version__, **header}, arrays)
        for folder in (self.previous, self.unlabelled):
            shutil.rmtree(folder, ignore_errors=True)

    def load_resume(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Read what `save_resume` wrote. Raises RunError if the file is damaged."""
        try:
            return read_tensors(self.resume)
        except ModelFileError as error:
            raise RunError(str(self.resume), error.what, NEW_RUN) from error

    def mark(self) -> str:
        """A hash that tells whether another machine sees this folder's tokens; empty if it does not see any."""
        try:
            return hashlib.sha256((self.tokens / CORPUS).read_bytes()).hexdigest()
        except OSError:
            return ""

    def finish(self, config: Mapping[str, Any]) -> None:
        """Write the options with the result, and remove the tokens, which only an unfinished run needs."""
        self.write_config(config)
        self.drop_tokens()
        self.release()

    def drop_tokens(self) -> None:
        """Remove the tokens, which can be made again from the corpus."""
        shutil.rmtree(self.tokens, ignore_errors=True)


class FollowedFolder(RunFolder):
    """The folder of a run as it is seen by a process that is not the first of its run, and writes nothing."""

    def release(self) -> None:
        """As `RunFolder.release`: the first process holds the lock."""

    def put_back(self) -> bool:
        """As `RunFolder.put_back`: the first process does it."""
        return False

    def add_to_history(self, record: Mapping[str, Any]) -> None:
        """As `RunFolder.add_to_history`: the first process writes it."""

    def save_resume(self, header: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
        """As `RunFolder.save_resume`: the first process writes it."""


def _check_config(config: Any) -> None:
    """Raises ValueError unless a configuration has the sections of a run's."""
    if not isinstance(config, dict) or not all(
        isinstance(config.get(name), dict) for name in ("asked", "model", "training")
    ):
        raise ValueError("without the sections asked, model and training")
    asked = config["asked"]
    if not all(isinstance(asked.get(name), dict) for name in ("corpus_options", "model", "training")):
        raise ValueError("without what was asked")
    if not isinstance(config.get("task", ""), str):
        raise ValueError("without a task")
    for name in ("corpus", "valid"):
        if not isinstance(asked.get(name), list) or not all(isinstance(item, str) for item in asked[name]):
            raise ValueError(f"without a list of names under {name}")
