"""The course of a search: the defaults first, then what the sampler proposes, then the best of it once more.

If trials are complete runs, the best few are trained again with other texts held out, the defaults with them, each with
another random seed. They are ranked by the mean of these repetitions, each relative to the defaults on the same texts:
the first run of each was chosen among many by the same few texts, so its value is too good. If trials are short runs,
the best options are trained once for all the time that is left, and the better of the two models is kept. The order and
the number of trials depend on the clock, so a search is not repeated by its command; each trial is.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from nlpseq.errors import Interrupted, NlpseqError
from nlpseq.training.progress import Progress, duration
from nlpseq.training.requests import Request
from nlpseq.training.tuning.clock import Clock
from nlpseq.training.tuning.listener import Listener
from nlpseq.training.tuning.sampler import Proposal, Sampler
from nlpseq.training.tuning.spaces import Dimension, Space, Values
from nlpseq.training.tuning.trainer import Introduction, Outcome, Pruned, Trials
from nlpseq.training.tuning.trial import COMPLETE, FAILED, PRUNED, Group, Measure, Trial, chosen_by_repeats, groups

MOST_TRIALS = 100  # the best of more would be chosen by luck
MOST_CANDIDATES, MOST_REPEATS = 5, 8  # options that are trained again, and how often each
LEAST_STEPS = 50  # of a trial that is no complete run: fewer tell nothing about the options
LEAST_GAIN = 0.005  # of the defaults' value, that options which were not trained again must have
LONG_RUN = 0.97  # of the time that is left, for the long run
MOST_UNUSED = 20  # proposals in a row that were tried already


@dataclass(frozen=True)
class Attempt:
    """What a trial is to train."""

    number: int
    options: Values  # that differ from the defaults
    budget: Mapping[str, float]
    reason: str = ""  # what it is for, if it is no ordinary trial
    split: int = 0  # other texts are held out, and another random seed is used, unless this is 0
    indices: tuple[int, ...] = ()  # of the options, in the space


class Search:
    """One search. Call `run` once; `best` is the trial to keep, also after an interruption."""

    def __init__(
        self,
        request: Request,
        dimensions: Sequence[Dimension],
        trainer: Trials,
        clock: Clock,
        make_sampler: Callable[[Space, float], Sampler],
        listener: Listener,
    ) -> None:
        """`make_sampler` gets the space and the value of the defaults, which is 1."""
        self.request = request
        self.dimensions = dimensions
        self.trainer = trainer
        self.clock = clock
        self.make_sampler = make_sampler
        self.listener = listener
        self.signal_number: int | None = None  # set by a signal: the search ends after the step in hand
        self.trials: list[Trial] = []
        self.outcomes: dict[int, Outcome] = {}  # of the trials whose folders are kept
        self.long_run: Trial | None = None
        self._repeated: list[str] = []  # the keys of the options that were trained again
        self._measures: dict[int, Measure] = {}  # of the defaults, by split

    def run(self, evaluate: Callable[[Outcome], float]) -> None:
        """Search until the time is over.

        `evaluate` is called with the defaults' run, and returns the seconds that one evaluation takes. Raises
        Interrupted after a signal, and what the run with the defaults raises.
        """
        first = self._first()
        defaults = self.outcomes[0].chosen
        complete = defaults.get("epochs") is not None
        seconds = evaluate(self.outcomes[0])
        self.clock.evaluated(seconds, further=1 if complete else 2)
        space = Space(self.dimensions, self.request, defaults)
        if self.clock.is_short:
            self.clock.evaluated(seconds, further=0)
            self.listener.note(self._only_defaults())
        elif not space.dimensions:
            self.listener.note("every option of the search is set: there is nothing to tune")
        elif not complete and self.outcomes[0].steps < LEAST_STEPS:
            self.listener.note(self._too_short(self.outcomes[0].steps))
        else:
            self._try_proposals(space, first.seconds)
        if complete and not self.clock.is_short:
            self._repeat_best()
        elif not self.clock.is_short:
            self._run_long(space, first)

    @property
    def best(self) -> Trial | None:
        """The trial to keep; None if none is complete."""
        short = self.best_short
        if short is None or self.long_run is None or self.long_run.state != COMPLETE:
            return short
        return min(short, self.long_run, key=lambda trial: trial.value or 0.0)

    @property
    def best_short(self) -> Trial | None:
        """The best of the trials that had equal time."""
        found = self._groups()
        again = [group for group in found if group.trials[0].key in self._repeated and group.repeats]
        if again and len(again) == len(self._repeated):
            defaults = next(group for group in again if group.trials[0].number == 0)
            return chosen_by_repeats(again, defaults).best
        clear = [group for group in found if not group.trials[0].options or group.mean <= 1 - LEAST_GAIN]
        return clear[0].best if clear else None

    def _groups(self) -> list[Group]:
        return groups([trial for trial in self.trials if trial is not self.long_run])

    def _first(self) -> Trial:
        return self._train(Attempt(0, {}, {"minutes": self.clock.first_seconds() / 60}), _Observer(self))

    def _too_short(self, steps: int) -> str:
        """A note on trials that are too short to be compared, with a budget that makes them long enough."""
        minutes = math.ceil(self.clock.minutes * LEAST_STEPS / max(1, steps))
        few = f"a trial would have {steps:,} of the {LEAST_STEPS} steps that tell options apart"
        return f"{self._only_defaults()}: {few}; --minutes {minutes}"

    def _only_defaults(self) -> str:
        verb = "is" if self.clock.minutes == 1 else "are"
        return f"{duration(self.clock.minutes)} {verb} only enough for the defaults"

    def _budget(self) -> dict[str, float]:
        """The budget of every trial but the first: as many passes, or as much time."""
        passes = self.outcomes[0].chosen.get("epochs")
        return {"minutes": self.clock.first_seconds() / 60} if passes is None else {"epochs": passes}

    def _try_proposals(self, space: Space, seconds: float) -> None:
        """Train what the sampler proposes until the time for it is over; `seconds` is what the first trial took."""
        sampler, defaults = self.make_sampler(space, 1.0), self.outcomes[0].chosen
        unused = 0
        while (
            len(self.trials) < MOST_TRIALS
            and unused < MOST_UNUSED
            and self.clock.has_time_for_trial(max(seconds, self._usual_seconds()))
        ):
            proposal = sampler.propose()
            values = space.values(proposal.indices, defaults)
            if earlier := self._known(values):
                proposal.end(earlier.value, earlier.state)
                unused += 1
                continue
            unused = 0
            attempt = Attempt(len(self.trials), values, self._budget(), indices=proposal.indices)
            trial = self._train(attempt, _Observer(self, proposal, self.clock.deadline(seconds)))
            proposal.end(trial.value, trial.state)

    def _usual_seconds(self) -> float:
        """The mean time of the complete trials."""
        times = [trial.seconds for trial in self.trials if trial.state == COMPLETE]
        return sum(times) / len(times)

    def _known(self, values: Values) -> Trial | None:
        """An earlier trial with these options."""
        return next((trial for trial in self.trials if trial.options == values), None)

    def _repeat_best(self) -> None:
        """Train the defaults and the best options again, with other texts held out, until the time is over."""
        if "random_seed" in self.request.given or len(self._groups()) < 2:
            return
        seconds = self.trials[0].seconds
        affordable = int(self.clock.left() / (2 * max(seconds, self._usual_seconds())))
        chosen = self._groups()[: max(1, min(MOST_CANDIDATES, affordable) - 1)]
        keys = list(dict.fromkeys([self.trials[0].key, *(group.trials[0].key for group in chosen)]))
        self._repeated = keys if len(keys) > 1 else []
        for split in range(1, MOST_REPEATS + 1):
            for key in self._repeated:
                group = next(group for group in self._groups() if group.trials[0].key == key)
                if not self.clock.has_time_for(group.seconds):
                    return
                self._repeat(group.trials[0], split)
                if split not in self._measures:
                    return  # the defaults, which come first, have failed: there is nothing to compare with

    def _repeat(self, trial: Trial, split: int) -> None:
        attempt = Attempt(len(self.trials), trial.options, self._budget(), f"{trial.number} again", split)
        self._train(attempt, _Observer(self, deadline=self.clock.now() + self.clock.left()))

    def _run_long(self, space: Space, first: Trial) -> None:
        """Train the best options for the time that is left, if that is longer than a trial."""
        best = self.best_short
        if best is None or LONG_RUN * self.clock.left() <= 1.5 * first.seconds:
            return
        values, number = self._for_long_run(space, best), len(self.trials)
        budget = {"minutes": LONG_RUN * self.clock.left() / 60}
        attempt = Attempt(number, values, budget, f"{best.number} for the rest of the time")
        self._train(attempt, _Observer(self), is_long=True)

    def _for_long_run(self, space: Space, best: Trial) -> Values:
        """The options of a trial, with values relative to the defaults of a run that takes the time that is left."""
        if not (best.indices and space.is_relative(best.indices)):
            return best.options
        minutes = LONG_RUN * self.clock.left() / 60
        return space.values(best.indices, self.trainer.chosen({"minutes": minutes}))

    def _train(self, attempt: Attempt, observer: _Observer, *, is_long: bool = False) -> Trial:
        """Train one trial and add it to the table. A run that fails is a row of it, unless it is the first."""
        self.listener.begin(attempt.number, attempt.options, attempt.reason)
        began, state, reason, outcome = self.clock.now(), COMPLETE, attempt.reason, None
        seeds = {"random_seed": self._seed(attempt)} if attempt.split else {}
        options = {**attempt.options, **seeds}
        try:
            self.check_signal()
            outcome = self.trainer.train(attempt.number, options, attempt.budget, observer, attempt.split)
        except Pruned as stopped:
            state, reason = PRUNED, str(stopped)
        except (NlpseqError, MemoryError) as error:
            if attempt.number == 0:
                raise
            state, reason = FAILED, getattr(error, "what", "there is not enough memory")
        trial = self._recorded(attempt, state, reason, outcome, self.clock.now() - began)
        if is_long:
            self.long_run = trial
        self.trials.append(trial)
        self._drop_others()
        self.listener.end(trial)
        self.check_signal()
        return trial

    def _seed(self, attempt: Attempt) -> int:
        return self.request.training.random_seed + attempt.split

    def _recorded(self, attempt: Attempt, state: str, reason: str, outcome: Outcome | None, seconds: float) -> Trial:
        """The row of a trial, whose outcome is kept."""
        if outcome is not None:
            self.outcomes[attempt.number] = outcome
            if not attempt.options:
                self._measures.setdefault(attempt.split, outcome.measure)
        return Trial(
            number=attempt.number,
            options=dict(attempt.options),
            state=state,
            value=None if outcome is None else self.relative(outcome.measure, attempt.split),
            scores={} if outcome is None else outcome.scores,
            steps=None if outcome is None else outcome.steps,
            seconds=seconds,
            random_seed=self._seed(attempt),
            split=attempt.split,
            reason=reason,
            indices=attempt.indices,
        )

    def _drop_others(self) -> None:
        """Remove the folders of trials that will not be kept; the first one's stays."""
        found = self._groups()
        kept = {group.best.number for group in found[:MOST_CANDIDATES]} | {0}
        kept |= {group.best.number for group in found if group.trials[0].key in self._repeated}
        if self.long_run is not None:
            kept.add(self.long_run.number)
        for number in set(self.outcomes) - kept:
            del self.outcomes[number]
            self.trainer.drop(number)

    def check_signal(self) -> None:
        """Raises Interrupted after a signal."""
        if self.signal_number is not None:
            raise Interrupted(self.signal_number)

    def relative(self, measure: Measure, split: int = 0) -> float:
        """The value of a measure, relative to that of the defaults with the same texts held out."""
        return measure.relative(self._measures[split])


class _Observer:
    """Sees one trial, and stops it after a signal, at its deadline, or when it falls behind the others."""

    def __init__(self, search: Search, proposal: Proposal | None = None, deadline: float = math.inf) -> None:
        self.search = search
        self.proposal = proposal
        self.deadline = deadline

    def introduce(self, introduction: Introduction) -> None:
        """Tell the listener, for the first trial."""
        if not self.search.trials:
            self.search.listener.introduce(introduction)

    def step(self, progress: Progress) -> None:
        """Raises Interrupted after a signal, and Pruned at the deadline."""
        self.search.check_signal()
        if self.search.clock.now() > self.deadline:
            raise Pruned("it takes too long")
        self.search.listener.step(progress)

    def validation(self, number: int, measure: Measure) -> None:
        """Raises Pruned if the trial falls behind."""
        if self.proposal is not None and self.proposal.falls_behind(self.search.relative(measure), number):
            raise Pruned(f"behind at validation {number}")
