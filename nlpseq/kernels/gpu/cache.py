"""The folder of Triton's compiled kernels.

Triton raises a long error if it cannot write its cache, as in a read-only home folder or on a full disk. A temporary
folder then replaces the cache; the price is that every process compiles its kernels again.
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from pathlib import Path


def ensure_cache() -> None:
    """Give Triton a temporary folder if its own cannot be written; call this before anything is compiled."""
    if not _can_be_written(_cache_folder()):
        folder = tempfile.mkdtemp(prefix="nlpseq-triton-")
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        os.environ["TRITON_CACHE_DIR"] = folder


def _cache_folder() -> Path:
    setting = os.environ.get("TRITON_CACHE_DIR")
    home = os.environ.get("TRITON_HOME") or os.path.expanduser("~")
    return Path(setting) if setting else Path(home) / ".triton" / "cache"


def _can_be_written(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False
