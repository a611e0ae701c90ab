"""The files of a training run.

    model.safetensors    the best model so far
    resume.safetensors   everything that the next step depends on, so that a resumed run is the same to the last bit
    history.jsonl        a line for each validation, and for about a thousand steps
    config.json          the requested options, the values chosen for those that were left open, and the result
    tokens/              the tokenised corpus, until the run is finished

A new run leaves an older one in its folder unchanged until its own corpus is read: the new tokens are written beside
the old ones and then renamed. The cost is that both are on disk for a moment.
"""

from __future__ import annotations

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

try:
    import fcntl
except ImportError:  # on Windows
    fcntl = None  # type: ignore[assignment]

RESUME = "resume.safetensors"
NEW_RUN = "--overwrite in place of --resume starts a new run"


class RunFolder:
    """The folder of one training run."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.model = path / NAME
        self.resume = path / RESUME
        self.tokens = path / "tokens"
        self.fresh = path / f".tokens-{os.getpid()}"  # the tokens of a run that has not started
        self.created: list[Path] = []  # folders
        self._unlock: Callable[[], object] = bool

    def check(self, *, resume: bool, overwrite: bool) -> None:
        """Raises as `open` does, but for a folder that cannot be written; changes nothing."""
        if resume and overwrite:
            raise OptionError("resume and overwrite", "are opposites: use one of them")
        used = self.model.exists() or self.resume.exists()
        if resume and not self.resume.exists():
            if not used:
                reason, hint = "it holds no run", "leave out --resume"
            elif self.tokens.exists():
                reason, hint = "its run was killed before it was first saved", "--overwrite starts a new run"
            else:
                reason, hint = "its state is gone", f"--init-from {self.path} --out FOLDER starts from its model"
            raise RunError(str(self.path), f"cannot be resumed: {reason}", hint)
        if used and not (resume or overwrite):
            resuming = "--resume, " if self.resume.exists() else ""
            raise RunError(str(self.path), "holds a run already", f"add {resuming}--overwrite or --out FOLDER")

    def open(self, *, resume: bool, overwrite: bool) -> None:
        """Open the folder, or create it.

        Raises OptionError if both `resume` and `overwrite` are set. Raises RunError if the folder holds a run and
        neither is set, if there is nothing to resume, or if the folder cannot be written.
        """
        self.check(resume=resume, overwrite=overwrite)
        self.created = [folder for folder in (self.path, *self.path.parents) if not folder.exists()]
        try:
            (self.tokens if resume else self.fresh).mkdir(parents=True, exist_ok=True)
            if not os.access(self.path, os.W_OK):
                raise PermissionError(0, "Permission denied")
        except OSError as error:
            raise RunError(
                str(self.path), f"cannot be written: {error.strerror}", "choose another folder with --out"
            ) from error
        self._lock()

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
        """Start a new run: write its options, and remove the files of an earlier run but for its model.

        The earlier model stays until the new run writes its own.
        """
        for path in (self.resume, self.path / "history.jsonl"):
            path.unlink(missing_ok=True)
        self.write_config(config)
        self.take_fresh()

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
        replace_file(self.path / "config.json", text.encode())

    def read_config(self) -> dict[str, Any]:
        """Read what `write_config` wrote. Raises RunError if it is missing or damaged."""
        try:
            config = json.loads((self.path / "config.json").read_text())
        except (OSError, ValueError) as error:
            raise RunError(str(self.path / "config.json"), f"cannot be read: {error}", NEW_RUN) from error
        if not isinstance(config, dict):
            raise RunError(str(self.path / "config.json"), "is damaged: it is not a JSON object", NEW_RUN)
        return config

    def add_to_history(self, record: Mapping[str, Any]) -> None:
        """Append one line of JSON to the history; a step that is run again has two lines.

        Raises RunError if it cannot be written.
        """
        path = self.path / "history.jsonl"
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

    def load_resume(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Read what `save_resume` wrote. Raises RunError if the file is damaged."""
        try:
            return read_tensors(self.resume)
        except ModelFileError as error:
            raise RunError(str(self.resume), error.what, NEW_RUN) from error

    def finish(self, config: Mapping[str, Any]) -> None:
        """Write the options with the result, and remove the tokens, which only an unfinished run needs."""
        self.write_config(config)
        self.drop_tokens()
        self.release()

    def drop_tokens(self) -> None:
        """Remove the tokens, which can be made again from the corpus."""
        shutil.rmtree(self.tokens, ignore_errors=True)
