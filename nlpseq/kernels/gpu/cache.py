"""Where Triton keeps the kernels that it has compiled.

Triton wants to write its cache, and raises an error of many lines if it cannot: in a home folder that is read-only, or
on a full disk. Then a temporary folder takes its place, and the price is that every process compiles its kernels anew.
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from pathlib import Path


def ensure_cache() -> None:
    """Point Triton to a temporary folder if its own cannot be written; called before anything is compiled."""
    if not _can_be_written(_cache_folder()):
        folder = tempfile.mkdtemp(prefix="nlpseq-triton-")
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        os.environ["TRITON_CACHE_DIR"] = folder


def _cache_folder() -> Path:
    given = os.environ.get("TRITON_CACHE_DIR")
    return (
        Path(given) if given else Path(os.environ.get("TRITON_HOME") or os.path.expanduser("~")) / ".triton" / "cache"
    )


def _can_be_written(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False
