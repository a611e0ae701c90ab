"""The files of a search's best run on their way into the run folder, and the parts of an earlier search.

All of them are in one folder that is renamed when it is complete. From then on the search has ended, and a kill leaves
what `recover` brings to its end; before, it leaves what `recover` undoes.
"""

from __future__ import annotations

import shutil
from contextlib import suppress
from pathlib import Path

from nlpseq.training.replaced_run import drop

PARTS = "tuning"  # in a run folder: the parts that a search has split its corpus into
INCOMING = ".incoming"  # files that replace those in the run folder
EARLIER = ".tuning-earlier"  # the parts of an earlier search; empty if there was none


def set_parts_aside(folder: Path) -> None:
    """Keep the parts of an earlier search until the new one has ended."""
    parts, earlier = folder / PARTS, folder / EARLIER
    if parts.exists():
        parts.rename(earlier)
    else:
        earlier.mkdir()


def deliver(source: Path, folder: Path) -> None:
    """Move the files of a search's best run from the folder `source` into the run folder."""
    source.rename(folder / INCOMING)
    recover(folder)


def recover(folder: Path) -> None:
    """Bring a delivery to its end, or undo a search that was killed before. Raises OSError if that is impossible."""
    incoming, earlier = folder / INCOMING, folder / EARLIER
    if incoming.is_dir():
        for file in incoming.iterdir():
            file.replace(folder / file.name)
        shutil.rmtree(earlier, ignore_errors=True)
        incoming.rmdir()
    elif earlier.is_dir():
        drop(folder / PARTS)
        with suppress(OSError):
            earlier.rmdir()  # which is not empty if there were parts
        if earlier.is_dir():
            earlier.rename(folder / PARTS)
