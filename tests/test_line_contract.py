"""A short part of benchmarks/fuzz_filters.py and benchmarks/memory.py, on models of random weights."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

import fuzz_filters
import line_arrivals
import memory

from nlpseq.models import classifier, translator
from nlpseq.models.classifier import ClassifierOptions
from nlpseq.models.model_file import save_model
from nlpseq.models.translator import TranslatorOptions
from nlpseq.text.tokenisers import train_tokeniser

TEXTS = ["the cat sat on the mat", "a dull film", "öl 猫 où?"] * 5
LINES = 60

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="pipes are resized and processes looked up as on Linux")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory, make_model: Callable[..., Path]) -> dict[str, Path]:
    """Small models by name."""
    folder = tmp_path_factory.mktemp("models")
    tokeniser = train_tokeniser("char", TEXTS, 300)
    options = ClassifierOptions(hidden_size=5, embedding_size=6, evidence=0, linear="none", pooling="attention,mean")
    weights = classifier.initial_weights(options, tokeniser.size, np.ones(3), 1)
    header = {"labels": ["bad", "good", "odd"]}
    save_model(folder / "classifier.safetensors", classifier.TASK, asdict(options), weights, tokeniser, **header)
    settings = TranslatorOptions(hidden_size=5, embedding_size=6)
    weights = translator.initial_weights(settings, tokeniser.size, 1)
    weights["output.bias"][10] += 3  # texts are short
    save_model(folder / "translator.safetensors", translator.TASK, asdict(settings), weights, tokeniser)
    return {
        "classifier": folder / "classifier.safetensors",
        "translator": folder / "translator.safetensors",
        "lm": make_model(),
    }


@pytest.mark.parametrize("name", ["encode", "classify --jsonl"])
def test_a_filter_keeps_the_contract(tmp_path: Path, models: dict[str, Path], name: str) -> None:
    (each,) = (each for each in fuzz_filters.filters(models, tmp_path, tmp_path / "none") if each.name == name)
    lines = line_arrivals.make_lines(each.lines, LINES, random.Random(1))
    trials = fuzz_filters.Trials(each, lines, tmp_path)
    for arrival in line_arrivals.FIRST[3:5]:
        trials.arrive(arrival)
    trials.shuffle(1)
    if each.lines == "text":
        trials.refusals()
    assert trials.findings == []


def test_what_breaks_the_contract_is_found(tmp_path: Path, models: dict[str, Path]) -> None:
    follow = ("score", "-m", str(models["lm"]), "--follow")  # a line's score depends on the lines before it
    trials = fuzz_filters.Trials(fuzz_filters.Filter("score", follow), [b"a cat", b"the", b"mat on", b"the"], tmp_path)
    assert trials.findings == []
    trials.shuffle(1)
    assert [finding.trial for finding in trials.findings] == ["another order"]
    trials.findings.clear()
    trials.expected = trials.expected._replace(output=b"1\n2\n", messages="note: nothing\n")
    trials.arrive(fuzz_filters.AT_ONCE)
    assert len(trials.findings) == 2
    absent = fuzz_filters.Filter("absent", ("score", "-m", str(tmp_path / "absent")))
    assert len(fuzz_filters.Trials(absent, [b"a"], tmp_path).findings) == 2  # no answer, and a wrong status


@pytest.mark.parametrize("kind", ["text", "objects", "ids"])
def test_lines_and_arrivals_are_those_of_their_seed(kind: str) -> None:
    lines = line_arrivals.make_lines(kind, 300, random.Random(5))
    assert lines == line_arrivals.make_lines(kind, 300, random.Random(5))
    assert not any(b"\n" in line for line in lines)
    data = b"".join(line + b"\n" for line in lines)
    for arrival in line_arrivals.arrivals(14, 3):
        assert b"".join(line_arrivals.pieces(data, arrival, random.Random(arrival.seed))) == data
    assert list(line_arrivals.arrivals(14, 3)) == list(line_arrivals.arrivals(14, 3))


def test_growth_is_told_from_what_holds(models: dict[str, Path]) -> None:
    encode = memory.filters({name: str(path) for name, path in models.items()})[0]
    row = memory.growth(encode, 2000)
    assert row.before > 10
    assert not row._replace(after=row.before * 1.04).grows
    assert row._replace(after=row.before * 1.06).grows
    assert not row._replace(after=row.before * 2, bound=None).grows
    assert "line 2,000" in str(row)
