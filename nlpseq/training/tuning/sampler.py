"""What proposes the values of the next trial, and ends trials that fall behind: Optuna's TPE and its median rule.

A dimension is a number of values, and Optuna sees their indices. The first trials change a few of the defaults each,
because the defaults are good: values that are all drawn at random are nearly always worse. Optuna is an optional
dependency; it keeps its study in memory and says nothing.
"""

from __future__ import annotations

import random
import warnings
from typing import Any, Protocol

from nlpseq.errors import OptionError
from nlpseq.training.tuning.spaces import Space

SEED = 1
FIRST_TRIALS = 8  # that change a few of the defaults,
CHANGED = 3  # as many as this
LEAST_FOR_MEDIAN = 5  # trials that have ended, before one is stopped
LEAST_VALIDATIONS = 3  # the first of a trial after which it may be stopped


class Proposal(Protocol):
    """A trial that a sampler has proposed."""

    indices: tuple[int, ...]  # of the values, by dimension

    def falls_behind(self, value: float, validation: int) -> bool:
        """Whether to stop the trial, whose validation with this number, from 1, has this value; lower is better."""

    def end(self, value: float | None, state: str) -> None:
        """Tell how the trial has ended: `complete` with a value, `pruned` or `failed`."""


class Sampler(Protocol):
    """Proposes trials."""

    def propose(self) -> Proposal:
        """The next trial."""


class OptunaSampler:
    """Optuna's tree-structured Parzen estimator, with a fixed seed."""

    def __init__(self, space: Space, default_value: float) -> None:
        """`default_value` is that of the trial with the defaults. Raises OptionError if Optuna is not installed."""
        optuna = import_optuna()
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._distributions = {
            dimension.name: optuna.distributions.IntDistribution(0, len(dimension.values) - 1)
            if dimension.ordered
            else optuna.distributions.CategoricalDistribution(tuple(range(len(dimension.values))))
            for dimension in space.dimensions
        }
        self._study = optuna.create_study(
            sampler=optuna.samplers.TPESampler(seed=SEED, n_startup_trials=FIRST_TRIALS),
            pruner=optuna.pruners.MedianPruner(LEAST_FOR_MEDIAN, LEAST_VALIDATIONS),
        )
        start = dict(zip(self._distributions, space.start, strict=True))
        trial = optuna.trial.create_trial(params=start, distributions=self._distributions, value=default_value)
        self._study.add_trial(trial)
        for indices in first_proposals(space, FIRST_TRIALS):
            self._study.enqueue_trial(dict(zip(self._distributions, indices, strict=True)), skip_if_exists=True)

    def propose(self) -> Proposal:
        """The next trial."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            trial = self._study.ask(self._distributions)
        return OptunaProposal(self._study, trial, tuple(trial.params[name] for name in self._distributions))


class OptunaProposal:
    """A trial that Optuna has proposed."""

    def __init__(self, study: Any, trial: Any, indices: tuple[int, ...]) -> None:
        self.indices = indices
        self._study, self._trial = study, trial

    def falls_behind(self, value: float, validation: int) -> bool:
        """By the median of the other trials' best values so far."""
        self._trial.report(value, validation)
        return bool(self._trial.should_prune())

    def end(self, value: float | None, state: str) -> None:
        """Tell Optuna how the trial has ended."""
        states = import_optuna().trial.TrialState
        by_name = {"complete": states.COMPLETE, "pruned": states.PRUNED, "failed": states.FAIL}
        self._study.tell(self._trial, value if state == "complete" else None, by_name[state])


def first_proposals(space: Space, count: int) -> list[tuple[int, ...]]:
    """The indices of the first trials: those of the defaults, of which a few are changed at random."""
    generator, found = random.Random(SEED), []
    for _ in range(count if space.dimensions else 0):
        indices = list(space.start)
        for number in generator.sample(range(len(indices)), min(CHANGED, len(indices))):
            others = [index for index in range(len(space.dimensions[number].values)) if index != indices[number]]
            indices[number] = generator.choice(others)
        found.append(tuple(indices))
    return found


def import_optuna() -> Any:
    """Optuna. Raises OptionError if it is not installed."""
    try:
        import optuna
    except ImportError:
        what = "needs Optuna, which is not installed"
        raise OptionError("nlpseq tune", what, "pip install 'nlpseq[tune]'") from None
    return optuna
