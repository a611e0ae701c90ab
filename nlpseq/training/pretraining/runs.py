"""The two runs of a classifier with --unlabelled, one after the other.

The language model is an ordinary run in `language-model/` inside the run folder, and it stays there: other classifiers
may start from it. The run folder is locked from the start. An earlier run in it stays until the classifier begins.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Generator
from dataclasses import replace
from hashlib import sha256
from typing import Any

from nlpseq import tasks
from nlpseq.errors import RunError
from nlpseq.models.model_path import UNLABELLED
from nlpseq.models.options import RecurrentOptions
from nlpseq.text.progress import Watch, unwatched
from nlpseq.text.signature import short_names
from nlpseq.text.tokenisers import Tokeniser
from nlpseq.training.continuing import WHEREABOUTS
from nlpseq.training.defaults import LARGE_VOCABULARY
from nlpseq.training.distribution.processes import ALONE, Processes
from nlpseq.training.length import DEFAULT_MINUTES
from nlpseq.training.parts import Part, tell_followers
from nlpseq.training.pretraining.budget import TOKENS, VOCABULARY, divide
from nlpseq.training.pretraining.plan import Plan, set_options
from nlpseq.training.pretraining.texts import TRAIN, VALID, Prepared, prepare_texts
from nlpseq.training.repeating import resuming
from nlpseq.training.requests import ClassifierRequest, Request
from nlpseq.training.run_config import CONFIG
from nlpseq.training.run_folder import BEFORE, RunFolder
from nlpseq.training.tasks.classification import ClassificationRun
from nlpseq.training.tasks.language_model import LanguageModelRun

LEAST_OF_MINUTES = 0.5  # of the classifier's minutes are left to it, even if the language model took longer


class PretrainingRun(LanguageModelRun):
    """The first part: the run of the language model."""

    def prepare(self, model: RecurrentOptions, tokeniser: Tokeniser | None) -> dict[str, Any]:
        """As `LanguageModelRun.prepare`; the softmax depends on the vocabulary only, so that devices do not differ."""
        chosen = super().prepare(model, tokeniser)
        softmax = "sampled" if self.corpus.tokeniser.size > LARGE_VOCABULARY else "full"
        self.training = replace(self.training, softmax=softmax)
        return chosen

    def note_vocabulary(self) -> None:
        """As `TaskRun.note_vocabulary`, for a vocabulary whose size was set by the user."""
        if self.request.corpus_options.vocab_size != VOCABULARY:
            super().note_vocabulary()

    @property
    def again(self) -> str:
        """The command that continues both parts."""
        return resuming(tasks.CLASSIFIER, self.folder.path.parent, *self.as_many)

    @property
    def is_saved(self) -> bool:
        """Whether there is something to continue."""
        return (self.folder.path.parent / UNLABELLED).exists()


class PretrainedRun(ClassificationRun):
    """The second part: the run of the classifier."""

    def __init__(
        self,
        facts: dict[str, Any],
        request: Request,
        started: float | None = None,
        watch: Watch = unwatched,
        processes: Processes = ALONE,
        folder: RunFolder | None = None,
    ) -> None:
        """`facts` are the options that repeat the first part; the rest is as for `TaskRun`."""
        self.facts = facts
        super().__init__(request, started, watch, processes, folder)

    def prepare(self, model: RecurrentOptions, tokeniser: Tokeniser | None) -> dict[str, Any]:
        """As `ClassificationRun.prepare`, with what repeats the first part."""
        return {**super().prepare(model, tokeniser), "pretraining": self.facts}

    @property
    def is_saved(self) -> bool:
        """Whether there is something to continue: the first part, or the run's own state."""
        return self.folder.unlabelled.exists() or super().is_saved

    def endings(self) -> list[str]:
        """As `TaskRun.endings`, and where the language model is."""
        kept = (
            f"the language model is kept in {self.folder.path / BEFORE}: --init-from starts other classifiers from it"
        )
        return [*super().endings(), kept]


class Pretraining:
    """One training of both models. `parts` must be exhausted, or closed."""

    def __init__(
        self, request: ClassifierRequest, started: float | None, watch: Watch, processes: Processes = ALONE
    ) -> None:
        """As for a run; the request is for a new run, or for one that was stopped before its classifier was saved."""
        self.request = request
        self.started = time.monotonic() if started is None else started
        self.watch = watch
        self.processes = processes
        self.folder = RunFolder(request.out)
        self.before = RunFolder(request.out / BEFORE)

    def parts(self) -> Generator[Part, None, None]:
        """The language model, unless it is finished, and the classifier."""
        self.folder.open(resume=self.request.resume, overwrite=self.request.overwrite)
        try:
            plan = self._plan()
            first = plan.language_model_request(self.request)
            if self._has_begun(first.as_json()["corpus"]):
                first = replace(first, resume=True, overwrite=False, given=first.given.intersection(WHEREABOUTS))
            if not (first.resume and self.before.read_config().get("finished")):
                yield Part(f"1 of 2: language model of {_texts(plan.texts)}", lambda: self._begin(first, plan))
            yield Part(f"2 of 2: classifier of {_texts(plan.labelled)}", lambda: self._end(plan))
        finally:
            self.folder.release()

    def _plan(self) -> Plan:
        """Read the plan of a run that goes on, or make one for a new run."""
        if self.request.resume:
            plan = Plan.read(self.folder.unlabelled)
            plan.refuse_changes(self.request)
            return plan
        try:
            self.before.check(resume=False, overwrite=self.request.overwrite, resumable=False)
            return self._make_plan()
        except BaseException:
            self.folder.abandon()
            raise

    def _make_plan(self) -> Plan:
        """Write the texts of the language model, and decide how it is trained."""
        request, asked, scratch = self.request, set_options(self.request), self.folder.fresh
        corpus = request.files_or(tasks.CLASSIFIER.corpus)
        texts = prepare_texts(request, corpus, scratch, self.watch)
        options, minutes = divide(request, asked, texts)
        mark = sha256(json.dumps([options, texts.sha256]).encode()).hexdigest()
        plan = Plan(
            corpus=list(request.corpus),
            options=asked,
            language_model=options,
            classifier_minutes=minutes,
            texts=texts.texts,
            labelled=texts.own_texts,
            mark=mark[:8],
            holds_out=texts.holds_out,
            notes=_notes(texts),
            source=short_names(request.unlabelled),
        )
        for name in (TRAIN, VALID):
            (scratch / name).rename(scratch / plan.file_name(name))
        plan.write(scratch)
        shutil.rmtree(self.folder.unlabelled, ignore_errors=True)
        scratch.rename(self.folder.unlabelled)
        return plan

    def _has_begun(self, corpus: list[str]) -> bool:
        """Whether the folder of the language model holds its run, not one that it replaces."""
        if not (self.before.path / CONFIG).exists() or (
            self.before.previous.exists() and not self.before.resume.exists()
        ):
            return False
        try:
            return bool(self.before.read_config()["asked"]["corpus"] == corpus)
        except RunError:
            return False

    def _begin(self, request: Request, plan: Plan) -> PretrainingRun:
        """Create the run of the language model; if a new one cannot start, nothing is left of it."""
        tell_followers(self.processes, tasks.LANGUAGE_MODEL, request, is_last=False)
        try:
            run = PretrainingRun(request, self.started, self.watch, self.processes)
        except BaseException:
            if not self.request.resume:
                shutil.rmtree(self.folder.unlabelled, ignore_errors=True)
                self.folder.abandon()
            raise
        run.notes += plan.notes
        return run

    def _end(self, plan: Plan) -> PretrainedRun:
        """Create the run of the classifier."""
        request = plan.classifier_request(self.request)
        tell_followers(self.processes, tasks.CLASSIFIER, request, is_last=True)
        steps = self.before.read_config()["result"]["steps"]
        tokens = {name: plan.options[name] for name in TOKENS if name in plan.options}
        facts = {"unlabelled": plan.options["unlabelled"], "unlabelled_steps": steps, **tokens}
        now = time.monotonic()
        started = now - self._passed(plan, request, now)
        run = PretrainedRun(facts, request, started, self.watch, self.processes, self.folder)
        run.started = now if self.request.resume else self.started
        return run

    def _passed(self, plan: Plan, request: Request, now: float) -> float:
        """The seconds of the whole budget that are spent, or given to the language model, before the classifier."""
        if plan.classifier_minutes is None:
            return 0.0
        whole = 60 * (DEFAULT_MINUTES if request.training.minutes is None else request.training.minutes)
        own = 60 * plan.classifier_minutes
        if self.request.resume:
            return whole - own
        return min(now - self.started, whole - LEAST_OF_MINUTES * own)


def _notes(texts: Prepared) -> list[str]:
    """What the user should know of the language model's texts."""
    times = "once" if texts.copies == 1 else f"{texts.copies} times"
    notes = [*texts.notes, f"the {_texts(texts.own_texts)} to train on are among them {times}, without their labels"]
    if texts.left_out:
        notes.append(f"{_texts(texts.left_out)} without a label left out: they are for validation")
    return notes


def _texts(count: int) -> str:
    return "1 text" if count == 1 else f"{count:,} texts"
