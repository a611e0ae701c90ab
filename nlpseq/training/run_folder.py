"""What a run keeps on disk.

    model.safetensors    the best model so far
    resume.safetensors   everything that the next step depends on, so that a resumed run is the same run to the last bit
    history.jsonl        a line for each validation
    config.json          the options, and what was chosen where they were left open
    tokens/              the tokenised corpus, as long as the run is not finished

A new run touches nothing of an older one in its folder until its corpus is read: tokens are written beside the old ones
and renamed. The cost is that for a moment both are on disk.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from nlpseq import __version__
from nlpseq.errors import ModelFileError, OptionError, RunError
from nlpseq.files import replace_file
from nlpseq.models.model_file import FORMAT, NAME, read_tensors, write_tensors

RESUME = "resume.safetensors"


class RunFolder:
    """A folder of one training run."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.model = path / NAME
        self.resume = path / RESUME
        self.tokens = path / "tokens"
        self.fresh = path / f".tokens-{os.getpid()}"  # those of a run that has not begun
        self.made: list[Path] = []

    def open(self, *, resume: bool, overwrite: bool) -> None:
        """Make the folder, or go into the one that is there.

        Raises OptionError if both `resume` and `overwrite` are asked for, and RunError if there is a run and neither
        is, if there is nothing to resume, or if the folder cannot be written.
        """
        if resume and overwrite:
            raise OptionError("resume and overwrite", "ask for opposite things: give one of them")
        used = self.model.exists() or self.resume.exists()
        if resume and not self.resume.exists():
            if not self.model.exists():
                found, hint = "no run was found in it", "leave out --resume"
            elif self.tokens.exists():
                found, hint = "the run in it was killed before it was saved for that", "--overwrite starts afresh"
            else:
                found, hint = "the run in it is finished", f"--init-from {self.path} --out FOLDER starts from its model"
            raise RunError(str(self.path), f"cannot be resumed: {found}", hint)
        if used and not (resume or overwrite):
            go_on = "--resume, " if self.resume.exists() else ""
            raise RunError(str(self.path), "holds a run already", f"add {go_on}--overwrite or --out FOLDER")
        self.made = [folder for folder in (self.path, *self.path.parents) if not folder.exists()]
        try:
            (self.tokens if resume else self.fresh).mkdir(parents=True, exist_ok=True)
            if not os.access(self.path, os.W_OK):
                raise PermissionError(0, "Permission denied")
        except OSError as error:
            raise RunError(
                str(self.path), f"cannot be written: {error.strerror}", "choose another folder with --out"
            ) from error

    def begin(self, config: Mapping[str, Any]) -> None:
        """Start a new run here: write its options, and only now remove what an earlier run has left."""
        self.write_config(config)
        for path in (self.resume, self.model, self.path / "history.jsonl"):
            path.unlink(missing_ok=True)
        shutil.rmtree(self.tokens, ignore_errors=True)
        self.fresh.rename(self.tokens)
        for left in self.path.glob(".tokens-*"):
            shutil.rmtree(left, ignore_errors=True)

    def abandon(self) -> None:
        """Remove what a run that could not begin has made, and nothing else."""
        shutil.rmtree(self.fresh, ignore_errors=True)
        for folder in self.made:
            with suppress(OSError):
                folder.rmdir()

    def write_config(self, config: Mapping[str, Any]) -> None:
        """Write what the run was asked for and what was chosen."""
        text = json.dumps({"version": __version__, **config}, indent=2) + "\n"
        replace_file(self.path / "config.json", text.encode())

    def read_config(self) -> dict[str, Any]:
        """What `write_config` wrote. Raises RunError if it is not there or damaged."""
        try:
            config = json.loads((self.path / "config.json").read_text())
        except (OSError, ValueError) as error:
            raise RunError(str(self.path / "config.json"), f"cannot be read: {error}", "add --overwrite") from error
        if not isinstance(config, dict):
            raise RunError(str(self.path / "config.json"), "is damaged: it holds no object", "add --overwrite")
        return config

    def add_to_history(self, record: Mapping[str, Any]) -> None:
        """Append one line of JSON to the history; lines of steps that are run again stand twice.

        Raises RunError if it cannot be written.
        """
        path = self.path / "history.jsonl"
        try:
            with path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(record) + "\n")
        except OSError as error:
            raise RunError(str(path), f"cannot be written: {error.strerror}", "free some space, --resume") from error

    def save_resume(self, header: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
        """Write the resume file in place of the last one."""
        write_tensors(self.resume, {"format": FORMAT, "version": __version__, **header}, arrays)

    def load_resume(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """What `save_resume` wrote. Raises RunError if the file is damaged."""
        try:
            return read_tensors(self.resume)
        except ModelFileError as error:
            raise RunError(str(self.resume), error.what, "add --overwrite to start afresh") from error

    def finish(self) -> None:
        """Remove what only an unfinished run needs."""
        self.resume.unlink(missing_ok=True)
        shutil.rmtree(self.tokens, ignore_errors=True)
