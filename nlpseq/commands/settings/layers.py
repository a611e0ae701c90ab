"""The layers of a command's values: the command line, variables, the run file, and the run to repeat.

A higher layer wins. Options that exclude each other are one choice: with `--minutes` on the command line, the steps of
a file do not count. A corpus on the command line replaces all that the run to repeat says about its corpus.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any, NamedTuple

from nlpseq.errors import BackendError, ConfigError, NlpseqError, OptionError
from nlpseq.options import flag

CHOICES: tuple[tuple[frozenset[str], ...], ...] = tuple(
    tuple(frozenset(names.split()) for names in choice)
    for choice in (
        ("epochs", "steps", "minutes"),
        ("batch_size", "batch_tokens"),
        ("resume", "overwrite"),
        ("corpus", "source target"),
        ("adversarial", "virtual_adversarial"),
        ("all", "labels_only"),
        ("all", "top"),
        ("json", "jsonl"),
    )
)
CORPUS = frozenset(("corpus", "source", "target"))
DATA = CORPUS | {"valid", "columns", "label_column", "text_column", "label_separator"}  # belong to a corpus


class Value(NamedTuple):
    """A value, and the file or variable that sets it: `run.toml` and `[training] steps`."""

    value: Any
    where: str
    key: str  # empty for a variable


Layer = dict[str, Value]  # by the parameter's name


def merged(given: Collection[str], layers: Iterable[Mapping[str, Value]]) -> Layer:
    """The values of layers, highest first, for parameters that are not `given` on the command line."""
    taken = set(given)
    values: Layer = {}
    for layer in layers:
        rivals = _rivals(taken)
        kept = {name: value for name, value in layer.items() if name not in taken and name not in rivals}
        values |= kept
        taken |= kept.keys()
    return values


def without_corpus(layer: Layer, names: Iterable[str]) -> Layer:
    """A layer without what it says about its corpus, if one of the `names` names another corpus."""
    return {name: value for name, value in layer.items() if name not in DATA} if CORPUS & set(names) else layer


def _rivals(names: set[str]) -> set[str]:
    """The parameters that exclude one of those that are named."""
    rivals: set[str] = set()
    for choice in CHOICES:
        chosen = [alternative for alternative in choice if alternative & names]
        rivals.update(*(alternative for alternative in choice if chosen and alternative not in chosen))
    return rivals


def placed(error: NlpseqError, values: Mapping[str, Value]) -> NlpseqError:
    """An error about options, with the file or the variable that set them as its place."""
    if not isinstance(error, OptionError | BackendError):
        return error
    parts = error.where.split(" and ")
    names = [part.removeprefix("--").replace("-", "_") for part in parts]
    origins = [values.get("corpus" if name == "CORPUS" else name) for name in names]
    if not any(origins):
        return error
    where = {origin.where if origin else "" for origin in origins}
    if len(where) == 1:
        keys = " and ".join(origin.key for origin in origins if origin and origin.key)
        what = f"{keys} {error.what}" if keys else error.what
        return ConfigError(where.pop(), what, error.hint)
    told = [
        f"{origin.key} of {origin.where}".removeprefix(" of ")
        if origin
        else part
        if part.startswith("-")
        else flag(part)
        for part, origin in zip(parts, origins, strict=True)
    ]
    return ConfigError(" and ".join(told), error.what, error.hint)
