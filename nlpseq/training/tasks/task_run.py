"""A training run of any task, from what was asked for to the model file.

What was asked for and what was chosen where it was left open are both written to the run folder, so that a resumed run
asks nobody again. A resumed run takes no other options than those that it was begun with.
"""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any, ClassVar

from nlpseq.errors import OptionError
from nlpseq.kernels.choice import Choice, choose, rounded_products
from nlpseq.models.model_file import TOKENISER, Model, load_model, read_tensors
from nlpseq.models.options import RecurrentOptions
from nlpseq.native.memory import keep_freed_memory
from nlpseq.options import flag
from nlpseq.text.formats import need_source
from nlpseq.text.tokenisers import Tokeniser
from nlpseq.training.device_faults import explained
from nlpseq.training.loop import Progress, Run
from nlpseq.training.options import CorpusOptions, TrainingOptions
from nlpseq.training.requests import Request, refuse_changes
from nlpseq.training.run_folder import RunFolder


class TaskRun(ABC):
    """A training run: made from a request, then run by exhausting `progress`, then finished."""

    name: ClassVar[str]  # of the task, as in its model file
    model: Any
    training: Any
    corpus: Any
    task: Any

    def __init__(self, request: Request, started: float | None = None) -> None:
        self.started = time.monotonic() if started is None else started
        self.request = request
        self.notes: list[str] = []
        earlier = None if request.init_from is None else self.open_earlier(request.init_from)
        if earlier is not None and earlier.path.resolve().parent == request.out.resolve() and request.overwrite:
            what = f"is in {request.out}, where --overwrite would put the new model in its place"
            raise OptionError("init_from", what, f"--out {request.out}-2")
        if earlier is not None and not request.resume:
            _refuse_other_tokens(earlier, request.corpus_options)
        model = request.model if earlier is None else _options_of(earlier, request.model)
        self.folder = RunFolder(request.out)
        if request.resume:
            self.folder.open(resume=True, overwrite=request.overwrite)
            self._take_up()
        else:
            self.choice = _choose(request.training, model)
            for name in (*request.files(), *request.valid):
                need_source(name)  # before a hint to overwrite what is in the folder
            self.folder.open(resume=False, overwrite=request.overwrite)
            try:
                self._set_out(earlier, model)
            except BaseException:
                self.folder.abandon()
                raise
        with explained(self.folder.path, self.training):
            self.task = self.make_task(None if earlier is None else earlier.weights)
        self.run = Run(self.task, self.training, self.folder, started=self.started)
        if request.resume:
            self.run.resume()
            self.notes.append(f"goes on after step {self.run.step:,}")

    def _set_out(self, earlier: Model | None, model: RecurrentOptions) -> None:
        """Read the corpus, choose what was left open, and write both down."""
        chosen, device = self.prepare(model, None if earlier is None else earlier.tokeniser), self.choice.device.type
        self.notes[:0] = self.corpus.facts.get("notes", [])
        self.folder.begin(
            {
                "asked": self.request.as_json(),
                "model": asdict(self.model),
                "training": asdict(self.training),
                **chosen,
                "machine": {**chosen.get("machine", {}), "kernel": self.choice.reason, "device": device},
            }
        )

    def _take_up(self) -> None:
        """Read everything back from the run folder. Raises OptionError if other options are asked for now.

        The device alone may be another one, with what is chosen for it.
        """
        config, wanted = self.folder.read_config(), self.request.training.device
        refuse_changes(config["asked"], self.request)
        self.model = replace(self.request.model, **config["model"])
        self.training = replace(self.request.training, **config["training"])
        if wanted != "auto":
            self.training = replace(self.training, device=wanted)
        self.choice = _choose(self.training, self.model)
        begun_on, now = config.get("machine", {}).get("device", "cpu"), self.choice.device.type
        if begun_on != now:
            self.notes.append(f"the run was begun on {begun_on} and goes on on {now}: not to the same bits")
        self.reopen(config)

    def open_earlier(self, path: Path) -> Model:
        """The model to start from. Raises ModelFileError where it is of no use to the task."""
        return load_model(path, self.name)

    @abstractmethod
    def prepare(self, model: RecurrentOptions, tokeniser: Tokeniser | None) -> dict[str, Any]:
        """Set corpus, model and training from the request; what else is to be written down."""

    @abstractmethod
    def reopen(self, config: Mapping[str, Any]) -> None:
        """Set the corpus, and what `prepare` returned, from a run folder."""

    @abstractmethod
    def make_task(self, weights: Mapping[str, Any] | None) -> Any:
        """The task, from weights or from initial ones."""

    @abstractmethod
    def summary(self) -> str:
        """What was decided, in one line."""

    def sample(self) -> str | None:
        """A short text by the model as it is now, or None for a task that makes no text."""
        return None

    def note_vocabulary(self) -> None:
        """Say so where the corpus gives fewer tokens than were asked for."""
        asked, found = self.request.corpus_options.vocab_size, self.corpus.tokeniser.size
        if asked is not None and found < asked:
            self.notes.append(f"asked for a vocabulary of {asked:,}, the corpus gives {found:,}")

    def progress(self) -> Iterator[Progress]:
        """Train, to the end of the budget."""
        keep_freed_memory()
        with rounded_products(self.choice):
            yield from self.run.progress()

    def finish(self) -> dict[str, Any]:
        """Score the best model on the whole validation part, write it, and tidy up; what `train --json` prints."""
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
    named = {f"{score.name}" if score.unit != "word" else f"word_{score.name}": score.value for score in scores}
    finite = {name: value if math.isfinite(value) else None for name, value in named.items()}
    return {**finite, "signature": scores[0].signature}


def _choose(training: TrainingOptions, model: RecurrentOptions) -> Choice:
    """What trains such a model. Raises BackendError, before anything is spent, if what was asked for cannot."""
    return choose(
        training.backend,
        training.precision,
        training.device,
        model.recurrent_cell.name,
        layer_normalisation=model.layer_normalisation,
        zoneout=model.zoneout,
    )


def _options_of(earlier: Model, asked: RecurrentOptions) -> RecurrentOptions:
    """The options of a model to start from. Raises OptionError where others are asked for."""
    found = replace(asked, **earlier.options)
    for one in fields(asked):
        wanted, there = getattr(asked, one.name), getattr(found, one.name)
        if wanted not in (one.default, there):
            raise OptionError(one.name, f"is {there} in {earlier.path}, was {wanted}", f"leave out {flag(one.name)}")
    return found


def _refuse_other_tokens(earlier: Model, asked: CorpusOptions) -> None:
    """A model to start from brings its tokeniser. Raises OptionError where another is asked for."""
    found = earlier.tokeniser
    if asked.tokens not in ("auto", found.kind):
        raise OptionError("tokens", f"is {found.kind} in {earlier.path}, was {asked.tokens}", "leave out --tokens")
    if asked.vocab_size not in (None, found.size):
        raise OptionError(
            "vocab_size", f"is {found.size} in {earlier.path}, was {asked.vocab_size}", "leave out --vocab-size"
        )
