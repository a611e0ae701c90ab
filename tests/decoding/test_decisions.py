"""Labels of lines: which lines are classified, when a classifier abstains, and the status of a line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nlpseq.decoding import classification
from nlpseq.decoding.classification import AbstentionOptions, Decision, TextClassifier, decision_status
from nlpseq.errors import OptionError
from nlpseq.models import classifier
from nlpseq.models.classifier import ClassifierOptions
from nlpseq.models.model_file import Model
from nlpseq.text.tokenisers import ByteTokeniser


@pytest.fixture
def small() -> TextClassifier:
    """A classifier of random weights over bytes."""
    options = ClassifierOptions(hidden_size=6, embedding_size=5)
    weights = classifier.initial_weights(options, 256, np.array([1, 1, 1]), 1)
    header: dict[str, Any] = {"labels": ["a", "b", "unsure"]}
    return TextClassifier(Model("classifier", {}, weights, ByteTokeniser(()), header, Path("none")), options)


def test_lines_without_text_have_no_decision(small: TextClassifier) -> None:
    lines = ["one", None, "", " \t", "two", "one"]
    found = small.classify_lines(lines)
    assert [decision is None for decision in found] == [False, True, True, True, False, False]
    assert [found[0], found[4]] == small.classify(["one", "two"]) and found[5] == found[0]
    assert small.classify_lines([]) == []


def test_the_status_says_what_was_read(small: TextClassifier, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(classification, "LONGEST", 6)
    assert [decision_status(found) for found in small.classify_lines(["abcd", "abcdefgh", ""])] == [
        "ok",
        "in-part",
        "blank",
    ]


def test_a_classifier_abstains_below_the_threshold() -> None:
    decision = Decision(["x", "y"], [0.7, 0.3], False)
    assert decision.decide(AbstentionOptions()) == "x"
    assert decision.decide(AbstentionOptions(threshold=0.7)) == "x"
    assert decision.decide(AbstentionOptions(threshold=0.71)) == "unsure"
    assert decision.decide(AbstentionOptions(threshold=0.71, abstain="?")) == "?"
    assert decision.by_label() == {"x": 0.7, "y": 0.3}


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"threshold": 1.1}, "threshold: must be at most 1"),
        ({"threshold": "0.5"}, "threshold: must be a number"),
        ({"threshold": 0.5, "abstain": "a\tb"}, "abstain: must be a word without tabs"),
        ({"threshold": 0.5, "abstain": " "}, "abstain: must be a word without tabs"),
    ],
    ids=str,
)
def test_options_that_make_no_sense_are_refused(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(OptionError, match=said):
        AbstentionOptions(**settings)


def test_the_word_for_abstaining_is_not_a_label(small: TextClassifier) -> None:
    AbstentionOptions().check_labels(small.labels)
    with pytest.raises(OptionError, match="abstain: has no effect without a threshold"):
        AbstentionOptions(abstain="x").check_labels(small.labels)
    AbstentionOptions(abstain="x").check_labels(small.labels, several=True)
    with pytest.raises(OptionError, match="abstain: must not be a label of the model, was 'unsure'") as caught:
        AbstentionOptions(threshold=0.5).check_labels(small.labels)
    assert caught.value.hint == "--abstain 'abstained'"
