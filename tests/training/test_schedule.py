"""The learning rate over a run, and how many steps fit a budget of time."""

from __future__ import annotations

from itertools import pairwise

import pytest

from nlpseq.training import schedule
from nlpseq.training.schedule import Budget, rate


def test_the_rate_rises_holds_and_falls_to_nearly_nothing() -> None:
    rates = [rate(step, 1000, 10, 0.5) for step in range(1000)]
    assert rates[:11] == pytest.approx([(step + 1) / 11 for step in range(11)])
    assert rates[11:500] == [1.0] * 489
    assert rates[750] == pytest.approx(0.5)
    assert all(after <= before for before, after in pairwise(rates[500:]))
    assert 0 < rates[-1] < 0.005


@pytest.mark.parametrize("anneal", [0.2, 0.5, 0.9])
@pytest.mark.parametrize("total", [100, 1000, 54_321])
def test_a_rate_before_the_fall_does_not_depend_on_the_total(total: int, anneal: float) -> None:
    for step in range(int((1 - anneal) * total)):
        assert rate(step, total, 5, anneal) == rate(step, None, 5, anneal)


def test_without_annealing_the_rate_stays() -> None:
    assert [rate(step, 10, 0, 0.0) for step in range(10)] == [1.0] * 10


def test_without_a_warm_up_the_first_step_is_full() -> None:
    assert rate(0, 1000, 0, 0.5) == 1.0


@pytest.mark.parametrize("total", [1, 2, 5])
def test_short_runs_have_rates_that_train(total: int) -> None:
    rates = [rate(step, total, 10, 0.9) for step in range(total)]
    assert all(0 < value <= 1 for value in rates)


class _Clock:
    """A clock that is set by hand; a budget must be told when it was started."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        monkeypatch.setattr(schedule.time, "monotonic", lambda: self.now)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> _Clock:
    return _Clock(monkeypatch)


def _spend(clock: _Clock, budget: Budget, first: float, each: float) -> tuple[int, int]:
    """Steps done when the budget answers, and its answer."""
    clock.now += first
    done, total = 1, budget.steps(1)
    while total is None:
        clock.now += each
        done += 1
        total = budget.steps(done)
    return done, total


def test_the_steps_fill_the_time(clock: _Clock) -> None:
    done, total = _spend(clock, Budget(60.0, started=100.0), 0.1, 0.1)
    assert done == pytest.approx(30, abs=1), "a twentieth of the budget is spent on timing"
    assert clock.now + (total - done) * 0.1 == pytest.approx(160.0, abs=0.11)


def test_what_validations_take_is_left_for_them(clock: _Clock) -> None:
    done, total = _spend(clock, Budget(60.0, 20.0, started=100.0), 0.1, 0.1)
    assert clock.now + (total - done) * 0.1 == pytest.approx(140.0, abs=0.11)


def test_a_slow_first_step_is_spent_but_not_counted_on(clock: _Clock) -> None:
    done, total = _spend(clock, Budget(60.0, started=100.0), 2.0, 0.1)
    assert clock.now + (total - done) * 0.1 == pytest.approx(160.0, abs=0.11)


def test_a_budget_that_is_gone_ends_at_once(clock: _Clock) -> None:
    done, total = _spend(clock, Budget(1.0, 5.0, started=100.0), 2.0, 2.0)
    assert (done, total) == (3, 3)


def test_three_steps_are_timed_at_least(clock: _Clock) -> None:
    budget = Budget(10.0, started=100.0)
    answers = []
    for done in (1, 2, 3):
        clock.now += 4.0
        answers.append(budget.steps(done))
    assert answers[:2] == [None, None]
    assert answers[2] == 3
