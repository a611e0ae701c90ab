"""The run that a new one replaces, whose files are kept until the new one is first saved.

They are moved to a folder and back one by one, and a rename of that folder is the moment at which all of them have
moved; so a kill at any moment leaves what `put_back` can undo. The earlier model stays where it is, too: the folder
has a second link to it, which costs nothing.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

PREVIOUS = ".previous"  # in the run folder
ASIDE = ".aside"  # files that are on their way to PREVIOUS, or back
DROPPED = ".tokens-dropped"  # what is being removed


class ReplacedRun:
    """The earlier run in a run folder. All methods raise OSError if the folder cannot be changed."""

    def __init__(self, folder: Path, model: str, state: str, others: Sequence[str]) -> None:
        """The names are those of the files of a run, in its folder."""
        self.folder = folder
        self.previous, self.aside = folder / PREVIOUS, folder / ASIDE
        self.model, self.state, self.others = folder / model, folder / state, others

    def set_aside(self) -> None:
        """Move an earlier run's files away, if there are any."""
        shutil.rmtree(self.previous, ignore_errors=True)
        names = [name for name in (self.state.name, *self.others) if (self.folder / name).exists()]
        if not names:
            return
        try:
            self._move_aside(names)
        except BaseException:
            with suppress(OSError):
                self._return_files()
            raise

    def _move_aside(self, names: Sequence[str]) -> None:
        self.aside.mkdir()
        if self.model.exists():
            try:
                os.link(self.model, self.aside / self.model.name)
            except OSError:  # a file system without hard links
                shutil.copy2(self.model, self.aside / self.model.name)
        for name in names:
            (self.folder / name).replace(self.aside / name)
        self.aside.rename(self.previous)

    def put_back(self, forget_new: Callable[[], object]) -> bool:
        """Move an earlier run's files back if the new run was never saved; returns whether there was one.

        `forget_new` removes the files of the new run before.
        """
        was_moving = self._return_files()
        lost = self.previous.is_dir() and not self.state.exists()
        if lost:
            forget_new()
            self.previous.rename(self.aside)
            self._return_files()
        shutil.rmtree(self.previous, ignore_errors=True)
        return lost or was_moving

    def _return_files(self) -> bool:
        """Move what is on its way back; returns whether there was anything."""
        if not self.aside.is_dir():
            return False
        for file in self.aside.iterdir():
            file.replace(self.folder / file.name)
        shutil.rmtree(self.aside)  # a model that was never replaced is still in it, because it is the same file
        return True


def drop(folder: Path) -> None:
    """Remove a folder inside a run folder, renamed before, so that a kill leaves no half of it."""
    dropped = folder.with_name(DROPPED)
    shutil.rmtree(dropped, ignore_errors=True)
    try:
        folder.rename(dropped)
    except OSError:
        return
    shutil.rmtree(dropped, ignore_errors=True)
