"""A training run of any task, from request to model file.

The requested options, and the values chosen for those that were left open, are written to the run folder. A run that is
continued reads them from there; nlpseq/training/continuing.py says which of them may change.
"""

from __future__ import annotations

import platform
import shlex
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from nlpseq.errors import CorpusError, NlpseqError, OptionError, RunError
from nlpseq.kernels.choice import rounded_products
from nlpseq.models.model_file import TOKENISER, Model, load_model, read_tensors
from nlpseq.models.options import RecurrentOptions
from nlpseq.native.memory import keep_freed_memory
from nlpseq.options import flag
from nlpseq.tasks import TASKS
from nlpseq.text.compression import STANDARD_INPUT
from nlpseq.text.formats import need_source
from nlpseq.text.lines import has_unread
from nlpseq.text.progress import Watch, unwatched
from nlpseq.text.tokenisers import Tokeniser, load_tokeniser
from nlpseq.training.continuing import Continuation, check_config, continued, file_marks, refuse_run_as_corpus
from nlpseq.training.data.seal import is_whole, seal
from nlpseq.training.device_faults import explained
from nlpseq.training.disk_faults import saying_how_to_go_on
from nlpseq.training.distillation.teachers import Teachers
from nlpseq.training.distribution.processes import ALONE, Processes
from nlpseq.training.loop import Run
from nlpseq.training.progress import Progress
from nlpseq.training.repeating import as_asked, command, resuming
from nlpseq.training.requests import Request
from nlpseq.training.run_folder import FollowedFolder, RunFolder
from nlpseq.training.run_state import EVERYTHING, Kept
from nlpseq.training.tasks.report import chosen_values, run_result
from nlpseq.training.tasks.starting import (
    choose_kernel,
    options_of,
    precision_of,
    refuse_other_tokens,
    refuse_own_folder,
)


class TaskRun(ABC):
    """A training run: create it from a request, exhaust `progress`, then call `finish`."""

    name: ClassVar[str]  # of the task, as in the model file
    model: Any
    training: Any
    corpus: Any
    task: Any
    labels: list[str] | None = None  # of a classifier that is continued

    def __init__(
        self,
        request: Request,
        started: float | None = None,
        watch: Watch = unwatched,
        processes: Processes = ALONE,
        folder: RunFolder | None = None,
    ) -> None:
        """`started` is the time at which the budget began; `watch` is told how far the reading of the corpus is.

        `processes` are those that train the model; they create the run alike. A `folder` that is locked already stays
        so until the run has ended.
        """
        self.processes = processes
        self.started = time.monotonic() if started is None else started
        self.request = request
        self.watch = watch
        self.notes: list[str] = []
        own = RunFolder if processes.is_first else FollowedFolder
        self.folder = own(request.out) if folder is None else folder
        self.config: dict[str, Any] = {}
        try:
            if not processes.is_first:
                self._follow()
            elif request.resume:
                self._continue()
            else:
                self._begin()
        except BaseException:
            self.folder.release()
            raise

    def _begin(self) -> None:
        """Start a new run."""
        request = self.request
        earlier = None if request.init_from is None else self.open_earlier(request.init_from)
        needed = [("init_from", earlier)] if earlier is not None else []
        needed += [("teacher", model) for model in self.teachers.models]
        for option, found in needed if request.overwrite else []:
            refuse_own_folder(option, found, request.out)
        if earlier is not None:
            refuse_other_tokens(earlier, request.corpus_options)
        taught = self.teachers.tokeniser(request.corpus_options, None if earlier is None else earlier.tokeniser)
        model = request.model if earlier is None else options_of(earlier, request.model)
        self.choice = choose_kernel(request.training, model)
        for name in request.all_files():
            need_source(name)  # before the folder, whose error may suggest --overwrite
        self.folder.open(resume=False, overwrite=request.overwrite)
        try:
            self.config = self._prepared(model, taught if earlier is None else earlier.tokeniser)
            self._make_run(None if earlier is None else earlier.weights)
            self.folder.begin(self.config)
        except BaseException:
            self.folder.abandon()
            raise
        try:
            self._lead(None)
        except BaseException:
            self.folder.withdraw()
            raise

    def _prepared(self, model: RecurrentOptions, tokeniser: Tokeniser | None) -> dict[str, Any]:
        """Read the corpus and choose the options that were left open; returns the configuration."""
        chosen = self.prepare(model, tokeniser)
        seal(self.folder.fresh)
        self.training = replace(self.training, precision=precision_of(self.choice))
        self.notes[:0] = self.corpus.facts.get("notes", [])
        machine: dict[str, Any] = {"kernel": self.choice.reason, "device": self.choice.device.type}
        if self.processes.count > 1:
            machine["processes"] = self.processes.count
        return {
            "task": self.name,
            "asked": self.request.as_json(),
            "model": asdict(self.model),
            "training": asdict(self.training),
            "tokeniser": {"kind": self.corpus.tokeniser.kind, "size": self.corpus.tokeniser.size},
            "data": self._data(),
            "files": file_marks(self.request.all_files()),
            **({"teachers": self.teachers.facts} if self.teachers.models else {}),
            **chosen,
            "machine": {**chosen.get("machine", {}), **machine},
        }

    def _make_run(self, weights: Mapping[str, Any] | None) -> None:
        with explained(self.folder.path, self.training):
            self.task = self.make_task(weights)
        self.task.teachers = self.config.get("teachers", ())
        asked = as_asked(TASKS[self.name], self.request.as_json(), self.request.given)
        anew = shlex.join([*asked, *self.as_many, "--overwrite", "--out", str(self.folder.path)])
        self.run = Run(
            self.task,
            self.training,
            self.folder,
            started=self.started,
            processes=self.processes,
            again=self.again,
            anew=anew,
        )

    def _lead(self, resumed: Mapping[str, Any] | None) -> None:
        """Let the other processes create the run that this one has created; `resumed` says what it has resumed."""
        if self.processes.count > 1:
            self.processes.from_first(
                (self.request, self.model, self.training, self.config, self.folder.mark(), resumed)
            )
            self.processes.confirm(None)
            self.processes.copy_from_first(self.task.parameters)

    def _follow(self) -> None:
        """Create the run that the first process has created, from its folder."""
        error = None
        plan: Any = None
        self.request, self.model, self.training, self.config, mark, resumed = self.processes.from_first(plan)
        try:
            if mark != self.folder.mark():
                what = f"cannot be seen on {platform.node()}: all machines of a run must share its folder"
                raise RunError(str(self.folder.path), what, "--out with a folder that they share")
            self.choice = choose_kernel(self.training, self.model)
            self.reopen(self.config)
            self._make_run(None)
            if resumed is not None:
                self.run.resume(**resumed)
        except NlpseqError as found:
            error = found
        self.processes.confirm(error)
        self.processes.copy_from_first(self.task.parameters)
        if self.request.resume:
            self._save_continued(resumed)

    def _continue(self) -> None:
        """Continue the folder's run, to the same bits unless a new budget, new values or a new corpus are asked for."""
        refuse_run_as_corpus(self.request)
        self.folder.open(resume=True, overwrite=self.request.overwrite)
        earlier = self.folder.read_config()
        if self.folder.was_put_back:
            self.notes.append("a new run was stopped before it was first saved: this is the run from before")
        self._refuse_other_task(earlier)
        check_config(earlier, self.request)
        self.config = dict(earlier)
        asked = continued(earlier, self.request)
        if earlier.get("finished") and not asked.budget:
            self.folder.drop_tokens()
            raise RunError(str(self.folder.path), "its run is finished", self._further(earlier))
        self.request, self.model, self.training = asked.request, asked.request.model, asked.request.training
        precision = earlier["asked"]["training"].get("precision", "auto")
        wanted = asked.changes["precision"][1] if "precision" in asked.changes else precision
        self.choice = choose_kernel(replace(self.training, precision=wanted), self.model)
        try:
            resumed = self._open_and_resume(earlier, asked)
        except BaseException:
            if earlier.get("finished") or asked.names_data:
                self.folder.drop_tokens()  # they may be those of another text than the run's
            raise
        self._note_continuation(earlier, asked)
        self.config["asked"]["training"]["precision"] = wanted
        self._save_continued(resumed)
        self.folder.write_config(self.config)

    def _save_continued(self, resumed: Mapping[str, Any] | None) -> None:
        """Save a run that does not go on from its saved state alone, so that its new options and its state go together.

        `resumed` says what it has resumed; None if it starts from the beginning.
        """
        anew = resumed is None or resumed["kept"] != EVERYTHING or not resumed["same_validation"]
        if anew or self.run.counters.begun == self.run.step:
            self.run.save(self.config)

    def _open_and_resume(self, earlier: Mapping[str, Any], asked: Continuation) -> Mapping[str, Any] | None:
        """Open the data and the state of the folder's run; returns what is resumed of the state."""
        same_data = self._open_data(earlier, asked)
        self.training = replace(self.training, precision=precision_of(self.choice))
        if not self.folder.resume.exists():
            self._start_again()
            return None
        self._make_run(None)
        shapes = ("batch_size", "sequence_length", "batch_tokens", "random_seed", "longest", "synthetic_share")
        kept = Kept(
            data=same_data and asked.changes.keys().isdisjoint(shapes),
            optimiser="optimiser" not in asked.changes,
            noise="random_seed" not in asked.changes,
        )
        resumed: dict[str, Any] = {"further": asked.budget, "same_validation": same_data, "kept": kept}
        self.run.resume(**resumed)
        self._lead(resumed)
        return resumed

    def _start_again(self) -> None:
        """Start a run from its beginning that was killed before it was first saved."""
        path = self.request.init_from
        self._make_run(None if path is None else self.open_earlier(path).weights)
        self.notes.append("its run was killed before it was first saved: it starts from the beginning")
        self._lead(None)

    def _further(self, config: Mapping[str, Any]) -> str:
        """The command that trains a finished run on."""
        steps = config.get("result", {}).get("steps", 100)
        teachers = config["asked"].get("teacher", ())
        return resuming(TASKS[self.name], self.folder.path, "--steps", str(2 * steps), teachers=teachers)

    def _open_data(self, earlier: Mapping[str, Any], asked: Continuation) -> bool:
        """Open the run's tokens, or read its corpus again; returns whether the text is the same as before."""
        names = self.request.all_files()
        if not asked.names_data and "longest" not in asked.changes and self._reopen(earlier):
            marks = earlier.get("files", {})
            changed = [name for name, mark in marks.items() if file_marks([name]) != {name: mark}]
            if changed:
                what = f"{', '.join(changed)} has changed or is gone: the run continues with the text of its start"
                self.notes.append(f"{what}; name a corpus to train on another")
            return True
        if STANDARD_INPUT in names and not has_unread():
            hint = self._resuming(corpus=["FILE"])
            raise CorpusError(STANDARD_INPUT, "the run was trained on standard input, which is gone", hint)
        for name in names:
            try:
                need_source(name)
            except CorpusError as error:
                hint = f"{self._resuming(corpus=['CORPUS'])}, with a corpus that is there"
                raise CorpusError(error.where, f"the run's corpus cannot be read: {error.what}", hint) from None
        return self._read_again(earlier, names)

    def _reopen(self, earlier: Mapping[str, Any]) -> bool:
        """Open the run's tokens; returns whether they are there and whole."""
        if not (self.folder.tokens / "corpus.json").exists() or not is_whole(self.folder.tokens):
            return False
        self.config = dict(earlier)
        try:
            self.reopen(earlier)
        except (CorpusError, RunError):
            return False
        return self._data() == {**self._data(), **earlier.get("data", {})}

    def _data(self) -> dict[str, Any]:
        """What tells the corpus from another."""
        facts = self.corpus.facts
        known = {name: facts.get(name) for name in ("sha256", "valid_sha256", "labels")}
        return known | {name: value for name, value in facts.items() if name == "synthetic_sha256"}

    def _read_again(self, earlier: Mapping[str, Any], names: tuple[str, ...]) -> bool:
        """Read the corpus with the run's tokeniser, in place of the run's tokens."""
        stored = self.folder.tokens / "tokeniser.json"
        if stored.exists():
            tokeniser: Tokeniser | None = load_tokeniser(stored.read_bytes())
        elif self.folder.model.exists():
            tokeniser = load_model(self.folder.model).tokeniser
        else:  # it was killed when it began
            earlier_model = None if self.request.init_from is None else self.open_earlier(self.request.init_from)
            own = None if earlier_model is None else earlier_model.tokeniser
            tokeniser = own or self.teachers.tokeniser(self.request.corpus_options, own)
        self.folder.fresh.mkdir(exist_ok=True)
        self.labels = earlier.get("data", {}).get("labels")
        asked = self.request.as_json()
        try:
            chosen = self._prepared(self.model, tokeniser)
        except BaseException:
            self.folder.abandon()
            raise
        self.folder.take_fresh()
        self.config = {**earlier, **chosen, "asked": asked}
        before = earlier.get("data", {})
        if self.config["data"] == before:
            return True
        if before.get("sha256") != self.config["data"]["sha256"]:
            what, known = ", ".join(names) or "the corpus", earlier.get("files", {})
            has_changed = f"{what} has changed since the run was started: it continues with the new text"
            self.notes.append(
                has_changed if known.keys() >= set(names) else f"the run continues with the text of {what}"
            )
        return False

    def _note_continuation(self, earlier: Mapping[str, Any], asked: Continuation) -> None:
        """Note what a continued run does, and put it into the configuration."""
        before, now = earlier.get("machine", {}).get("device", "cpu"), self.choice.device.type
        if before != now:
            self.notes.append(f"the run was started on {before} and continues on {now}: its last bits will differ")
        so_far, count = earlier.get("machine", {}).get("processes", 1), self.processes.count
        if so_far != count:
            self.notes.append(f"--processes {count} (was {so_far}): the last bits will differ")
            self.config["machine"] = {**earlier.get("machine", {}), "processes": count}
        total = self.run.counters.total
        end = f" to step {total:,}" if total is not None else ""
        if self.run.step:
            self.notes.append(f"continues after step {self.run.step:,}{end}")
        for name, (old, new) in asked.changes.items():
            further = ", as usual for further steps" if name not in asked.given else ""
            self.notes.append(f"{flag(name)} {new} (was {old}{further})")
        self.config["training"] = asdict(self.training)
        self.config["asked"] = self.request.as_json()
        self.config["finished"] = False
        if asked.budget or asked.changes or asked.names_data:
            changes = {name: new for name, (_, new) in asked.changes.items()}
            leg = {"after": self.run.step, **changes}
            self.config["continued"] = [*earlier.get("continued", []), leg]

    def _refuse_other_task(self, config: Mapping[str, Any]) -> None:
        """Raises RunError if the folder's run is of another task."""
        known = {field.name for field in fields(self.request.model)}
        own = TASKS[self.name]
        task = TASKS.get(config.get("task", self.name))
        if task is not own or not known.issuperset(config["model"]):
            command = task.command if task is not None and task is not own else "TASK"
            what = f"holds a run of another task than train {own.command}"
            raise RunError(str(self.folder.path), what, f"nlpseq train {command} --resume --out {self.folder.path}")

    @cached_property
    def teachers(self) -> Teachers:
        """The models to learn from. Raises RunError if one has changed since the run was started."""
        return Teachers.load(self.request.teacher, self.name, self.config.get("teachers"))

    def open_earlier(self, path: Path) -> Model:
        """Load the model to start from. Raises ModelFileError if the task cannot use it."""
        return load_model(path, self.name, "--init-from")

    @abstractmethod
    def prepare(self, model: RecurrentOptions, tokeniser: Tokeniser | None) -> dict[str, Any]:
        """Set `corpus`, `model` and `training` from the request; returns further entries of the configuration."""

    @abstractmethod
    def reopen(self, config: Mapping[str, Any]) -> None:
        """Set `corpus`, and the entries that `prepare` returned, from the run folder."""

    @abstractmethod
    def make_task(self, weights: Mapping[str, Any] | None) -> Any:
        """Make the task, from weights or else from initial ones."""

    @abstractmethod
    def summary(self) -> str:
        """The model and the corpus in one line."""

    def chosen(self) -> str:
        """The values of training, and the kernel with the random seed, in a line each."""
        count = self.processes.count
        several = f"{count} processes | " if count > 1 else ""
        machine = f"{self.choice.reason} | {several}random seed {self.training.random_seed}"
        return f"{chosen_values(self.training, self.run.length)}\n{machine}"

    @property
    def as_many(self) -> list[str]:
        """The option that starts as many processes as this run has; nothing for one."""
        return ["--processes", str(self.processes.count)] if self.processes.count > 1 else []

    @property
    def again(self) -> str:
        """The command that continues the run."""
        return self._resuming(*self.as_many)

    def _resuming(self, *options: str, corpus: Sequence[str] = ()) -> str:
        return resuming(TASKS[self.name], self.folder.path, *options, corpus=corpus, teachers=self.request.teacher)

    @property
    def is_saved(self) -> bool:
        """Whether there is something to continue; a second signal may stop a run before."""
        return self.folder.resume.exists()

    def endings(self) -> list[str]:
        """What to do with the model, and the command that repeats a run of minutes."""
        lines = [f"try: {TASKS[self.name].example} -m {shlex.quote(str(self.folder.path))}"]
        asked = self.request.training
        if asked.steps is None and asked.epochs is None and not self.config.get("continued"):
            again = shlex.join([*self.as_many, "--out", f"{self.folder.path}-again"])
            lines.append(f"the same model again: {command(self.config)} {again}")
        return lines

    def sample(self) -> str | None:
        """A short text by the current model, or None if the task generates no text."""
        return None

    def note_vocabulary(self) -> None:
        """Add a note if the vocabulary is smaller than requested."""
        requested, size = self.request.corpus_options.vocab_size, self.corpus.tokeniser.size
        if requested is not None and size < requested:
            self.notes.append(f"the vocabulary has {size:,} tokens: the corpus does not yield {requested:,}")

    def note_teachers(self) -> None:
        """Add a note on the models to learn from. Raises OptionError for an option that needs one, without one."""
        if self.teachers.paths:
            self.notes.append(f"learns from {' and '.join(self.teachers.paths)}")
        for name in ("soft", "temperature", "originals", "translated"):
            if name in self.request.given and not self.teachers.paths:
                raise OptionError(name, "is for a teacher, and there is none", "--teacher MODEL")

    def progress(self) -> Iterator[Progress]:
        """Train to the end of the budget."""
        keep_freed_memory()
        with rounded_products(self.choice), saying_how_to_go_on(self._after_fault):
            yield from self.run.progress()

    def _after_fault(self) -> str:
        """The command for a run that could no longer be written."""
        return self.run.anew if self.folder.was_put_back else self.again

    def finish(self) -> dict[str, Any]:
        """Score the best model on the whole validation part, write it, and return what `train --json` prints."""
        with saying_how_to_go_on(self._after_fault):
            return self._finish()

    def _finish(self) -> dict[str, Any]:
        if not self.folder.model.exists():
            self.task.save(self.folder.model, self.run.step, self.run.counters.best_loss)
        _, weights = read_tensors(self.folder.model)  # as they are stored
        weights.pop(TOKENISER)
        self.task.load(weights)
        scores = self.task.scores()
        counters = self.run.counters
        self.task.save(self.folder.model, counters.best_step or counters.step, counters.best_loss, scores)
        seconds = time.monotonic() - self.started
        result = {"model": str(self.folder.model), "task": self.name, **run_result(self.run, seconds, scores)}
        self.config |= {"training": asdict(self.task.training), "result": result, "finished": True}
        self.folder.finish(self.config)
        return result
