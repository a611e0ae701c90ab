"""Values and combinations that make no sense are refused; what is left open is completed and nothing else touched."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest

from nlpseq.errors import OptionError
from nlpseq.models.language_model import LanguageModelOptions
from nlpseq.options import check, flag, option
from nlpseq.training.defaults import HIDDEN_SIZES, Circumstances, complete
from nlpseq.training.options import CorpusOptions, LanguageModelTraining

OPTIONS = (LanguageModelTraining, CorpusOptions, LanguageModelOptions)
LEFT_OPEN = {
    "epochs",
    "steps",
    "minutes",
    "learning_rate",
    "weight_decay",
    "save_every",
    "validations",
}  # None means something there


@pytest.mark.parametrize(
    ("given", "name", "words"),
    [
        ({"steps": 0}, "steps", "at least 1"),
        ({"epochs": 0.0}, "epochs", "above 0"),
        ({"minutes": -1.0}, "minutes", "above 0"),
        ({"learning_rate": 0.0}, "learning_rate", "above 0"),
        ({"dropout": 1.0}, "dropout", "below 1"),
        ({"dropout": -0.1}, "dropout", "at least 0"),
        ({"weight_drop": 1.0}, "weight_drop", "below 1"),
        ({"anneal": 1.5}, "anneal", "at most 1"),
        ({"clip": 0.0}, "clip", "above 0"),
        ({"batch_size": 0}, "batch_size", "at least 1"),
        ({"accumulate": 0}, "accumulate", "at least 1"),
        ({"average": 1.0}, "average", "below 1"),
        ({"optimiser": "adagrad"}, "optimiser", "one of adamw"),
        ({"precision": "int8"}, "precision", "one of auto"),
        ({"steps": 5, "minutes": 1.0}, "steps and minutes", "different budgets"),
        ({"steps": 5, "epochs": 1.0}, "epochs and steps", "different budgets"),
    ],
)
def test_impossible_training_options_are_refused(given: dict[str, Any], name: str, words: str) -> None:
    with pytest.raises(OptionError, match=words) as refused:
        LanguageModelTraining(**given)
    assert refused.value.where == name
    assert refused.value.exit_status == 2


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("name", ["minutes", "learning_rate", "dropout", "weight_decay"])
def test_a_number_that_is_none_is_refused(name: str, value: float) -> None:
    with pytest.raises(OptionError):
        LanguageModelTraining(**{name: value})


def test_impossible_corpus_options_are_refused() -> None:
    for given in ({"vocab_size": 255}, {"tokens": "syllable"}, {"tokens": "byte", "vocab_size": 300}):
        with pytest.raises(OptionError):
            CorpusOptions(**given)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", OPTIONS)
def test_every_default_is_possible_and_every_field_has_its_help(kind: Any) -> None:
    made = kind()
    check(made)
    for field in dataclasses.fields(made):
        assert field.metadata["help"], field.name
        limits = [limit for limit in field.metadata["limits"].values() if limit is not None]
        number = "int" in str(field.type) or "float" in str(field.type)
        assert limits or not number, f"{field.name} takes any number"


def test_options_cannot_be_changed_behind_ones_back() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        LanguageModelTraining().steps = 3  # type: ignore[misc]


def test_a_flag_is_its_field() -> None:
    assert flag("hidden_size") == "--hidden-size"


def test_a_true_is_no_number_and_none_is_always_possible() -> None:
    @dataclasses.dataclass
    class Some:
        switch: bool = option(True, "help", minimum=5)
        number: int | None = option(None, "help", minimum=5)

    check(Some())


CIRCUMSTANCES = [
    Circumstances(tokens, vocabulary, work)
    for tokens in (20, 5_000, 1_000_000, 100_000_000)
    for vocabulary in (257, 4096, 50_000)
    for work in (None, 1e9, 1e12, 1e14, 4e16)
]


@pytest.mark.parametrize("facts", CIRCUMSTANCES, ids=str)
def test_nothing_is_left_open(facts: Circumstances) -> None:
    model, training = complete(LanguageModelOptions(), LanguageModelTraining(), facts)
    left = {name for name, value in dataclasses.asdict(model).items() if value is None}
    assert left == ({"ngram_buckets"} if model.ngrams == 1 else set())
    assert {name for name, value in dataclasses.asdict(training).items() if value is None} <= LEFT_OPEN
    assert training.softmax in ("full", "sampled")
    assert model.hidden_size in HIDDEN_SIZES


@pytest.mark.parametrize("facts", [facts for facts in CIRCUMSTANCES if facts.tokens == 5_000], ids=str)
def test_what_was_set_stays(facts: Circumstances) -> None:
    sizes: dict[str, Any] = {"hidden_size": 33, "embedding_size": 17, "tied": False, "ngrams": 1, "layers": 2}
    settings: dict[str, Any] = {
        "batch_size": 3, "sequence_length": 9, "dropout": 0.0, "input_dropout": 0.0, "softmax": "full", "steps": 7
    }  # fmt: skip
    model, training = complete(LanguageModelOptions(**sizes), LanguageModelTraining(**settings), facts)
    assert {name: getattr(model, name) for name in sizes} == sizes
    assert {name: getattr(training, name) for name in settings} == settings


def test_ngrams_of_a_text_that_is_read_often_are_dropped() -> None:
    few, many = (
        complete(LanguageModelOptions(), LanguageModelTraining(epochs=passes), Circumstances(1_000_000, 257))[1]
        for passes in (2.0, 20.0)
    )
    assert few.ngram_dropout == 0
    assert many.ngram_dropout == 0.5
    words = complete(LanguageModelOptions(), LanguageModelTraining(epochs=20.0), Circumstances(1_000_000, 50_000))[1]
    assert words.ngram_dropout == 0, "there are none"


def test_dropped_ngrams_without_ngrams_are_refused() -> None:
    with pytest.raises(OptionError, match="ngram_dropout: drops n-grams, which are off"):
        complete(
            LanguageModelOptions(ngrams=1), LanguageModelTraining(ngram_dropout=0.2), Circumstances(1_000_000, 257)
        )


@pytest.mark.parametrize(("given", "vocabulary"), [({"ngrams": 1}, 257), ({}, 50_000)])
def test_buckets_without_ngrams_are_refused(given: dict[str, Any], vocabulary: int) -> None:
    model = LanguageModelOptions(ngram_buckets=50, **given)
    with pytest.raises(OptionError, match="ngram_buckets: is an option of n-grams"):
        complete(model, LanguageModelTraining(), Circumstances(1_000_000, vocabulary, 60e11))


def test_more_time_gives_a_model_that_is_no_smaller() -> None:
    sizes = [
        complete(LanguageModelOptions(), LanguageModelTraining(), Circumstances(1_000_000, 257, seconds * 1e11))[
            0
        ].hidden_size
        for seconds in (1.0, 60.0, 600.0, 6000.0)
    ]
    assert sizes == sorted(sizes)  # type: ignore[type-var]
    assert sizes[0] < sizes[-1]  # type: ignore[operator]


@pytest.mark.parametrize(("budget", "shortest"), [("steps", 1), ("epochs", 0.01)])
def test_a_longer_run_gets_a_model_that_is_no_smaller_and_no_less_dropout(budget: str, shortest: float) -> None:
    facts = Circumstances(400_000, 257)
    made = [
        complete(LanguageModelOptions(), LanguageModelTraining(**{budget: factor * shortest}), facts)  # type: ignore[arg-type]
        for factor in (1, 8, 40, 200, 1000, 20_000)
    ]
    sizes, dropouts = [model.hidden_size for model, _ in made], [training.dropout for _, training in made]
    assert sizes == sorted(sizes) and sizes[0] < sizes[-1]  # type: ignore[type-var, operator]
    assert dropouts == sorted(dropouts) and dropouts[0] < dropouts[-1]  # type: ignore[type-var, operator]


def test_passes_and_steps_of_the_same_length_give_the_same_model() -> None:
    facts = Circumstances(32 * 64 * 50, 257)
    steps, epochs = (
        complete(LanguageModelOptions(), LanguageModelTraining(**budget), facts)  # type: ignore[arg-type]
        for budget in ({"steps": 200}, {"epochs": 4})
    )
    assert steps[0] == epochs[0]
    assert steps[1].dropout == epochs[1].dropout


def test_a_corpus_seen_over_and_over_gets_dropout_and_one_seen_once_gets_none() -> None:
    small, large = (
        complete(LanguageModelOptions(), LanguageModelTraining(), Circumstances(tokens, 257, 600e11))[1].dropout
        for tokens in (20_000, 1_000_000_000)
    )
    assert small is not None
    assert small > 0.2
    assert large == 0.0


def _batch_on(device: str, memory: float, vocabulary: int = 257, **training: Any) -> tuple[int | None, int | None, str]:
    work = None if {"steps", "epochs"} & training.keys() else 60e13
    facts = Circumstances(1_000_000, vocabulary, work, device, memory)
    made = complete(LanguageModelOptions(), LanguageModelTraining(**training), facts)[1]
    return made.batch_size, made.sequence_length, made.softmax


def test_a_gpu_gets_more_streams_and_a_whole_softmax_in_a_budget_of_time() -> None:
    assert _batch_on("cpu", math.inf) == (32, 64, "full")
    assert _batch_on("cuda", 80e9) == (64, 128, "full")
    assert _batch_on("cuda", 80e9, 30_000)[1:] == (70, "full")
    assert _batch_on("cpu", math.inf, 30_000)[2] == "sampled"
    for device in ("cpu", "cuda"):
        assert _batch_on(device, 80e9, 30_000, steps=10) == (32, 35, "sampled"), "with a number of steps it has no say"


def test_a_small_gpu_gets_as_many_streams_as_fit() -> None:
    sizes = [_batch_on("cuda", memory, 30_000)[0] for memory in (80e9, 4e9, 2e9, 1e9, 1e8)]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] == 64 and 1 <= sizes[-2] < 64 and sizes[-1] == 1
