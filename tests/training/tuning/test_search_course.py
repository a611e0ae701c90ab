"""The course of a search under a fake clock: what its time is spent on, what is kept, and how it is stopped."""

from __future__ import annotations

import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from nlpseq.errors import Interrupted, RunError
from nlpseq.tasks import CLASSIFIER
from nlpseq.training.progress import Progress
from nlpseq.training.requests import make_request
from nlpseq.training.tuning.clock import LEAST_SECONDS, Clock
from nlpseq.training.tuning.listener import Listener
from nlpseq.training.tuning.sampler import first_proposals
from nlpseq.training.tuning.search import LEAST_GAIN, LEAST_STEPS, MOST_TRIALS, Search
from nlpseq.training.tuning.spaces import Dimension, Space
from nlpseq.training.tuning.trainer import Introduction, Outcome
from nlpseq.training.tuning.trial import Measure

STEP = Progress(1, 10, 2.0, 1.0, 8, 80.0, 3.0, 0.1)
SIZES = Dimension("hidden_size", (0.5, 1, 2), "times")
RATES = Dimension("learning_rate", (0.5, 1, 2, 4), "times")
PASSES = 3.0

Quality = Callable[[Mapping[str, Any]], float]  # the loss of a run by its options


class World:
    """Fake runs, which take time on a fake clock: `seconds` each, or as much as their budget."""

    def __init__(self, seconds: float | None, quality: Quality, minutes: float = 10.0) -> None:
        self.time = 1000.0
        self.seconds = seconds
        self.quality = quality
        self.trained: list[tuple[dict[str, Any], dict[str, float]]] = []
        self.splits: list[int] = []
        self.folders: set[int] = set()
        self.hidden_size = 64  # the default of a run
        self.steps = LEAST_STEPS  # of a run
        self.before_step: Callable[[int], object] = lambda number: None
        self.clock = Clock(minutes, self.time, lambda: self.time, may_end_early=seconds is not None)

    def train(
        self, number: int, values: dict[str, Any], budget: Mapping[str, float], observer: Any, split: int = 0
    ) -> Outcome:
        """A run of ten steps, the last one validated."""
        self.trained.append((values, dict(budget)))
        self.splits.append(split)
        seconds = self.seconds if self.seconds is not None else 60 * budget["minutes"]
        seconds *= values.get("slowness", 1)
        if not observer.search.trials:
            observer.introduce(Introduction("", "", ()))
        for step in range(10):
            self.time += seconds / 10
            self.before_step(number)
            observer.step(STEP)
            if step == 5:
                observer.validation(1, Measure(self.quality(values)))
        self.folders.add(number)
        loss = self.quality(values)
        chosen = {"hidden_size": self.hidden_size, "learning_rate": 0.002}
        chosen |= {} if self.seconds is None else {"epochs": PASSES}
        return Outcome(Path(str(number)), {"loss": loss}, Measure(loss), self.steps, PASSES, chosen)

    def chosen(self, budget: Mapping[str, float]) -> dict[str, Any]:
        """The defaults of a longer run."""
        self.time += 1
        return {"hidden_size": 4 * self.hidden_size, "learning_rate": 0.002}

    def drop(self, number: int) -> None:
        """Remove a folder."""
        self.folders.discard(number)


class InTurn:
    """A sampler that proposes all values in turn, the largest sizes first, and stops bad trials."""

    def __init__(self, space: Space, value: float) -> None:
        sizes = [len(dimension.values) for dimension in space.dimensions]
        self.left = [(first, second) for first in reversed(range(sizes[0])) for second in range(sizes[1])]
        self.ended: list[tuple[float | None, str]] = []
        assert value == 1

    def propose(self) -> Any:
        """The next ones."""
        self.indices = self.left.pop(0) if len(self.left) > 1 else self.left[0]
        return self

    def falls_behind(self, value: float, validation: int) -> bool:
        """Those that are three times as bad as the defaults."""
        return value > 3

    def end(self, value: float | None, state: str) -> None:
        """Remember."""
        self.ended.append((value, state))


def _search(world: World, **options: Any) -> Search:
    request = make_request(CLASSIFIER, ["corpus.tsv"], options)
    return Search(request, [SIZES, RATES], world, world.clock, InTurn, Listener())


def _run(search: Search, world: World, seconds: float = 2.0) -> None:
    """Run with an evaluation that takes that long."""

    def evaluate(outcome: Outcome) -> float:
        world.time += seconds
        assert outcome.folder == Path("0")
        return seconds

    search.run(evaluate)


def _quality(values: Mapping[str, Any]) -> float:
    """Best with twice the rate, much worse with four times it, and a little worse with another size."""
    rate, size = values.get("learning_rate", 0.002), values.get("hidden_size", 64)
    loss = {0.001: 1.2, 0.002: 1.0, 0.004: 0.8, 0.008: 9.0}[rate]
    return loss + 0.1 * (size != 64) + 0.001 * values.get("random_seed", 1)


def test_complete_runs_are_repeated_with_other_texts_held_out_and_the_time_is_kept() -> None:
    world = World(20.0, _quality)
    search = _search(world)
    _run(search, world)
    assert world.clock.elapsed() + world.clock.end_seconds <= world.clock.seconds
    assert world.clock.elapsed() > 0.9 * world.clock.seconds
    assert search.long_run is None
    budgets = [budget for _, budget in world.trained]
    assert set(budgets[0]) == {"minutes"} and all(budget == {"epochs": PASSES} for budget in budgets[1:])
    repeated = [values for values, _ in world.trained if "random_seed" in values]
    assert {"random_seed": 2} in repeated and {"learning_rate": 0.004, "random_seed": 2} in repeated
    assert [values.get("random_seed", 1) - 1 for values, _ in world.trained] == world.splits
    assert (
        set(world.splits[: -len(repeated)]) == {0}
        and sorted(world.splits[-len(repeated) :]) == world.splits[-len(repeated) :]
    )
    assert search.best is not None
    assert search.best.options == {"learning_rate": 0.004}
    assert search.best.value == pytest.approx(0.801 / 1.001)


def test_short_runs_are_followed_by_a_long_one_with_values_relative_to_its_own_defaults() -> None:
    world = World(None, lambda values: 1.0 - (values.get("hidden_size", 64) - 64) / 640)
    search = _search(world)
    _run(search, world)
    long = search.trials[-1]
    assert search.long_run is long is search.best
    assert long.options["hidden_size"] == 2 * 4 * 64
    values, budget = world.trained[-1]
    assert values == long.options
    assert budget["minutes"] > 3
    assert all(short == {"minutes": 10 / 16} for _, short in world.trained[:-1])
    assert search.best_short is not None and search.best_short.options["hidden_size"] == 128
    assert 0.9 * world.clock.seconds < world.clock.elapsed() <= world.clock.seconds


def test_a_long_run_that_is_worse_than_the_best_trial_is_not_kept() -> None:
    world = World(None, lambda values: {64: 1.0, 32: 0.9, 128: 0.8}.get(values.get("hidden_size", 64), 1.5))
    search = _search(world)
    _run(search, world)
    assert search.long_run is not None and search.long_run.value == 1.5
    assert search.best is search.best_short
    assert search.best is not None and search.best.options["hidden_size"] == 128


def test_a_bad_trial_is_stopped_and_is_a_row_of_the_table() -> None:
    world = World(10.0, _quality)
    search = _search(world)
    _run(search, world)
    pruned = [trial for trial in search.trials if trial.state == "pruned"]
    assert pruned and all(trial.options["learning_rate"] == 0.008 for trial in pruned)
    assert all(trial.value is None and trial.seconds < 10 for trial in pruned)
    assert {trial.reason for trial in pruned} == {"behind at validation 1"}


def test_a_trial_that_is_much_slower_than_the_defaults_is_stopped() -> None:
    world = World(10.0, lambda values: 1.0)
    search = _search(world)
    slow = world.train

    def train(number: int, values: dict[str, Any], *others: Any) -> Outcome:
        slowness = {"slowness": 20} if values.get("hidden_size") == 128 else {}
        return slow(number, {**values, **slowness}, *others)

    world.train = train  # type: ignore[method-assign]
    _run(search, world)
    late = [trial for trial in search.trials if trial.options.get("hidden_size") == 128]
    assert late and all(trial.state == "pruned" and trial.reason == "it takes too long" for trial in late)
    assert world.clock.elapsed() <= 1.05 * world.clock.seconds


def test_a_trial_that_fails_is_a_row_and_the_search_goes_on() -> None:
    def diverging(values: Mapping[str, Any]) -> float:
        if values.get("learning_rate") == 0.001:
            raise RunError("folder", "the run has diverged")
        return 1.0

    world = World(10.0, diverging)
    search = _search(world)
    _run(search, world)
    failed = [trial for trial in search.trials if trial.state == "failed"]
    assert failed and all(trial.reason == "the run has diverged" for trial in failed)
    assert search.trials[-1].state == "complete"


def test_defaults_that_fail_are_an_error() -> None:
    def failing(values: Mapping[str, Any]) -> float:
        raise RunError("folder", "the run has diverged")

    world = World(10.0, failing)
    search = _search(world)
    with pytest.raises(RunError, match="diverged"):
        _run(search, world)
    assert search.best is None


def test_a_signal_ends_the_search_after_the_step_and_the_best_run_is_there() -> None:
    world = World(10.0, _quality)
    search = _search(world)

    def stop(number: int) -> None:
        if number == 5:
            search.signal_number = signal.SIGTERM

    world.before_step = stop
    with pytest.raises(Interrupted) as stopped:
        _run(search, world)
    assert stopped.value.signal_number == signal.SIGTERM
    assert [trial.number for trial in search.trials] == [0, 1, 2, 3, 4]
    assert search.best is not None and search.best.number in search.outcomes
    assert 5 not in world.folders


def test_a_signal_in_the_first_trial_leaves_nothing_to_keep() -> None:
    world = World(10.0, _quality)
    search = _search(world)
    search.signal_number = signal.SIGINT
    with pytest.raises(Interrupted):
        _run(search, world)
    assert search.best is None and world.trained == []


def test_a_budget_of_seconds_is_for_the_defaults_alone() -> None:
    said: list[str] = []

    class Noting(Listener):
        def note(self, text: str) -> None:
            said.append(text)

    world = World(None, _quality, minutes=(LEAST_SECONDS - 5) / 60)
    search = _search(world)
    search.listener = Noting()
    _run(search, world, seconds=0.5)
    assert said == [f"{LEAST_SECONDS - 5:.0f} seconds are only enough for the defaults"]
    assert len(search.trials) == 1
    assert search.best is search.trials[0]


def test_short_runs_of_a_few_steps_are_not_compared_and_the_defaults_get_the_time() -> None:
    said: list[str] = []

    class Noting(Listener):
        def note(self, text: str) -> None:
            said.append(text)

    world = World(None, _quality, minutes=1.0)
    world.steps = LEAST_STEPS // 10
    search = _search(world)
    search.listener = Noting()
    _run(search, world)
    assert [trial.options for trial in search.trials] == [{}, {}]
    assert search.long_run is search.trials[1] and search.long_run.seconds > 0.7 * world.clock.seconds
    (note,) = said
    assert note.startswith("1 minute is only enough for the defaults")
    assert note.endswith("--minutes 10"), "ten times the steps"


def test_complete_runs_may_have_few_steps() -> None:
    world = World(10.0, _quality)
    world.steps = 3
    search = _search(world)
    _run(search, world)
    assert search.best is not None and search.best.options == {"learning_rate": 0.004}


@pytest.mark.parametrize("times", [0.5, 2])
def test_short_runs_that_differ_by_next_to_nothing_are_equal(times: float) -> None:
    world = World(None, lambda values: 1.0 - times * LEAST_GAIN * (values.get("hidden_size", 64) == 128))
    search = _search(world)
    _run(search, world)
    assert search.best_short is not None
    assert bool(search.best_short.options) == (times > 1)


def test_nothing_is_tried_if_every_option_is_set() -> None:
    world = World(10.0, _quality)
    search = _search(world, hidden_size=8, learning_rate=0.1)
    _run(search, world)
    assert [trial.options for trial in search.trials] == [{}]


def test_a_random_seed_that_is_set_is_not_replaced() -> None:
    world = World(10.0, _quality)
    search = _search(world, random_seed=7)
    _run(search, world)
    assert {trial.random_seed for trial in search.trials} == {7}
    assert len(search.trials) <= 12


def test_the_folders_of_few_trials_are_on_the_disk() -> None:
    world = World(2.0, lambda values: values.get("learning_rate", 0.002))
    search = _search(world)
    _run(search, world)
    assert len(search.trials) < MOST_TRIALS * 2
    assert world.folders == set(search.outcomes)
    assert 0 in world.folders and len(world.folders) <= 7
    assert search.best is not None and search.best.number in world.folders


def test_the_defaults_win_if_nothing_is_better() -> None:
    world = World(10.0, lambda values: 1.0 + 0.1 * len(set(values) - {"random_seed"}))
    search = _search(world)
    _run(search, world)
    assert search.best is not None and search.best.options == {}


def test_options_whose_first_run_was_lucky_lose_to_those_that_are_better_again() -> None:
    def lucky(values: Mapping[str, Any]) -> float:
        again = "random_seed" in values
        return {0.001: 0.5 if not again else 1.1, 0.004: 0.8}.get(values.get("learning_rate", 0), 1.0)

    world = World(10.0, lucky)
    search = _search(world)
    _run(search, world)
    assert search.best is not None and search.best.options["learning_rate"] == 0.004


def test_repeats_are_relative_to_the_defaults_on_the_same_texts() -> None:
    """The texts of each split are harder than those of the one before, so losses cannot be compared."""
    world = World(10.0, lambda values: _quality({**values, "random_seed": 0}) * values.get("random_seed", 1))
    search = _search(world)
    _run(search, world)
    assert search.best is not None and search.best.options == {"learning_rate": 0.004}
    assert search.best.split == 0, "the model that is kept was validated on the texts that the request names"
    again = [trial for trial in search.trials if trial.split and trial.options == {"learning_rate": 0.004}]
    assert len(again) > 2 and all(trial.value == pytest.approx(0.8) for trial in again)


def test_nothing_is_compared_where_the_defaults_fail() -> None:
    def failing(values: Mapping[str, Any]) -> float:
        if values == {"random_seed": 3}:
            raise RunError("folder", "the run has diverged")
        return _quality(values)

    world = World(10.0, failing)
    search = _search(world)
    _run(search, world)
    assert [trial.state for trial in search.trials if trial.split == 2] == ["failed"]
    assert search.trials[-1].split == 2
    assert search.best is not None and search.best.options == {"learning_rate": 0.004}


def test_options_that_may_be_better_by_luck_alone_are_not_kept() -> None:
    def lucky(values: Mapping[str, Any]) -> float:
        seed, changed = values.get("random_seed", 1), set(values) - {"random_seed"}
        return 1.0 if not changed else 0.8 if seed == 1 else 0.98 + 0.08 * (-1) ** seed

    world = World(10.0, lucky)
    search = _search(world)
    _run(search, world)
    assert len({trial.split for trial in search.trials}) > 4
    assert search.best is not None and search.best.options == {}


def test_the_first_proposals_change_a_few_of_the_defaults() -> None:
    request = make_request(CLASSIFIER, ["corpus.tsv"], {})
    names = ("learning_rate", "hidden_size", "batch_size", "embedding_size", "clip")
    dimensions = [Dimension(name, (0.5, 1, 2), "times") for name in names]
    space = Space(dimensions, request, dict.fromkeys(names, 64))
    found = first_proposals(space, 8)
    assert found == first_proposals(space, 8)
    assert len(set(found)) > 4
    for indices in found:
        assert sum(index != start for index, start in zip(indices, space.start, strict=True)) == 3
