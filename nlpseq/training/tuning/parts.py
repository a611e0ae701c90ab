"""The part of a corpus that no trial sees, for the evaluation at the end.

It is split off before the search: of labelled texts those of each label with the smallest hashes, of pairs those with
the smallest hashes, of a text its end. So a corpus is always split in the same way. The hash is not the one by which
training holds out its validation part. Both parts are written as files into the run folder, because the command that
repeats a run has to name them; the cost is the space of the text on the disk. `--test FILE` names a part instead, and
then the corpus is read as it is.
"""

from __future__ import annotations

import hashlib
import json
import shlex
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, NamedTuple

from nlpseq.errors import CorpusError, RunError
from nlpseq.tasks import CLASSIFIER, LANGUAGE_MODEL, Task
from nlpseq.text.compression import STANDARD_INPUT
from nlpseq.text.encodings import to_utf8
from nlpseq.text.formats import need_source
from nlpseq.text.progress import Watch
from nlpseq.text.splits import CorpusSpan, measure, split
from nlpseq.text.tables import labelled, parallel
from nlpseq.training.requests import Request
from nlpseq.training.tuning.named_part import check_test

HELD_OUT = 0.1  # fraction of each label's texts
MOST_HELD_OUT = 5000  # texts
TEST = b"test part"  # marks the hash by which texts are held out
BETWEEN = "\t"  # the labels of a text that has several
FEWEST = 50  # texts or pairs, of which a part for validation and one for the end can be spared
OF_CORPUS = ("take", "source", "target", "columns", "label_column", "text_column", "label_separator")


class Parts(NamedTuple):
    """What the trials are trained on, and what the best of them is evaluated on."""

    request: Request
    test: tuple[str, ...]
    are_own: bool  # whether the test part was split off here


def make_parts(task: Task, request: Request, test: Sequence[str], folder: Path, watch: Watch) -> Parts:
    """Split a part off the corpus and write both into `folder`, unless there is a `test` part.

    Raises CorpusError if a file cannot be read, if the corpus is too short, or if the test part does not go with it.
    """
    names = request.files_or(task.corpus)
    if STANDARD_INPUT in (*names, *request.valid, *test):
        what = "can be read once, and each trial reads the corpus"
        raise CorpusError(STANDARD_INPUT, what, f"nlpseq tune {task.command} FILE")
    for name in (*names, *request.valid, *test):
        need_source(name)
    if test:
        check_test(task, request, test, watch)
        return Parts(request, tuple(test), are_own=False)
    folder.mkdir(parents=True, exist_ok=True)
    write = {LANGUAGE_MODEL.name: _text_parts, CLASSIFIER.name: _labelled_parts}.get(task.name, _pair_parts)
    train, held_out, valid = write(request, names, folder, watch)
    return Parts(_on_files(request, str(train), *valid), (str(held_out),), are_own=True)


def as_named(error: CorpusError, parts: Parts, task: Task, request: Request) -> CorpusError:
    """An error that names a file written here, as one that names what the user named: the corpus or its validation."""
    if not parts.are_own:
        return error
    own = {name: request.valid for name in parts.request.valid}
    own |= {name: request.files_or(task.corpus) for name in (*parts.request.corpus, *parts.test)}
    where, what, hint = error.where, error.what, error.hint
    for name, users in own.items():
        whole = " ".join(map(shlex.quote, users))
        where = whole if where == name or where.startswith(f"{name}:") else where
        what, hint = what.replace(name, whole), hint.replace(name, whole)
    return CorpusError(where, what, hint)


Written = tuple[Path, Path, tuple[str, ...]]  # the training and the test part, and the names of the validation part


def _text_parts(request: Request, names: Sequence[str], folder: Path, watch: Watch) -> Written:
    whole = measure(CorpusSpan(tuple(names)), watch)
    train, held_out = split(names, whole, at_line_end=True)
    if held_out is None:
        raise _too_short(request, names, f"{whole.characters:,} characters")
    paths = folder / "train.txt", folder / "test.txt"
    for path, span in zip(paths, (train, held_out), strict=True):
        _write(path, span.pieces())
    return *paths, request.valid


def _labelled_parts(request: Any, names: Sequence[str], folder: Path, watch: Watch) -> Written:
    texts = labelled.read_labelled(names, request.columns, watch)
    if len(texts) < FEWEST:
        raise _too_short(request, names, f"{len(texts):,} texts")
    if not request.teacher:  # which has the labels
        labelled.label_names(texts, names[0])
    held_out = _of_each_label(_label_sets(texts), texts.texts, HELD_OUT, TEST)
    paths = folder / "train.jsonl", folder / "test.jsonl"
    for path, is_test in zip(paths, (False, True), strict=True):
        chosen = [index for index in range(len(texts)) if (index in held_out) == is_test]
        _write(path, _label_lines(texts.chosen(chosen)))
    if not request.valid:
        return *paths, ()
    others = labelled.read_labelled(request.valid, request.columns, watch, several=texts.several)
    if not request.teacher:
        labelled.check_known(others, list(texts.counts))
    _write(folder / "valid.jsonl", _label_lines(others))
    return *paths, (str(folder / "valid.jsonl"),)


def split_anew(request: Any, number: int, folder: Path, watch: Watch) -> Any:
    """The request with other texts held out for validation, as many of each label: split `number`, written to `folder`.

    The texts are all those for training and validation. Raises what reading and writing them raises.
    """
    names = request.files_or(CLASSIFIER.corpus), request.valid
    parts = [labelled.read_labelled(own, request.columns, watch) for own in names if own]
    total = sum(map(len, parts))
    fraction = len(parts[1]) / total if len(parts) > 1 else HELD_OUT
    labels = [own for texts in parts for own in _label_sets(texts)]
    held_out = _of_each_label(labels, [text for part in parts for text in part.texts], fraction, b"split %d" % number)
    lines = [line for texts in parts for line in _label_lines(texts)]
    folder.mkdir(parents=True, exist_ok=True)
    paths = folder / f"train-{number}.jsonl", folder / f"valid-{number}.jsonl"
    for path, is_valid in zip(paths, (False, True), strict=True):
        _write(path, (line for index, line in enumerate(lines) if (index in held_out) == is_valid))
    return _on_files(request, *map(str, paths))


def _on_files(request: Any, train: str, *valid: str) -> Any:
    """A request for files that were written here."""
    plain: dict[str, Any] = {field.name: None for field in fields(request) if field.name in OF_CORPUS}
    return replace(request, **plain, corpus=(train,), valid=valid, given=request.given - set(OF_CORPUS))


def _of_each_label(labels: Sequence[Sequence[str]], texts: Sequence[str], fraction: float, mark: bytes) -> set[int]:
    """The indices of a fraction of the texts of each label, those with the smallest hashes.

    `labels` are those of a text. Each label keeps a text to train on. Equal texts have one hash, which `mark` changes.
    """
    counts = Counter(label for own in labels for label in own)
    fraction = min(fraction, MOST_HELD_OUT / len(texts))
    left = {label: max(round(fraction * count), min(1, count - 1)) for label, count in counts.items()}
    held_out = set()
    for index in sorted(range(len(texts)), key=lambda index: _rank(texts[index].strip(), mark)):
        if all(left[label] for label in labels[index]):
            held_out.add(index)
            left.update({label: left[label] - 1 for label in labels[index]})
    return held_out


def _label_sets(texts: Any) -> list[list[str]]:
    """The labels of each text; a text that has none has one label, which is empty."""
    several = getattr(texts, "several", False)
    return [label.split(BETWEEN) if several else [label] for label in texts.labels]


def _label_lines(texts: Any) -> Iterable[str]:
    several = getattr(texts, "several", False)
    for labels, text in zip(_label_sets(texts), texts.texts, strict=True):
        value = [label for label in labels if label] if several else labels[0]
        yield json.dumps({"label": value, "text": text}) + "\n"


def _pair_parts(request: Any, names: Sequence[str], folder: Path, watch: Watch) -> Written:
    two_files = request.source is not None
    pairs = parallel.read_parallel(names, two_files=two_files, columns=request.pair_columns, watch=watch)
    if len(pairs) < FEWEST:
        raise _too_short(request, names, f"{len(pairs):,} pairs")
    ranks = [_rank(f"{source}\t{target}") for source, target in zip(pairs.sources, pairs.targets, strict=True)]
    count = max(1, parallel.held_out_count(len(pairs)))
    held_out = set(sorted(range(len(pairs)), key=ranks.__getitem__)[:count])
    paths = folder / "train.jsonl", folder / "test.jsonl"
    for path, is_test in zip(paths, (False, True), strict=True):
        _write(path, _pair_lines(pairs, [index for index in range(len(pairs)) if (index in held_out) == is_test]))
    if not request.valid:
        return *paths, ()
    two_files = parallel.are_two_files(request.valid)
    others = parallel.read_parallel(request.valid, two_files=two_files, columns=request.pair_columns, watch=watch)
    _write(folder / "valid.jsonl", _pair_lines(others, range(len(others))))
    return *paths, (str(folder / "valid.jsonl"),)


def _pair_lines(pairs: parallel.Pairs, indices: Iterable[int]) -> Iterable[str]:
    for index in indices:
        yield json.dumps({"source": pairs.sources[index], "target": pairs.targets[index]}) + "\n"


def _rank(text: str, mark: bytes = TEST) -> bytes:
    return hashlib.blake2b(to_utf8(text), digest_size=8, person=mark).digest()


def _write(path: Path, pieces: Iterable[str]) -> None:
    """Write a text, piece by piece. Raises RunError if that fails."""
    try:
        with path.open("wb") as file:
            file.writelines(map(to_utf8, pieces))
    except OSError as error:
        raise RunError(str(path), f"cannot be written: {error.strerror}", "choose another folder with --out") from error


def _too_short(request: Request, names: Sequence[str], size: str) -> CorpusError:
    what = f"is too short to spare a part for validation and one for the last evaluation: it has {size}"
    return CorpusError(" ".join(map(shlex.quote, names)), what, "--test FILE names such a part; or a longer corpus")
