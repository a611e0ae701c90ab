"""Data sets of the Hugging Face hub, `hf:NAME[:CONFIG]`: rows of their train split, streamed."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from nlpseq.errors import CorpusError
from nlpseq.text.compression import PIECE_BYTES

HUB = "hf:"
CONNECTION_SECONDS = 10


def read_hub(name: str) -> Iterator[str]:
    """The `text` column of the train split of a hub data set, with a newline after each row.

    A row without a text (null) is a blank line. Raises CorpusError, when reading starts, as `hub_rows` does.
    """
    gathered: list[str] = []
    waiting = 0
    for row in hub_rows(name):
        gathered.append(_row_text(name, row))
        waiting += len(gathered[-1])
        if waiting >= PIECE_BYTES:
            yield "".join(gathered)
            gathered, waiting = [], 0
    if gathered:
        yield "".join(gathered)


def hub_rows(name: str) -> Iterator[dict[str, Any]]:
    """The rows of the train split of a hub data set, streamed.

    Raises CorpusError, when reading starts, for any failure of the hub, and if there are no rows.
    """
    repository, _, configuration = name.removeprefix(HUB).partition(":")
    if not repository:
        raise CorpusError(name, "it does not name a data set", f"{HUB}NAME or {HUB}NAME:CONFIG")
    has_rows = False
    try:
        _connect()
        from datasets import load_dataset

        dataset = load_dataset(repository, configuration or None, split="train", streaming=True)
        features = dataset.features or {}
        names = {column: feature.names for column, feature in features.items() if hasattr(feature, "names")}
        for row in dataset:
            has_rows = True
            yield with_label_names(row, names)
    except _hub_failures() as error:
        raise _hub_error(name, error) from None
    if not has_rows:
        raise CorpusError(name, "its train split has no rows")


def _connect() -> None:
    """Ask the hub for an answer, so that without a network it fails at once, not after half a minute of repeated tries.

    Its client's warnings of each try are silenced. Raises ConnectionError.
    """
    from huggingface_hub import constants, errors, get_session

    if "HF_HUB_VERBOSITY" not in os.environ:
        logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
    if constants.HF_HUB_OFFLINE:
        return
    try:
        get_session().head(constants.ENDPOINT, timeout=CONNECTION_SECONDS)
    except (OSError, getattr(errors, "HTTPError", OSError)) as error:
        raise ConnectionError(f"{constants.ENDPOINT} cannot be reached: {error}") from None


def with_label_names(row: Mapping[str, Any], names: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """A row with names instead of numbered labels; -1, which means no label, becomes null."""
    named = {
        column: labels[row[column]] if row[column] >= 0 else None
        for column, labels in names.items()
        if isinstance(row.get(column), int)
    }
    return {**row, **named}


def _row_text(name: str, row: dict[str, Any]) -> str:
    if "text" not in row:
        columns = ", ".join(row)
        hint = "export the column of texts to a text file"
        raise CorpusError(name, f"it has no column `text`, only {columns}", hint)
    text = row["text"]
    if text is not None and not isinstance(text, str):
        raise CorpusError(name, f"its column `text` holds {type(text).__name__}, not text")
    text = text or ""
    return text if text.endswith("\n") else text + "\n"


def _hub_failures() -> tuple[type[Exception], ...]:
    """The exceptions of datasets, and of the libraries that it uses, for a bad name, network or file."""
    from datasets.exceptions import DatasetsError
    from huggingface_hub import errors

    network = getattr(errors, "HTTPError", OSError)  # not in every release
    arguments = (ValueError, LookupError, TypeError, RuntimeError)
    return (DatasetsError, network, OSError, EOFError, ImportError, *arguments)


def _hub_error(name: str, error: Exception) -> CorpusError:
    from datasets.exceptions import DatasetNotFoundError

    reason = " ".join(str(error).split()) or type(error).__name__
    hint = "look at its page on huggingface.co, or export its text to a file"
    if isinstance(error, DatasetNotFoundError):
        hint = "check the name on huggingface.co/datasets; a private data set needs `hf auth login`"
    elif isinstance(error, OSError):
        hint = "check the network; a corpus in a file does not need it"
    elif isinstance(error, ValueError) and "config" in reason.lower():
        hint = f"name one: {name.split(':')[0]}:{name.split(':')[1]}:CONFIG"
    return CorpusError(name, f"the hub's data set cannot be read: {reason[:300]}", hint)
