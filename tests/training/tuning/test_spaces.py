"""The spaces of a search: their options exist, their values are allowed, and what the user sets is left alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from nlpseq.errors import OptionError
from nlpseq.tasks import CLASSIFIER, TASKS
from nlpseq.training.requests import make_request
from nlpseq.training.tuning.spaces import IS, SPACES, Dimension, Space, option_fields, with_values

# Values that a run might have chosen by itself, by option, and the limits of a small and a large corpus.
CHOSEN: dict[str, Any] = {
    "learning_rate": 0.002,
    "dropout": 0.5,
    "input_dropout": 0.25,
    "embedding_dropout": 0.2,
    "hidden_size": 64,
    "layers": 1,
    "anneal": 0.9,
    "batch_size": 32,
    "label_smoothing": 0.0,
    "ngrams": 2,
    "evidence": 2,
    "tokens": "bpe",
    "vocab_size": 4096,
    "epochs": 3.0,
}
EXTREME = CHOSEN | {"dropout": 0.0, "input_dropout": 0.0, "hidden_size": 2, "batch_size": 2, "vocab_size": 256}
CASES = [(task, dimension) for task in TASKS.values() for dimension in SPACES[task.name]]
NAMES = [f"{task.command}-{dimension.name}" for task, dimension in CASES]


@pytest.mark.parametrize(("task", "dimension"), CASES, ids=NAMES)
@pytest.mark.parametrize("chosen", [CHOSEN, EXTREME], ids=["usual", "extreme"])
def test_every_value_of_a_space_is_allowed(task: Any, dimension: Dimension, chosen: dict[str, Any]) -> None:
    request = make_request(task, ["corpus.tsv"], {})
    space = Space([dimension], request, chosen)
    (start,) = space.start
    values = [space.values((index,), chosen) for index in range(len(dimension.values))]
    assert values[start] == {}
    assert any(values)
    for own in values:
        made = with_values(request, own)
        assert set(own) <= {dimension.name} <= {name for _, name, _ in option_fields(made)}


@pytest.mark.parametrize("task", TASKS.values(), ids=lambda task: task.command)
def test_no_option_is_twice_in_a_space_or_is_set_to_its_default(task: Any) -> None:
    names = [dimension.name for dimension in SPACES[task.name]]
    assert len(names) == len(set(names)) > 4
    for dimension in SPACES[task.name]:
        assert len(dimension.values) == len(set(dimension.values)) > 1
        assert dimension.relation == IS or {"times": 1, "plus": 0}[dimension.relation] in dimension.values


def test_relative_values_follow_the_defaults_of_a_run() -> None:
    request = make_request(CLASSIFIER, ["corpus.tsv"], {})
    dimensions = [
        Dimension("hidden_size", (0.5, 1, 1.4), "times"),
        Dimension("dropout", (-0.1, 0, 0.1), "plus"),
        Dimension("learning_rate", (0.35, 1), "times"),
    ]
    space = Space(dimensions, request, {"hidden_size": 64, "dropout": 0.5, "learning_rate": 0.002})
    assert space.start == (1, 1, 1)
    indices = (2, 0, 0)
    short = {"hidden_size": 64, "dropout": 0.5, "learning_rate": 0.002}
    assert space.values(indices, short) == {"hidden_size": 88, "dropout": 0.4, "learning_rate": 0.0007}
    long = {"hidden_size": 256, "dropout": 0.05, "learning_rate": 0.004}
    assert space.values(indices, long) == {"hidden_size": 360, "dropout": 0.0, "learning_rate": 0.0014}
    assert space.is_relative(indices)
    assert not space.is_relative(space.start)


def test_options_that_are_set_leave_the_space() -> None:
    request = make_request(CLASSIFIER, ["corpus.tsv"], {"dropout": 0.3, "ngrams": 1})
    names = {dimension.name for dimension in Space(SPACES[CLASSIFIER.name], request, CHOSEN).dimensions}
    assert names == {dimension.name for dimension in SPACES[CLASSIFIER.name]} - {"dropout", "ngrams"}


def test_the_options_of_a_model_to_start_from_leave_the_space() -> None:
    request = make_request(CLASSIFIER, ["corpus.tsv"], {"init_from": "checkpoints/lm"})
    names = {dimension.name for dimension in Space(SPACES[CLASSIFIER.name], request, CHOSEN).dimensions}
    assert names == {"learning_rate", "dropout", "embedding_dropout", "label_smoothing", "epochs"}


def test_a_default_that_is_not_known_or_has_no_place_among_the_values_leaves_the_space() -> None:
    request = make_request(CLASSIFIER, ["corpus.tsv"], {})
    chosen = CHOSEN | {"tokens": "char", "epochs": None}
    names = {dimension.name for dimension in Space(SPACES[CLASSIFIER.name], request, chosen).dimensions}
    assert names.isdisjoint({"tokens", "epochs"})


def test_a_trial_changes_nothing_but_what_it_names() -> None:
    request = make_request(CLASSIFIER, ["corpus.tsv"], {"hidden_size": 16})
    trial = with_values(request, {"dropout": 0.4, "tokens": "word"}, out=Path("elsewhere"))
    assert (trial.training.dropout, trial.corpus_options.tokens, trial.out) == (0.4, "word", Path("elsewhere"))
    assert (trial.model, trial.corpus) == (request.model, request.corpus)
    undone = with_values(trial, {"dropout": None, "tokens": "auto"})
    assert (undone.training, undone.corpus_options) == (request.training, request.corpus_options)
    with pytest.raises(OptionError, match="dropout"):
        with_values(request, {"dropout": 1.5})
