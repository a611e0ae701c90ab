"""The configuration of a run, a JSON file with a checksum: what was asked for, what was chosen, and the result."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nlpseq import __version__
from nlpseq.errors import RunError
from nlpseq.files import replace_file
from nlpseq.models.model_file import CHECKSUM
from nlpseq.models.structure import check_json

CONFIG = "config.json"
NEW_RUN = "--overwrite in place of --resume starts a new run"


def write_config(folder: Path, config: Mapping[str, Any]) -> None:
    """Write the requested and the chosen options. Raises RunError if that is impossible."""
    written = {"version": __version__, **config}
    text = json.dumps({**written, CHECKSUM: config_checksum(written)}, indent=2) + "\n"
    replace_file(folder / CONFIG, text.encode())


def read_config(folder: Path, newer: Any = None) -> dict[str, Any]:
    """Read what `write_config` wrote; `newer` instead if that is the configuration of the run as it is trained on.

    Raises RunError if it is missing or damaged.
    """
    path = folder / CONFIG
    try:
        config = json.loads(path.read_bytes())
        check_config(config)
        if isinstance(newer, dict) and legs(newer) > legs(config):
            check_config(newer)
            config = newer
    except OSError as error:
        raise RunError(str(path), f"cannot be read: {error.strerror}", NEW_RUN) from error
    except (ValueError, RecursionError) as error:
        what = "is damaged: it is not a run's JSON"
        raise RunError(str(path), f"{what}, {str(error)[:200]}", NEW_RUN) from error
    return {name: value for name, value in config.items() if name != CHECKSUM}


def has_config(folder: Path) -> bool:
    """Whether a folder has the configuration of a run."""
    try:
        check_config(json.loads((folder / CONFIG).read_bytes()))
    except (OSError, ValueError, RecursionError):
        return False
    return True


def legs(config: Mapping[str, Any]) -> int:
    """How often a run was trained on."""
    found = config.get("continued", [])
    return len(found) if isinstance(found, list) else 0


def config_checksum(config: Mapping[str, Any]) -> str:
    """The first digits of the SHA-256 of a configuration, without the checksum in it."""
    rest = {name: value for name, value in config.items() if name != CHECKSUM}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()[:16]


def check_config(config: Any) -> None:
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
    check_json(config)
    if config.get(CHECKSUM, config_checksum(config)) != config_checksum(config):  # older runs have none
        raise ValueError("its contents do not match its checksum")
    for name in ("corpus", "valid"):
        if not isinstance(asked.get(name), list) or not all(isinstance(item, str) for item in asked[name]):
            raise ValueError(f"without a list of names under {name}")
