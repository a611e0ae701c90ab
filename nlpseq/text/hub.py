"""Data sets of the Hugging Face hub, `hf:NAME[:CONFIG]`: rows of their train split, streamed.

No more rows are fetched than are read. A text that is read several times is fetched once: inside `keeping_texts` the
first reading writes it to a file, from which the others read.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from threading import Thread
from typing import Any

from nlpseq.errors import CorpusError
from nlpseq.text.beginnings import beginning, whole_name
from nlpseq.text.compression import PIECE_BYTES

HUB = "hf:"
UNREADABLE = "the hub's data set cannot be read"
CHECK_NETWORK = "check the network; a corpus in a file does not need it"
CONNECTION_SECONDS = 1.4  # with the start of the program two seconds


@contextmanager
def keeping_texts(folder: Path) -> Iterator[None]:
    """Inside, the text of each data set is fetched once, and kept in a file in `folder` until the end."""
    before, _kept[:] = _kept[:], [(folder, {})]
    try:
        yield
    finally:
        for copy in _kept[0][1].values():
            with suppress(OSError):
                copy.path.unlink()
        _kept[:] = before


@dataclass
class _Copy:
    """A text in a file, and the sizes in bytes of the pieces that it was read in."""

    path: Path
    sizes: list[int]

    def pieces(self) -> Iterator[str]:
        with self.path.open("rb") as file:
            for size in self.sizes:
                yield file.read(size).decode("utf-8", "surrogatepass")


_kept: list[tuple[Path, dict[str, _Copy]]] = []  # at most one: the folder, and the copies in it by their names


def read_hub(name: str) -> Iterator[str]:
    """The `text` column of the train split of a hub data set, with a newline after each row; of `NAME@N` N rows.

    A row without a text (null) is a blank line. Raises CorpusError, while reading, as `hub_rows` does, and if the text
    cannot be kept.
    """
    if not _kept:
        return _fetched(name)
    folder, copies = _kept[0]
    return copies[name].pieces() if name in copies else _copied(name, folder, copies)


def _copied(name: str, folder: Path, copies: dict[str, _Copy]) -> Iterator[str]:
    """The text of a data set, which is kept if it is read to its end."""
    copy = _Copy(folder / f"hub-{len(copies)}.part", [])
    is_whole = False
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with copy.path.open("wb") as file:
            for piece in _fetched(name):
                data = piece.encode("utf-8", "surrogatepass")
                file.write(data)
                copy.sizes.append(len(data))
                yield piece
        is_whole = True
    except OSError as error:
        what = f"a copy of it cannot be written to {folder}: {error.strerror or error}"
        raise CorpusError(name, what, "free some space there, or read less: --take N") from None
    finally:
        if is_whole:
            copies[name] = copy
        else:
            with suppress(OSError):
                copy.path.unlink()


def _fetched(name: str) -> Iterator[str]:
    gathered: list[str] = []
    waiting = 0
    for row in hub_rows(*beginning(name)):
        gathered.append(_row_text(name, row))
        waiting += len(gathered[-1])
        if waiting >= PIECE_BYTES:
            yield "".join(gathered)
            gathered, waiting = [], 0
    if gathered:
        yield "".join(gathered)


def hub_rows(name: str, limit: int | None = None) -> Iterator[dict[str, Any]]:
    """The rows of the train split of a hub data set, streamed, up to `limit` of them.

    Raises CorpusError, while reading, for any failure of the hub, and if there are no rows.
    """
    repository, _, configuration = name.removeprefix(HUB).partition(":")
    if not repository:
        raise CorpusError(name, "it does not name a data set", f"{HUB}NAME or {HUB}NAME:CONFIG")
    count = 0
    is_reachable = _is_reachable(name, repository)
    try:
        with nullcontext() if is_reachable else _offline():
            from datasets import load_dataset

            dataset = load_dataset(repository, configuration or None, split="train", streaming=True)
        features = dataset.features or {}
        kinds = {column: getattr(feature, "feature", feature) for column, feature in features.items()}
        names = {column: kind.names for column, kind in kinds.items() if hasattr(kind, "names")}
        for row in islice(dataset, limit):
            count += 1
            yield with_label_names(row, names)
    except _hub_failures() as error:
        raise _hub_error(name, error, count) from None
    if not count:
        raise CorpusError(name, "its train split has no rows")


def _is_reachable(name: str, repository: str) -> bool:
    """Whether the hub answers; if not, the data set has a copy from an earlier download on this machine.

    The hub is asked for any answer, so that without a network a reader fails in CONNECTION_SECONDS and not after half a
    minute of repeated tries. Raises CorpusError if it does not answer and there is no copy.
    """
    from huggingface_hub import constants

    if "HF_HUB_VERBOSITY" not in os.environ:
        logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # its client's warnings of each try
    failure, hint = "HF_HUB_OFFLINE is set", "unset HF_HUB_OFFLINE"
    if not constants.HF_HUB_OFFLINE:
        answer = _no_answer(constants.ENDPOINT)
        if answer is None:
            return True
        failure, hint = f"{constants.ENDPOINT} cannot be reached: {answer}", CHECK_NETWORK
    if not _has_copy(repository):
        raise CorpusError(name, f"{UNREADABLE}: {failure}, and it has no copy on this machine", hint)
    return False


def _no_answer(address: str) -> str | None:
    """Why the hub does not answer; None if it does.

    A thread asks, because looking up a name has no time limit of its own.
    """
    from huggingface_hub import errors, get_session

    failures: list[str | None] = [f"no answer in {CONNECTION_SECONDS:g} seconds"]

    def ask() -> None:
        try:
            get_session().head(address, timeout=CONNECTION_SECONDS)
            failures.append(None)
        except (OSError, getattr(errors, "HTTPError", OSError)) as error:
            failures.append(str(error) or type(error).__name__)

    thread = Thread(target=ask, daemon=True)
    thread.start()
    thread.join(CONNECTION_SECONDS)
    return failures[-1]


def _has_copy(repository: str) -> bool:
    """Whether a data set was downloaded before, by the name of the folder that `datasets` keeps it in."""
    from huggingface_hub import constants

    kept = Path(os.environ.get("HF_DATASETS_CACHE") or Path(constants.HF_HOME, "datasets")).expanduser()
    wanted = _plain(repository.replace("/", "___"))
    try:
        return any(_plain(entry.name) == wanted and any(Path(entry).glob("*/*/*")) for entry in os.scandir(kept))
    except OSError:
        return False


def _plain(name: str) -> str:
    """A name without the differences between CamelCase and snake_case."""
    return name.replace("_", "").lower()


@contextmanager
def _offline() -> Iterator[None]:
    """The libraries of the hub do not ask it for anything."""
    import datasets.config
    from huggingface_hub import constants

    modules: tuple[Any, ...] = (datasets.config, constants)
    before = [module.HF_HUB_OFFLINE for module in modules]
    try:
        for module in modules:
            module.HF_HUB_OFFLINE = True
        yield
    finally:
        for module, value in zip(modules, before, strict=True):
            module.HF_HUB_OFFLINE = value


def with_label_names(row: Mapping[str, Any], names: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """A row with names instead of numbered labels, also in lists; -1, which means no label, becomes null."""
    named: dict[str, Any] = {}
    for column, labels in names.items():
        value = row.get(column)
        if isinstance(value, int):
            named[column] = labels[value] if value >= 0 else None
        elif isinstance(value, list):
            named[column] = [labels[number] if number >= 0 else None for number in value]
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


def _hub_error(name: str, error: Exception, count: int) -> CorpusError:
    """The error for a failure of the hub after `count` rows."""
    from datasets.exceptions import DatasetNotFoundError

    reason = " ".join(str(error).split()) or type(error).__name__
    hint = "look at its page on huggingface.co, or export its text to a file"
    if isinstance(error, DatasetNotFoundError):
        hint = "check the name on huggingface.co/datasets; a private data set needs `hf auth login`"
    elif isinstance(error, OSError):
        hint = CHECK_NETWORK
    elif isinstance(error, ValueError) and "config" in reason.lower():
        hint = f"name one: {name.split(':')[0]}:{name.split(':')[1]}:CONFIG"
    if count:
        hint = f"{hint}; or name what came before: {whole_name(name)}@{count}"
    where = f"{UNREADABLE} after {count:,} rows" if count else UNREADABLE
    return CorpusError(name, f"{where}: {reason[:300]}", hint)
