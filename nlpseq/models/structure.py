"""What a model file must hold: the name, shape and type of each tensor, and the facts in the header.

They follow from the options, the size of the tokeniser's vocabulary and the labels. Each kind of model describes them
in one record, its `STRUCTURE`, and draws its initial weights from the same table of shapes. A file with a right
checksum may still be made to do harm, and compiled code trusts what it gets, so nothing of a file is used before it is
compared with its record. Checking fifteen million weights takes a few milliseconds.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeGuard

import numpy as np

from nlpseq.models import storage
from nlpseq.models.storage import Layout

DEEPEST = 32  # lists and objects in each other, in a header
LARGEST_NUMBER = 1 << 512  # in a header, so that each is a float
SHOWN = 80  # characters of a name in a message
SCORE = {"name": str, "unit": str, "signature": str, "parts": dict}
FACTS: dict[str, Any] = {"valid_is": str, "sha256": str, "valid_sha256": str, "two_files": bool, "several_labels": bool}
NAMES = ("corpus", "valid")  # facts that are lists of names
TOGETHER = ("valid", "valid_is", "valid_sha256")  # facts that a model has all or none of

Header = Mapping[str, Any]
Shapes = dict[str, tuple[int, ...]]


class Structure(NamedTuple):
    """What the files of one kind of model hold."""

    options: type[Any]  # the dataclass
    shapes: Callable[[Any, int, Header, Shapes], Shapes]  # from options, vocabulary size, header and the shapes found
    types: Mapping[str, str] = {}  # of tensors that are not float32, by name
    check_header: Callable[[Header], None] = lambda header: None  # raises ValueError
    check_weights: Callable[[Mapping[str, np.ndarray]], None] = lambda weights: None  # raises ValueError


def check_json(value: Any, depth: int = DEEPEST) -> None:
    """Raises ValueError for JSON that is nested too deeply or has a number that no float can hold."""
    if isinstance(value, dict | list):
        if not depth:
            raise ValueError(f"its JSON is nested more than {DEEPEST} deep")
        for inner in value.values() if isinstance(value, dict) else value:
            check_json(inner, depth - 1)
    elif isinstance(value, int) and abs(value) > LARGEST_NUMBER:
        raise ValueError("its JSON has a number that is too large")


def check_header(header: Header) -> None:
    """Raises ValueError for a header whose entries, of a model of any task, are not what they must be."""
    for name, kind in {"options": dict, "version": str}.items():
        if not isinstance(header.get(name), kind):
            raise ValueError(f"its header has no {name}, or wrong ones")
    for name in ("data", "training"):
        if not isinstance(header.get(name) or {}, dict):
            raise ValueError(f"the entry {name} of its header is no object")
    scores = header.get("scores") or []
    if not isinstance(scores, list) or not all(map(_is_score, scores)):
        raise ValueError("the entry scores of its header is no list of scores")
    check_facts(header.get("data") or {})


def _is_score(score: Any) -> bool:
    if not isinstance(score, dict) or score.keys() != {*SCORE, "value"} or not _is_number(score["value"]):
        return False
    kinds = all(isinstance(score[name], kind) for name, kind in SCORE.items())
    return kinds and all(map(_is_number, score["parts"].values()))


def check_facts(facts: Header, *, whole: bool = False) -> None:
    """Raises ValueError for facts of a training text that contradict what training writes.

    With `whole`, those that every training writes must be there.
    """
    missing = [name for name in (*TOGETHER, *(("corpus", "sha256") if whole else ())) if name not in facts]
    if (whole or "valid_is" in facts) and missing:
        raise ValueError(f"the facts of its data miss {missing[0]}")
    for name in facts.keys() & FACTS.keys():
        if not isinstance(facts[name], FACTS[name]):
            raise ValueError(f"the fact {name} of its data has a wrong type")
    for name in facts.keys() & {*NAMES, "labels"}:
        names = facts[name]
        empty = name != "corpus" and not names
        if not isinstance(names, list) or empty or not all(isinstance(item, str) for item in names):
            raise ValueError(f"the fact {name} of its data is no list of names")
    columns = facts.get("columns") or []
    if not isinstance(columns, list) or not all(item is None or isinstance(item, str) for item in columns):
        raise ValueError("the fact columns of its data is no list of columns")


def check_corpus(header: Header) -> None:
    """Raises ValueError for a model that does not name its corpus, from which its validation text is read again."""
    facts = header.get("data") or {}
    if "valid_is" in facts and not facts.get("corpus"):
        raise ValueError("the facts of its data miss corpus")


def is_number_in(value: Any, least: float, most: float) -> TypeGuard[float]:
    """Whether a value of JSON is a number from `least` to `most`, and not a truth value."""
    return _is_number(value) and bool(least <= value <= most)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def check_labels(header: Header) -> None:
    """Raises ValueError unless a header has labels, each a text of one line, and numbers that fit them."""
    labels = header.get("labels")
    if not isinstance(labels, list) or not labels:
        raise ValueError("it is a classifier without labels")
    if not all(isinstance(label, str) and label and _is_line(label) for label in labels):
        raise ValueError("it has a label that is not a line of text")
    if len(set(labels)) < len(labels):
        raise ValueError("it has a label twice")
    if not isinstance(header.get("several_labels", False), bool):
        raise ValueError("the entry several_labels of its header is neither true nor false")
    for name, least, most in (("temperature", math.ulp(0), 1e30), ("threshold", 0.0, 1.0)):
        if name in header and not is_number_in(header[name], least, most):
            raise ValueError(f"the entry {name} of its header is not a number that can be used")


def _is_line(text: str) -> bool:
    return "\n" not in text and "\r" not in text and not any("\ud800" <= character <= "\udfff" for character in text)


def shortened(name: str) -> str:
    """A name from a file, as a message shows it."""
    shown = name if len(name) <= SHOWN else f"{name[:SHOWN]}.."
    return shown if shown.isprintable() else ascii(shown)


def check_layouts(found: Mapping[str, Layout], shapes: Shapes, types: Mapping[str, str]) -> None:
    """Compare all tensors of a file with those that are expected; raises ValueError for the first that differs."""
    for name, shape in shapes.items():
        kind = types.get(name, "float32")
        if name not in found:
            raise ValueError(f"{name} is missing")
        if found[name].shape != shape:
            raise ValueError(f"{name} is {_size(found[name].shape)}, but its options say {_size(shape)}")
        if found[name].type != kind:
            raise ValueError(f"{name} holds {found[name].type}, but {kind} is needed")
    if further := sorted(found.keys() - shapes.keys()):
        raise ValueError(f"{shortened(further[0])} is no part of it")


def _size(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape)) or "a single number"


def checked_weights(
    structure: Structure,
    options: Any,
    vocabulary_size: int,
    header: Header,
    stored: Mapping[str, np.ndarray],
    entries: Mapping[str, Any],
) -> dict[str, np.ndarray]:
    """The weights of a model from stored tensors; `entries` say how they are stored.

    Raises ValueError unless they are those of `structure`, and all numbers are finite.
    """
    found = storage.layouts(stored, entries)
    shapes = {name: layout.shape for name, layout in found.items()}
    check_layouts(found, structure.shapes(options, vocabulary_size, header, shapes), structure.types)
    if (name := storage.not_finite(stored, entries)) is not None:
        raise ValueError(f"{name} has numbers that are not finite")
    weights = storage.unpack(stored, entries)
    structure.check_weights(weights)
    return weights
