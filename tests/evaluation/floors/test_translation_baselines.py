"""Copied sources, and the targets of the nearest training sources."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from nlpseq.errors import ModelFileError
from nlpseq.evaluation.bleu import BleuOptions
from nlpseq.evaluation.floors.translation import training_pairs, translation_baselines
from nlpseq.evaluation.translation_scores import bleu_score, reference_scores
from nlpseq.models import translator
from nlpseq.models.model_file import Model
from nlpseq.text.tables.parallel import Pairs
from nlpseq.text.tokenisers import ByteTokeniser
from nlpseq.training.data.pairs import tokenise_pairs

NUMBERS = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]
ZAHLEN = ["eins", "zwei", "drei", "vier", "fünf", "sechs", "sieben", "acht", "neun", "zehn"]
PAIRS = [
    (f"{a} and {b} are {c} .", f"{d} und {e} sind {c} .")
    for a, d in zip(NUMBERS, ZAHLEN, strict=True)
    for c, (b, e) in enumerate(zip(NUMBERS, ZAHLEN, strict=True))
]
TRAIN = PAIRS[:95]


def _files(folder: Path, form: str) -> list[str]:
    if form == "a table":
        path = folder / "pairs.tsv"
        path.write_text("".join(f"{source}\t{target}\n" for source, target in PAIRS), encoding="utf-8")
        return [str(path)]
    paths = [folder / "pairs.en", folder / "pairs.de"]
    for path, side in zip(paths, zip(*PAIRS, strict=True), strict=True):
        path.write_text("".join(f"{line}\n" for line in side), encoding="utf-8")
    return list(map(str, paths))


def _model(folder: Path, form: str = "a table", valid: tuple[str, ...] = (), **others: Any) -> Model:
    names = _files(folder, form)
    (folder / "run").mkdir(exist_ok=True)
    corpus = tokenise_pairs(names, valid, folder / "run", two_files=form == "two files", tokens="byte")
    header = {"data": {**corpus.facts, **others}}
    return Model(translator.TASK, {}, {}, ByteTokeniser(()), header, Path("runs/t/model.safetensors"))


@pytest.mark.parametrize("form", ["a table", "two files"])
def test_the_training_pairs_are_found_again(form: str, tmp_path: Path) -> None:
    pairs = training_pairs(_model(tmp_path, form))
    assert [*zip(pairs.sources, pairs.targets, strict=True)] == TRAIN
    valid = tmp_path / "valid.tsv"
    valid.write_text("a\tb\n" * 3)
    whole = training_pairs(_model(tmp_path, "a table", (str(valid),)))
    assert [*zip(whole.sources, whole.targets, strict=True)] == PAIRS


def test_each_source_is_copied_and_replaced_by_its_nearest(tmp_path: Path) -> None:
    test = Pairs(
        ["Two and three are 2 !", "zebras", "one and one are 0 ."], ["zwei", "zebras", "eins und eins sind 0 ."]
    )
    copied, nearest = translation_baselines(_model(tmp_path), [test, test], BleuOptions())
    assert (copied.name, nearest.name) == ("copied-source", "nearest-source")
    assert copied.scores == reference_scores(test.sources, [test.targets] * 2, BleuOptions())
    targets = ["zwei und drei sind 2 .", "", "eins und eins sind 0 ."]
    assert nearest.scores == reference_scores(targets, [test.targets] * 2, BleuOptions())
    assert nearest.scores[0].signature == bleu_score(["a"], [["a"], ["b"]], BleuOptions()).signature
    assert "|pairs:95|trained-on:pairs.tsv#" in nearest.signature


def test_of_many_pairs_the_first_are_searched_and_it_is_told(tmp_path: Path) -> None:
    notes: list[str] = []
    test = Pairs(["nine and one are 0 ."], ["neun und eins sind 0 ."])
    _, nearest = translation_baselines(_model(tmp_path), [test], BleuOptions(), notes.append, most=10)
    assert notes == ["the nearest source is sought in the first 10 of 95 training pairs"]
    assert nearest.scores[0].value < 100 and "|pairs:10|" in nearest.signature
    _, nearest = translation_baselines(_model(tmp_path), [test], BleuOptions())
    assert nearest.scores[0].value == pytest.approx(100)


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({"corpus": []}, "does not say what text it was trained on"),
        ({"corpus": ["-"]}, "was trained on standard input, which is gone"),
        ({"corpus": ["gone.tsv"]}, "the text that it was trained with cannot be read"),
        ({"sha256": "0"}, "its training pairs have changed"),
    ],
)
def test_training_pairs_that_are_not_there_any_more(facts: dict[str, Any], said: str, tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match=said):
        training_pairs(_model(tmp_path, **facts))
