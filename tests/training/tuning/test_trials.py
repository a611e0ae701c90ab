"""The number that trials are ranked by."""

from __future__ import annotations

import math

import pytest

from nlpseq.training.tuning.trial import Group, Measure, Trial, chosen_by_repeats, groups, measure_of


def _trial(number: int, value: float | None, state: str = "complete", seed: int = 1, **options: float) -> Trial:
    return Trial(number, dict(options), state, value, {}, 10, 1.0, seed)


def test_the_defaults_have_the_value_one() -> None:
    for measure in (Measure(2.0), Measure(0.4, 0.0, 30), Measure(0.4, 0.25, 400)):
        assert measure.relative(measure) == 1


def test_error_and_loss_count_alike_for_classifiers() -> None:
    defaults = Measure(0.5, 0.2, 99)
    lower = (0.4 * 99 + 1) / (0.5 * 99 + 1)
    assert Measure(0.4, 0.2, 99).relative(defaults) == pytest.approx((lower + 1) / 2)
    fewer = (0.1 * 99 + 1) / (0.2 * 99 + 1)
    assert Measure(0.5, 0.1, 99).relative(defaults) == pytest.approx((1 + fewer) / 2)


def test_a_score_in_per_cent_becomes_an_error() -> None:
    scores = {"accuracy": 80.0, "macro_f1": 60.0, "loss": 0.5}
    assert measure_of(scores, names=("accuracy",), texts=50, scale=1.0) == (0.5, pytest.approx(0.2), 50)
    assert measure_of(scores, names=("micro_f1", "macro_f1"), texts=50, scale=2.0) == (1.0, pytest.approx(0.4), 50)
    assert measure_of({"loss": 3.0}, names=(), texts=1, scale=1.0) == (3.0, None, 1)
    assert measure_of({"loss": None}, names=(), texts=1, scale=1.0).loss == math.inf


def test_groups_are_of_equal_options_the_best_mean_first() -> None:
    trials = [
        _trial(0, 1.0),
        _trial(1, 0.7, dropout=0.5),
        _trial(2, None, "pruned", dropout=0.6),
        _trial(3, 1.1, seed=2, dropout=0.5),
        _trial(4, 0.95, seed=2),
    ]
    found = groups(trials)
    assert [[trial.number for trial in group.trials] for group in found] == [[1, 3], [0, 4]]
    assert found[0].mean == pytest.approx(0.9)
    assert found[0].repeats == [1.1]
    assert found[0].best.number == 1


@pytest.mark.parametrize(
    ("values", "kept"),
    [
        ([[0.9, 0.92, 0.88]], 1),
        ([[0.9, 0.92, 0.88], [0.8, 0.82, 0.84]], 2),
        ([[0.7, 1.25, 0.95]], 0),  # a mean of 0.97, with a standard error of 0.16
        ([[1.1, 1.0, 1.05]], 0),
        ([[0.99]], 1),
    ],
)
def test_the_defaults_are_kept_unless_others_are_clearly_better(values: list[list[float]], kept: int) -> None:
    defaults = Group((_trial(0, 1.0), _trial(9, 1.0)))
    others = [
        Group((_trial(number, 0.5, dropout=0.5), *(_trial(9, value, dropout=0.5) for value in own)))
        for number, own in enumerate(values, 1)
    ]
    assert chosen_by_repeats([defaults, *others], defaults).trials[0].number == kept


def test_a_trial_is_told_without_the_indices_of_its_values() -> None:
    told = _trial(3, 0.5, dropout=0.4).as_json()
    assert (told["number"], told["options"], "indices" in told) == (3, {"dropout": 0.4}, False)
