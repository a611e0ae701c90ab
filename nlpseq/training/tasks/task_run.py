"""A training run of any task, from request to model file.

The requested options, and the values chosen for those that were left open, are written to the run folder. A resumed run
reads them from there, and refuses to change them.
"""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any, ClassVar

from nlpseq.errors import OptionError, RunError
from nlpseq.kernels.choice import Choice, choose, rounded_products
from nlpseq.models.model_file import TOKENISER, Model, load_model, read_tensors
from nlpseq.models.options import RecurrentOptions
from nlpseq.native.memory import keep_freed_memory
from nlpseq.options import flag
from nlpseq.tasks import TASKS
from nlpseq.text.formats import need_source
from nlpseq.text.progress import Watch, unwatched
from nlpseq.text.tokenisers import Tokeniser
from nlpseq.training.device_faults import explained
from nlpseq.training.loop import Progress, Run
from nlpseq.training.options import CorpusOptions, TrainingOptions
from nlpseq.training.requests import Request, refuse_changes
from nlpseq.training.run_folder import RunFolder


class TaskRun(ABC):
    """A training run: create it from a request, exhaust `progress`, then call `finish`."""

    name: ClassVar[str]  # of the task, as in the model file
    model: Any
    training: Any
    corpus: Any
    task: Any

    def __init__(self, request: Request, started: float | None = None, watch: Watch = unwatched) -> None:
        """`started` is the time at which the budget began; `watch` is told how far the reading of the corpus is."""
        self.started = time.monotonic() if started is None else started
        self.request = request
        self.watch = watch
        self.notes: list[str] = []
        earlier = None if request.init_from is None else self.open_earlier(request.init_from)
        if earlier is not None and earlier.path.resolve().parent == request.out.resolve() and request.overwrite:
            what = f"is in {request.out}, where --overwrite would replace it by the new model"
            raise OptionError("init_from", what, f"--out {request.out}-2")
        if earlier is not None and not request.resume:
            _refuse_other_tokens(earlier, request.corpus_options)
        model = request.model if earlier is None else _options_of(earlier, request.model)
        self.folder = RunFolder(request.out)
        if request.resume:
            self.folder.open(resume=True, overwrite=request.overwrite)
            self._reopen()
        else:
            self.choice = _choose(request.training, model)
            for name in (*request.files(), *request.valid):
                need_source(name)  # before the folder, whose error may suggest --overwrite
            self.folder.open(resume=False, overwrite=request.overwrite)
            try:
                self._start(earlier, model)
            except BaseException:
                self.folder.abandon()
                raise
        with explained(self.folder.path, self.training):
            self.task = self.make_task(None if earlier is None else earlier.weights)
        self.run = Run(self.task, self.training, self.folder, started=self.started)
        if request.resume:
            self.run.resume()
            self.notes.append(f"continues after step {self.run.step:,}")

    def _start(self, earlier: Model | None, model: RecurrentOptions) -> None:
        """Start a new run: read the corpus, choose the options that were left open, and write the configuration."""
        chosen = self.prepare(model, None if earlier is None else earlier.tokeniser)
        device = self.choice.device.type
        self.notes[:0] = self.corpus.facts.get("notes", [])
        self.folder.begin(
            {
                "task": self.name,
                "asked": self.request.as_json(),
                "model": asdict(self.model),
                "training": asdict(self.training),
                **chosen,
                "machine": {**chosen.get("machine", {}), "kernel": self.choice.reason, "device": device},
            }
        )

    def _reopen(self) -> None:
        """Read corpus and options from the run folder. Raises OptionError if other options are requested now.

        Only the device may differ, and the kernels and precision that are chosen for it.
        """
        config, device = self.folder.read_config(), self.request.training.device
        self._refuse_other_task(config)
        refuse_changes(config["asked"], self.request)
        self.model = replace(self.request.model, **config["model"])
        self.training = replace(self.request.training, **config["training"])
        if device != "auto":
            self.training = replace(self.training, device=device)
        self.choice = _choose(self.training, self.model)
        earlier, now = config.get("machine", {}).get("device", "cpu"), self.choice.device.type
        if earlier != now:
            self.notes.append(f"the run was started on {earlier} and continues on {now}: its last bits will differ")
        self.reopen(config)

    def _refuse_other_task(self, config: Mapping[str, Any]) -> None:
        """Raises RunError if the folder's run is of another task."""
        known = {field.name for field in fields(self.request.model)}
        own = TASKS[self.name]
        task = TASKS.get(config.get("task", self.name))
        if task is not own or not known.issuperset(config["model"]):
            command = task.command if task is not None and task is not own else "TASK"
            what = f"holds a run of another task than train {own.command}"
            raise RunError(str(self.folder.path), what, f"nlpseq train {command} --resume --out {self.folder.path}")

    def open_earlier(self, path: Path) -> Model:
        """Load the model to start from. Raises ModelFileError if the task cannot use it."""
        return load_model(path, self.name)

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
        """The chosen model and training in one line."""

    def sample(self) -> str | None:
        """A short text by the current model, or None if the task generates no text."""
        return None

    def note_vocabulary(self) -> None:
        """Add a note if the vocabulary is smaller than requested."""
        requested, size = self.request.corpus_options.vocab_size, self.corpus.tokeniser.size
        if requested is not None and size < requested:
            self.notes.append(f"the vocabulary has {size:,} tokens: the corpus does not yield {requested:,}")

    def progress(self) -> Iterator[Progress]:
        """Train to the end of the budget."""
        keep_freed_memory()
        with rounded_products(self.choice):
            yield from self.run.progress()

    def finish(self) -> dict[str, Any]:
        """Score the best model on the whole validation part, write it, and return what `train --json` prints."""
        if self.folder.model.exists():
            _, weights = read_tensors(self.folder.model)
            weights.pop(TOKENISER)
            self.task.load(weights)
        scores = self.task.scores()
        self.task.save(self.folder.model, self.run.step, self.run.counters.best_loss, scores)
        self.folder.finish()
        return {
            "model": str(self.folder.model),
            "task": self.name,
            "steps": self.run.step,
            "seconds": round(time.monotonic() - self.started, 2),
            "tokens_per_second": round(self.run.counters.tokens / max(self.run.counters.seconds, 1e-9), 1),
            "valid": _valid(scores),
        }


def _valid(scores: list[Any]) -> dict[str, Any]:
    named = {f"word_{score.name}" if score.unit == "word" else score.name: score.value for score in scores}
    finite = {name: value if math.isfinite(value) else None for name, value in named.items()}
    return {**finite, "signature": scores[0].signature}


def _choose(training: TrainingOptions, model: RecurrentOptions) -> Choice:
    """Choose device, kernels and precision. Raises BackendError if what was requested cannot train the model."""
    return choose(
        training.backend,
        training.precision,
        training.device,
        model.recurrent_cell.name,
        layer_normalisation=model.layer_normalisation,
        zoneout=model.zoneout,
    )


def _options_of(earlier: Model, requested: RecurrentOptions) -> RecurrentOptions:
    """The options of a model to start from. Raises OptionError if other options are requested."""
    options = replace(requested, **earlier.options)
    for field in fields(requested):
        value, old = getattr(requested, field.name), getattr(options, field.name)
        if value not in (field.default, old):
            raise OptionError(field.name, f"is {old} in {earlier.path}, was {value}", f"leave out {flag(field.name)}")
    return options


def _refuse_other_tokens(earlier: Model, requested: CorpusOptions) -> None:
    """Raises OptionError if another tokeniser is requested than that of the model to start from."""
    tokeniser, path = earlier.tokeniser, earlier.path
    if requested.tokens not in ("auto", tokeniser.kind):
        raise OptionError("tokens", f"is {tokeniser.kind} in {path}, was {requested.tokens}", "leave out --tokens")
    if requested.vocab_size not in (None, tokeniser.size):
        what = f"is {tokeniser.size} in {path}, was {requested.vocab_size}"
        raise OptionError("vocab_size", what, "leave out --vocab-size")
