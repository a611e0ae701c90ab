"""Scores and facts on a screen of 80 columns."""

from __future__ import annotations

import re

import numpy as np
import pytest

from nlpseq.commands.tables.facts_table import facts_lines
from nlpseq.commands.tables.score_table import WIDTH, broken, score_lines
from nlpseq.evaluation.bleu import BleuOptions
from nlpseq.evaluation.label_scores import label_scores
from nlpseq.evaluation.scores import Score, TextSize, language_model_scores
from nlpseq.evaluation.translation_scores import reference_scores

SIGNATURE = "tok:bpe-4096#6d4eba4d|context:carried|start:newline|text:a-file-of-some-length.txt:held-out#451e5fd5|v:1"


def _language_model() -> list[Score]:
    return language_model_scores(1234.5, TextSize(tokens=900, words=200, characters=1000, bytes=1100), SIGNATURE)


def _translator() -> list[Score]:
    texts = ["the cat sat on the mat", "a dog ran home at last"]
    return reference_scores(texts, [[text.replace("cat", "fox") for text in texts]], BleuOptions())


def _classifier() -> list[Score]:
    logits = np.array([[2.0, 1.0], [0.5, 1.5], [1.0, 0.0]], np.float32)
    return label_scores(logits, np.array([0, 1, 1]), ["bad", "good"], 1.0, "texts:3|a.tsv#451e5fd5")


@pytest.mark.parametrize("make", [_language_model, _translator, _classifier])
@pytest.mark.parametrize("indent", ["", "  "])
def test_scores_fit_and_their_whole_signatures_can_be_told(make: object, indent: str) -> None:
    scores = make()  # type: ignore[operator]
    lines = score_lines(scores, indent)
    assert all(len(line) <= WIDTH and line.startswith(indent or "") for line in lines if line)
    end = lines.index("")
    table, below = [line.split() for line in lines[:end]], [line.removeprefix(indent) for line in lines[end + 1 :]]
    for row, score in zip(table, scores, strict=True):
        assert ("%" in row) == (score.name in ("bleu", "chrf", "ter", "accuracy", "macro_f1"))
    table = [[cell for cell in row if cell != "%"] for row in table]
    assert [row[:3] for row in table] == [[score.name, f"{score.value:.6g}", score.unit] for score in scores]
    patterns: dict[str, str] = {}
    for line in below:
        if found := re.match(r"signature(?: of ([^(]*?))?(?: \(DETAILS are in the last column\))?:$", line):
            names = found[1].split(", ") if found[1] else [score.name for score in scores]
        else:
            for name in dict.fromkeys(names):
                patterns[name] = patterns.get(name, "") + line.strip()
    for (name, _, unit, *details), score in zip(table, scores, strict=True):
        told = patterns[name].replace("NAME", name).replace("UNIT", unit).replace("DETAILS", *details or [""])
        assert told == score.signature


def test_a_signature_is_broken_after_bars_and_loses_nothing() -> None:
    lines = broken("loss|unit:token|" + SIGNATURE, 40)
    assert "".join(line.strip() for line in lines) == "loss|unit:token|" + SIGNATURE
    assert all(line.endswith("|") for line in lines[:-1])
    assert all(len(line) <= 40 for line in lines if "a-file-of-some-length" not in line)
    assert broken("a") == ["  a"]


HASH = "830355fb0274b27f601d79d92f6f48fe412dfddc6a0341b68960889b2f33a525"
FACTS = {
    "model": {"path": "a.safetensors", "parameters": 1727504},
    "options": {"ngram_buckets": 4096, "hidden_size": None},
    "data": {
        "sha256": HASH,
        "contradicting": 0,
        "columns": [None, None],
        "labels": [f"label number {number}" for number in range(30)],
        "label_counts": [2250, 17],
        "corpus": ["bad\x1b[31m.txt"],
    },
    "training": {"epochs": None, "steps": 150, "minutes": None, "save_every": None, "anneal": 0.9, "longest": 1000},
    "tensors": {"embedding.weight": [6787, 128], "bias": [192]},
    "scores": [{"name": "loss", "value": 1.0, "unit": "text", "signature": "loss|unit:text", "parts": {}}],
}


def _value(lines: list[str], name: str) -> str:
    (line,) = (line for line in lines if line.split()[:1] == [name])
    return line.split(maxsplit=1)[1]


def test_facts_fit_and_values_that_can_be_typed_are_typed_as_they_are_shown() -> None:
    lines = facts_lines(FACTS)
    assert all(len(line) <= WIDTH for line in lines)
    assert _value(lines, "parameters") == "1,727,504"
    assert _value(lines, "ngram_buckets") == "4096" and _value(lines, "longest") == "1000"
    assert _value(lines, "label_counts") == "2,250, 17"
    assert _value(lines, "embedding.weight") == "6787 x 128"
    assert _value(lines, "sha256") == HASH
    assert _value(lines, "corpus") == "bad\\x1b[31m.txt"
    shown = re.sub(r"\s+", " ", " ".join(lines))
    assert ", ".join(FACTS["data"]["labels"]) in shown  # type: ignore[index]
    assert lines[-2:] == ["  signature:", "    loss|unit:text"]


def test_values_that_were_left_open_are_told_in_words_and_other_budgets_not_at_all() -> None:
    lines = facts_lines(FACTS)
    assert not [line for line in lines if line.split()[:1] in (["epochs"], ["minutes"]) or line.endswith(" -")]
    assert _value(lines, "steps") == "150"
    assert _value(lines, "save_every") == "each 30 s"
    assert _value(lines, "columns") == "by header"
    assert _value(lines, "hidden_size") == "not set"
    unbounded = facts_lines({"training": {"epochs": None, "steps": None, "minutes": None}})
    assert unbounded == ["training", "  minutes  5 (default)"]


@pytest.mark.parametrize(
    ("columns", "shown"),
    [
        (None, "by header"),
        ([None, None], "by header"),
        (["1", "2"], "1, 2"),
        ([None, None, ","], "label by header, text by header, separator ','"),
        (["topic", "body", "; "], "label topic, text body, separator '; '"),
    ],
)
def test_columns_of_a_table_are_told_in_words(columns: list[str | None] | None, shown: str) -> None:
    assert facts_lines({"data": {"columns": columns}}) == ["data", f"  columns  {shown}"]
