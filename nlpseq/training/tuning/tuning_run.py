"""A search from the request to the run folder.

Trials are trained in hidden folders inside the run folder, which are removed at the end; the best one's files are then
moved to where an ordinary run has them. An earlier run that is to be replaced stays until then, also if the search is
killed: see nlpseq/training/delivery.py.

    model.safetensors, resume.safetensors, history.jsonl, config.json    of the best trial
    tuning.json                                                          what was tried, and the last evaluation
    tuning/                                                              the parts that the corpus was split into
"""

from __future__ import annotations

import json
import shlex
import signal
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

from nlpseq.errors import CorpusError, Interrupted, RunError
from nlpseq.evaluation.scores import Score
from nlpseq.files import replace_file
from nlpseq.tasks import Task
from nlpseq.text.progress import Watch, unwatched
from nlpseq.training.continuing import DATA, refuse_run_as_corpus
from nlpseq.training.delivery import PARTS, deliver, recover, set_parts_aside
from nlpseq.training.repeating import command
from nlpseq.training.requests import Request
from nlpseq.training.run_folder import RunFolder
from nlpseq.training.signals import stopping_on_signals
from nlpseq.training.tuning.clock import Clock
from nlpseq.training.tuning.listener import Listener
from nlpseq.training.tuning.parts import Parts, as_named, make_parts
from nlpseq.training.tuning.sampler import OptunaSampler, import_optuna
from nlpseq.training.tuning.search import Search
from nlpseq.training.tuning.spaces import SPACES
from nlpseq.training.tuning.trainer import Outcome, Trainer
from nlpseq.training.tuning.trial import Trial

REPORT = "tuning.json"  # in the run folder
MAKE_SPACE = "free some space there, or choose another folder with --out"
DEFAULTS, EQUAL, KEPT = "defaults", "best of equal time", "kept"  # the models that the last evaluation compares

Evaluate = Callable[[Path, Parts], list[Score]]  # a model on the test part


class TuningRun:
    """One search, and the run folder that it fills. Call `run` once."""

    def __init__(
        self,
        task: Task,
        request: Request,
        test: Sequence[str],
        clock: Clock,
        evaluate: Evaluate,
        listener: Listener,
        watch: Watch = unwatched,
    ) -> None:
        """Raises OptionError without Optuna, or for a run folder as a corpus; RunError if the folder is used."""
        import_optuna()
        refuse_run_as_corpus(request)
        self.task = task
        self.request = request
        self.test = tuple(test)
        self.clock = clock
        self.evaluate = evaluate
        self.listener = listener
        self.watch = watch
        self.folder = RunFolder(request.out)
        self.folder.check(resume=False, overwrite=request.overwrite, resumable=False)
        self._evaluated: dict[int, list[Score]] = {}  # by trial

    def run(self) -> dict[str, Any]:
        """Search, keep the best run, and return what `tune --json` prints; `stopped` is the signal that ended it.

        Raises Interrupted after a signal that came before any trial was complete, and what the first trial raises.
        """
        self.folder.open(resume=False, overwrite=self.request.overwrite)
        try:
            with self.folder.writing(MAKE_SPACE):
                set_parts_aside(self.folder.path)
            parts = make_parts(self.task, self.request, self.test, self.folder.path / PARTS, self.watch)
            return self._search(parts)
        except RunError as error:
            if not isinstance(error.__cause__, OSError):
                raise
            raise RunError(str(self.folder.path), error.what, MAKE_SPACE) from error
        finally:
            with suppress(OSError):  # else the next command that opens the folder does it
                recover(self.folder.path)
            self.folder.abandon()

    def _search(self, parts: Parts) -> dict[str, Any]:
        trainer = Trainer(self.task, parts.request, self.folder.fresh, self.watch)
        space = SPACES[self.task.name]
        search = Search(parts.request, space, trainer, self.clock, OptunaSampler, self.listener)
        in_main = threading.current_thread() is threading.main_thread()
        fault: BaseException | None = None
        with stopping_on_signals(search) if in_main else nullcontext():
            try:
                search.run(lambda outcome: self._timed_scores(0, outcome, parts))
            except (Interrupted, KeyboardInterrupt) as error:
                fault = error
            except CorpusError as error:
                raise as_named(error, parts, self.task, self.request) from None
            if search.best is None:
                assert fault is not None
                raise fault
            if fault is None:
                fault = self._evaluate_best(search, parts)
            return self._keep(search, search.best, parts, fault)

    def _timed_scores(self, number: int, outcome: Outcome, parts: Parts) -> float:
        """Evaluate a trial on the test part: the seconds that it takes."""
        began = self.clock.now()
        self._evaluated[number] = self.evaluate(outcome.folder, parts)
        return self.clock.now() - began

    def _evaluate_best(self, search: Search, parts: Parts) -> Interrupted | None:
        """Evaluate the models that are shown at the end; returns the signal that kept it from that."""
        try:
            for trial in (search.best, search.best_short):
                if trial is not None and trial.number not in self._evaluated:
                    self._timed_scores(trial.number, search.outcomes[trial.number], parts)
                    search.check_signal()
        except Interrupted as stopped:
            return stopped
        return None

    def _keep(self, search: Search, best: Trial, parts: Parts, fault: BaseException | None) -> dict[str, Any]:
        """Move the best trial's files into the run folder, and write the report beside them."""
        trial_folder, folder = search.outcomes[best.number].folder, self.folder.path
        config = RunFolder(trial_folder).read_config()
        config["result"]["model"] = str(self.folder.model)
        report = self._report(search, best, parts, config, fault)
        RunFolder(trial_folder).write_config(config)
        replace_file(trial_folder / REPORT, (json.dumps(report, indent=2) + "\n").encode())
        self.folder.drop_tokens()
        with self.folder.writing(MAKE_SPACE):
            deliver(trial_folder, folder)
        return report

    def _report(
        self, search: Search, best: Trial, parts: Parts, config: Mapping[str, Any], fault: BaseException | None
    ) -> dict[str, Any]:
        again, whole = (shlex.join(["--out", f"{self.folder.path}-{name}"]) for name in ("again", "whole"))
        passes = round(search.outcomes[best.number].passes, 2)
        stopped = getattr(fault, "signal_number", signal.SIGINT) if fault is not None else None
        return {
            "model": str(self.folder.model),
            "task": self.task.name,
            "minutes": self.clock.minutes,
            "seconds": round(self.clock.elapsed(), 2),
            "stopped": None if stopped is None else int(stopped),
            "best": best.number,
            "defaults_are_best": not best.options,
            "trials": [trial.as_json() for trial in search.trials],
            "test": self._test_rows(search, best),
            "test_part": list(parts.test),
            "command": f"{command(config)} {again}",
            "command_for_whole": f"{command(self._on_whole(config, passes))} {whole}" if parts.are_own else None,
        }

    def _test_rows(self, search: Search, best: Trial) -> list[dict[str, Any]]:
        """The models that were evaluated on the test part: that of the defaults, and the best ones."""
        rows = [(DEFAULTS, search.trials[0])]
        if search.long_run is not None and search.best_short not in (None, best, rows[0][1]):
            rows.append((EQUAL, search.best_short or best))
        rows += [(KEPT, best)] if best.number else []
        return [
            {
                "run": name,
                "trial": trial.number,
                "steps": trial.steps,
                "seconds": round(trial.seconds, 2),
                "scores": [score.as_json() for score in self._evaluated[trial.number]],
            }
            for name, trial in rows
            if trial.number in self._evaluated
        ]

    def _on_whole(self, config: Mapping[str, Any], passes: float) -> dict[str, Any]:
        """The configuration of a run with the same options and as many passes over the whole corpus of the request."""
        own = self.request.as_json()
        asked = {**config["asked"], **{name: own.get(name) for name in DATA}}
        return {**config, "asked": asked, "training": {**config["training"], "steps": None, "epochs": passes}}
