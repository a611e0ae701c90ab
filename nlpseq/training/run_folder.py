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

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from nlpseq import __version__
from nlpseq.errors import ModelFileError, OptionError, RunError
from nlpseq.files import FolderLock, is_locked, remove_abandoned
from nlpseq.models.model_file import FORMAT, NAME, read_header, read_tensors, write_tensors
from nlpseq.models.model_path import UNLABELLED
from nlpseq.paths import exists
from nlpseq.training.delivery import INCOMING, recover
from nlpseq.training.replaced_run import ASIDE, PREVIOUS, ReplacedRun, drop
from nlpseq.training.run_config import CONFIG, NEW_RUN, has_config, read_config, write_config

RESUME, HISTORY, TOKENS = "resume.safetensors", "history.jsonl", "tokens"
CORPUS = "corpus.json"  # among the tokens
BEFORE = "language-model"
MAKE_SPACE = "free some space, then --resume"
HOLD_STATE = ("", PREVIOUS, ASIDE, INCOMING)  # folders in which a run's state may be after a kill
CONTINUED = "config"  # in the header of a resume file
WRITTEN = (NAME, RESUME, CONFIG, "tuning.json")  # files that are written under another name first


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
        self._lock = FolderLock()
        self._replaced = ReplacedRun(path, NAME, RESUME, (HISTORY, CONFIG, TOKENS))

    def check(self, *, resume: bool, overwrite: bool, resumable: bool = True) -> None:
        """Raises as `open` does, but for a folder that cannot be written; changes nothing.

        `resumable` says whether the command that fills the folder has --resume, which the hint then names.
        """
        exists(self.path)  # raises for a path that may not be looked at
        if resume and overwrite:
            raise OptionError("resume and overwrite", "are opposites: use one of them")
        if not self._lock.is_held() and is_locked(self.path):
            raise self._taken()
        has_state = self.unlabelled.exists() or any(
            (self.path / name / RESUME).exists() for name in ("", PREVIOUS, ASIDE)
        )
        used = has_state or self.model.exists() or has_config(self.path)
        was_never_saved = has_config(self.path) and (self.tokens.exists() or not self.model.exists())
        if resume and not (has_state or was_never_saved):
            if not used:
                reason, hint = "it holds no run", "leave out --resume, and name the corpus"
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

    def open(self, *, resume: bool, overwrite: bool) -> None:
        """Open the folder, or create it.

        Raises OptionError if both `resume` and `overwrite` are set. Raises RunError if the folder holds a run and
        neither is set, if there is nothing to resume, or if the folder cannot be written.
        """
        self.check(resume=resume, overwrite=overwrite)
        self.was_put_back = False
        self.created = [folder for folder in (self.path, *self.path.parents) if not folder.exists()]
        with self.writing("choose another folder with --out"):
            if not self._lock.take(self.path):
                raise self._taken()
        try:
            with self.writing("choose another folder with --out"):
                if not os.access(self.path, os.W_OK):
                    raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
                self.put_back()
                recover(self.path)
                self._clean()
                self.check(resume=resume, overwrite=overwrite)  # another run may have ended since
                if not resume:
                    self.fresh.mkdir(exist_ok=True)
        except BaseException:
            self.abandon()
            raise

    def _taken(self) -> RunError:
        return RunError(str(self.path), "another run is training into it now", "--out FOLDER")

    @contextmanager
    def writing(self, hint: str) -> Iterator[None]:
        """Inside, an OSError is raised as a RunError."""
        try:
            yield
        except OSError as error:
            raise RunError(str(self.path), f"cannot be written: {error.strerror}", hint) from error

    def _clean(self) -> None:
        """Remove what processes that were killed have left."""
        for name in WRITTEN:
            remove_abandoned(self.path / name)
        with suppress(FileNotFoundError), (self.path / HISTORY).open("rb+") as file:
            text = file.read()
            if (kept := text.rfind(b"\n") + 1) < len(text):
                file.truncate(kept)  # without the first half of a line
        if self._lock.is_held():
            for abandoned in self.path.glob(".tokens-*"):
                shutil.rmtree(abandoned, ignore_errors=True)

    def release(self) -> None:
        """Let other runs into the folder."""
        self._lock.release()

    def begin(self, config: Mapping[str, Any]) -> None:
        """Start a new run: write its options, and set an earlier run's files aside until the new one is first saved.

        The earlier model stays where it is until then. Raises RunError, with nothing changed, if it cannot be written.
        """
        with self.writing(MAKE_SPACE):
            self._replaced.set_aside()
            try:
                self.write_config(config)
                self.take_fresh()
            except BaseException:
                self._undo()
                raise

    def put_back(self) -> bool:
        """Put an earlier run back if the new one was never saved; returns whether that was done."""
        lost = self._replaced.put_back(self._forget_new)
        self.was_put_back = self.was_put_back or lost
        return lost

    def _forget_new(self) -> None:
        """Remove the files of a run that was never saved."""
        self.drop_tokens()
        for name in (HISTORY, CONFIG):
            (self.path / name).unlink(missing_ok=True)

    def _undo(self) -> None:
        """Undo `begin`, as far as the disk lets itself be written; the next `open` does the rest."""
        with suppress(OSError):
            if not self.put_back():
                self._forget_new()

    def withdraw(self) -> None:
        """Undo `begin` and `open`: the run could not start."""
        self._undo()
        self.abandon()

    def take_fresh(self) -> None:
        """Put the tokens that were just written in place of the run's tokens."""
        self.drop_tokens()
        self.fresh.rename(self.tokens)

    def abandon(self) -> None:
        """Remove what `open` and a run that could not start have created, and nothing else."""
        shutil.rmtree(self.fresh, ignore_errors=True)
        for folder in self.created:
            with suppress(OSError):
                folder.rmdir()
        self.release()

    def write_config(self, config: Mapping[str, Any]) -> None:
        """Write the requested and the chosen options."""
        write_config(self.path, config)

    def read_config(self) -> dict[str, Any]:
        """Read what `write_config` wrote. Raises RunError if it is missing or damaged."""
        return read_config(self.path, (read_header(self.resume) or {}).get(CONTINUED))

    def add_to_history(self, record: Mapping[str, Any]) -> None:
        """Append one line of JSON to the history; a step that is run again has two lines.

        Raises RunError if it cannot be written.
        """
        path = self.path / HISTORY
        try:
            with path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(record) + "\n")
        except OSError as error:
            raise RunError(str(path), f"cannot be written: {error.strerror}", MAKE_SPACE) from error

    def save_resume(
        self, header: Mapping[str, Any], arrays: Mapping[str, np.ndarray], config: Mapping[str, Any] | None = None
    ) -> None:
        """Write the resume file, replacing an older one.

        A run that is trained on has a new `config`, which is kept in the file until the next save: a kill before it
        is written by itself loses neither.
        """
        new = {} if config is None else {CONTINUED: config}
        write_tensors(self.resume, {"format": FORMAT, "version": __version__, **header, **new}, arrays)
        for folder in (self.previous, self.unlabelled):
            drop(folder)

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
        drop(self.tokens)


class FollowedFolder(RunFolder):
    """The folder of a run as it is seen by a process that is not the first of its run, and writes nothing."""

    def release(self) -> None:
        """As `RunFolder.release`: the first process holds the lock."""

    def put_back(self) -> bool:
        """As `RunFolder.put_back`: the first process does it."""
        return False

    def add_to_history(self, record: Mapping[str, Any]) -> None:
        """As `RunFolder.add_to_history`: the first process writes it."""

    def save_resume(
        self, header: Mapping[str, Any], arrays: Mapping[str, np.ndarray], config: Mapping[str, Any] | None = None
    ) -> None:
        """As `RunFolder.save_resume`: the first process writes it."""
