"""The pairs that a translator is evaluated on: those of its training found again, and training pairs told apart."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from nlpseq.errors import ModelFileError, OptionError
from nlpseq.evaluation.evaluation_pairs import chosen_pairs, recorded_pairs
from nlpseq.models import translator
from nlpseq.models.model_file import Model
from nlpseq.text.tokenisers import ByteTokeniser
from nlpseq.training.data.pairs import tokenise_pairs

PAIRS = [(f"source {number}", f"target {number}") for number in range(200)]
HELD_OUT = PAIRS[190:]
NO_TEXTS: tuple[str, ...] = ()


def _model(facts: dict[str, Any]) -> Model:
    return Model(translator.TASK, {}, {}, ByteTokeniser(()), {"data": facts}, Path("runs/t/model.safetensors"))


def _table(path: Path, pairs: Sequence[tuple[str, str]], *, swapped: bool = False) -> str:
    path.write_text("".join(f"{b}\t{a}\n" if swapped else f"{a}\t{b}\n" for a, b in pairs))
    return str(path)


def _two_files(folder: Path, pairs: Sequence[tuple[str, str]]) -> list[str]:
    names = [folder / "source.txt", folder / "target.txt"]
    for side, name in enumerate(names):
        name.write_text("".join(pair[side] + "\n" for pair in pairs))
    return list(map(str, names))


def _sha256(pairs: Sequence[tuple[str, str]]) -> str:
    return hashlib.sha256("".join(f"{a}\t{b}\n" for a, b in pairs).encode()).hexdigest()


def _facts(name: str, **others: Any) -> dict[str, Any]:
    whole = {"corpus": [name], "sha256": _sha256(PAIRS[:190]), "valid": [name], "valid_is": "held out"}
    return {**whole, "valid_sha256": _sha256(HELD_OUT), **others}


@pytest.mark.parametrize("form", ["a table", "named columns", "two files", "a table given", "two files given"])
def test_the_pairs_of_training_are_found_again(form: str, tmp_path: Path) -> None:
    valid: list[str] = []
    columns = ("2", "1") if form == "named columns" else None
    if form == "two files":
        names = _two_files(tmp_path, PAIRS)
    else:
        names = [_table(tmp_path / "pairs.tsv", PAIRS, swapped=columns is not None)]
    if form == "a table given":
        valid = [_table(tmp_path / "valid.tsv", HELD_OUT)]
    elif form == "two files given":
        valid = _two_files(tmp_path, HELD_OUT)
    folder = tmp_path / "tokens"
    folder.mkdir()
    corpus = tokenise_pairs(names, valid, folder, two_files=form == "two files", columns=columns, tokens="char")
    notes: list[str] = []
    (found,) = chosen_pairs(_model(corpus.facts), NO_TEXTS, None, NO_TEXTS, None, notes.append)
    assert list(zip(found.sources, found.targets, strict=True)) == HELD_OUT
    assert notes == []


@pytest.mark.parametrize("two_files", [False, True])
def test_the_header_of_an_older_model_is_enough(two_files: bool, tmp_path: Path) -> None:
    names = _two_files(tmp_path, PAIRS) if two_files else [_table(tmp_path / "pairs.tsv", PAIRS)]
    notes: list[str] = []
    found = recorded_pairs(_model({**_facts(names[0]), "corpus": names, "valid": names}), None, notes.append)
    assert list(zip(found.sources, found.targets, strict=True)) == HELD_OUT
    assert notes == []


def test_pairs_that_have_changed_or_are_gone_are_told(tmp_path: Path) -> None:
    name = _table(tmp_path / "pairs.tsv", [*PAIRS[:-1], ("another", "pair")])
    notes: list[str] = []
    recorded_pairs(_model(_facts(name)), None, notes.append)
    assert notes == [f"{name} has changed since the model was trained on it"]
    Path(name).unlink()
    with pytest.raises(
        ModelFileError, match=r"the text that it was trained with cannot be read: .*pairs\.tsv: "
    ) as gone:
        recorded_pairs(_model(_facts(name)))
    assert gone.value.hint.startswith("nlpseq evaluate -m runs/t FILE")
    for facts in ({}, _facts("-")):
        with pytest.raises(ModelFileError, match=r"does not say what text|standard input, which is gone") as refused:
            recorded_pairs(_model(facts))
        assert refused.value.hint == "nlpseq evaluate -m runs/t FILE"


def test_half_of_two_files_is_refused_with_the_same_model(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="must be tables of pairs, or --source and --target") as refused:
        chosen_pairs(_model({}), NO_TEXTS, "source.txt", NO_TEXTS, None)
    assert refused.value.hint.startswith("nlpseq evaluate -m runs/t FILE")


ALL = "the model was trained on these pairs: their scores are too good"
MOST = (
    "the model was trained on these pairs but the last 10: the scores are too good; "
    "without CORPUS only the last 10 are scored"
)


@pytest.mark.parametrize(
    ("evaluated", "notes"),
    [
        (PAIRS, [MOST]),
        (PAIRS[:190], [ALL]),
        (HELD_OUT, []),
        (PAIRS[:189], []),
        ([("source x", "target x"), *PAIRS], []),
    ],
)
@pytest.mark.parametrize("two_files", [False, True])
def test_training_pairs_are_told_by_their_hash(
    evaluated: list[tuple[str, str]], notes: list[str], two_files: bool, tmp_path: Path
) -> None:
    model, told = _model(_facts("gone.tsv")), list[str]()
    if two_files:
        source, target = _two_files(tmp_path, evaluated)
        chosen_pairs(model, NO_TEXTS, source, [target], None, told.append)
    else:
        chosen_pairs(model, [_table(tmp_path / "pairs.tsv", evaluated)], None, NO_TEXTS, None, told.append)
    assert told == notes


def test_blank_sides_are_counted_and_do_not_hide_training_pairs(tmp_path: Path) -> None:
    name = _table(tmp_path / "pairs.tsv", [*PAIRS[:50], ("blank", ""), *PAIRS[50:]])
    told: list[str] = []
    (pairs,) = chosen_pairs(_model(_facts("gone.tsv")), [name], None, NO_TEXTS, None, told.append)
    assert len(pairs) == 201
    assert told == ["1 of 201 pairs have a blank side, and are counted", MOST]


def test_a_table_is_read_by_the_columns_of_training_if_it_has_them(tmp_path: Path) -> None:
    table, notes = tmp_path / "test.csv", list[str]()
    table.write_text("source,target,ours,theirs\na,b,one,eins\n")
    trained = _model(_facts("gone.csv", columns=["ours", "theirs"]))
    (found,) = chosen_pairs(trained, [str(table)], None, NO_TEXTS, None, notes.append)
    assert (found.sources, found.targets) == (["one"], ["eins"])
    assert notes == ["source: column `ours`, target: column `theirs`"]
    (named,) = chosen_pairs(trained, [str(table)], None, NO_TEXTS, ("source", "theirs"))
    assert (named.sources, named.targets) == (["a"], ["eins"])
    (plain,) = chosen_pairs(trained, [_table(tmp_path / "plain.tsv", PAIRS[:1])], None, NO_TEXTS, None)
    assert (plain.sources, plain.targets) == (["source 0"], ["target 0"])
