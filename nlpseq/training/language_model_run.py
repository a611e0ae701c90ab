"""A run that trains a language model, from what was asked for to the model file.

What was asked for and what was chosen where it was left open are both written to the run folder, so that a resumed run
asks nobody again. A resumed run takes no other options than those that it was begun with.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from nlpseq.errors import BackendError, OptionError
from nlpseq.kernels.choice import choose, refuse
from nlpseq.kernels.memory import keep_freed_memory
from nlpseq.models.language_model import TASK, LanguageModelOptions, initial_weights
from nlpseq.models.model_file import TOKENISER, Model, load_model, read_tensors
from nlpseq.options import flag
from nlpseq.training.data import TokenisedCorpus, open_tokenised, tokenise_corpus
from nlpseq.training.defaults import DEFAULT_SECONDS, Circumstances, complete, measure_speed
from nlpseq.training.language_model import LanguageModelTask
from nlpseq.training.loop import Progress, Run
from nlpseq.training.options import CorpusOptions, TrainingOptions
from nlpseq.training.run_folder import RunFolder

DEFAULT_CORPUS = "stories"
QUICK_SHARE = 0.004  # of the run's time, for one validation


@dataclass(frozen=True, kw_only=True)
class Request:
    """What a user asks for."""

    corpus: tuple[str, ...] = ()
    valid: tuple[str, ...] = ()
    out: Path = Path("checkpoints/lm")
    resume: bool = False
    overwrite: bool = False
    init_from: Path | None = None
    corpus_options: CorpusOptions = field(default_factory=CorpusOptions)
    model: LanguageModelOptions = field(default_factory=LanguageModelOptions)
    training: TrainingOptions = field(default_factory=TrainingOptions)

    def as_json(self) -> dict[str, Any]:
        """What makes two runs the same run."""
        return {
            "corpus": list(self.corpus),
            "valid": list(self.valid),
            "init_from": None if self.init_from is None else str(self.init_from),
            "corpus_options": asdict(self.corpus_options),
            "model": asdict(self.model),
            "training": asdict(self.training),
        }


class LanguageModelRun:
    """A language model's training run: made from a request, then run by exhausting `progress`, then finished."""

    def __init__(self, request: Request, started: float | None = None) -> None:
        self.started = time.monotonic() if started is None else started
        self.request = request
        self.notes: list[str] = []
        earlier = None if request.init_from is None else load_model(request.init_from, TASK)
        _refuse_lacking(request.training, request.model if earlier is None else _options_of(earlier, request.model))
        self.choice = choose(request.training.backend, request.training.precision, request.training.device)
        self.folder = RunFolder(request.out)
        self.folder.open(resume=request.resume, overwrite=request.overwrite)
        if request.resume:
            self._take_up()
        else:
            try:
                self._set_out(earlier)
            except BaseException:
                self.folder.abandon()
                raise
        self.task = self._make_task(earlier)
        self.run = Run(self.task, self.training, self.folder, started=self.started)
        if request.resume:
            self.run.resume()

    def _set_out(self, earlier: Model | None) -> None:
        """Tokenise the corpus, choose what was left open, and write both down."""
        request = self.request
        asked = request.corpus_options
        if earlier is not None:
            _refuse_other_tokens(earlier, asked)
        self.corpus: TokenisedCorpus = tokenise_corpus(
            request.corpus or (DEFAULT_CORPUS,),
            request.valid,
            self.folder.fresh,
            tokens=asked.tokens,
            vocabulary_size=asked.vocab_size,
            tokeniser=None if earlier is None else earlier.tokeniser,
        )
        self._note_vocabulary(asked.vocab_size)
        model = request.model if earlier is None else _options_of(earlier, request.model)
        speed = measure_speed(self.choice.run_layer)
        facts = Circumstances(len(self.corpus.train), self.corpus.tokeniser.size, self._seconds(), speed)
        self.model, self.training = complete(model, request.training, facts)
        self.quick_tokens = self._quick_tokens(speed)
        self.folder.begin(
            {
                "asked": request.as_json(),
                "model": asdict(self.model),
                "training": asdict(self.training),
                "quick_tokens": self.quick_tokens,
                "machine": {"speed": speed, "kernel": self.choice.reason},
            }
        )

    def _take_up(self) -> None:
        """Read corpus and options back from the run folder. Raises OptionError if other options are asked for now."""
        config = self.folder.read_config()
        _refuse_changes(config["asked"], self.request)
        self.corpus = open_tokenised(self.folder.tokens)
        self.model = LanguageModelOptions(**config["model"])
        self.training = TrainingOptions(**config["training"])
        self.quick_tokens = config["quick_tokens"]

    def _make_task(self, earlier: Model | None) -> LanguageModelTask:
        if earlier is None:
            seed, size = self.training.random_seed, self.corpus.tokeniser.size
            weights = initial_weights(self.model, size, seed, self.corpus.frequencies)
        else:
            weights = earlier.weights
        return LanguageModelTask(
            self.model, self.training, self.corpus, self.choice, weights, quick_tokens=self.quick_tokens
        )

    def _seconds(self) -> float:
        minutes = self.request.training.minutes
        return DEFAULT_SECONDS if minutes is None else minutes * 60

    def _quick_tokens(self, speed: float) -> int:
        """As many validation tokens as a small share of the run's time can score."""
        hidden, embedding = self.model.hidden_size or 0, self.model.embedding_size or 0
        features = embedding if self.model.tied else hidden
        operations = 2 * (4 * hidden * hidden * (2 * self.model.layers - 1) + features * self.corpus.tokeniser.size)
        affordable = 0.3 * QUICK_SHARE * self._seconds() * speed / operations
        return min(len(self.corpus.valid), max(4096, int(affordable)))

    def _note_vocabulary(self, asked: int | None) -> None:
        found = self.corpus.tokeniser.size
        if asked is not None and found < asked:
            self.notes.append(f"asked for a vocabulary of {asked:,}, the corpus gives {found:,}")
        if self.corpus.facts["valid_is"] == "training text":
            self.notes.append("the corpus is too short to hold a tenth out: validation is on the training text")

    def summary(self) -> str:
        """What was decided, in one line."""
        sizes = {name: value.numel() / 1e6 for name, value in self.task.parameters.items()}
        ngrams = sizes.get("ngrams.weight", 0.0)
        of_which = f" ({ngrams:.2f} M for n-grams)" if ngrams else ""
        tokeniser, model = self.corpus.tokeniser, self.model
        return (
            f"{model.cell} {model.layers}x{model.hidden_size} | {sum(sizes.values()):.2f} M parameters{of_which} | "
            f"{tokeniser.kind} vocabulary of {tokeniser.size:,} | {len(self.corpus.train):,} tokens | "
            f"{self.choice.reason} | random seed {self.training.random_seed}"
        )

    def progress(self) -> Iterator[Progress]:
        """Train, to the end of the budget."""
        keep_freed_memory()
        yield from self.run.progress()

    def finish(self) -> dict[str, Any]:
        """Score the best model on the whole validation part, write it, and tidy up; what `train --json` prints."""
        if self.folder.model.exists():
            _, weights = read_tensors(self.folder.model)
            weights.pop(TOKENISER)
            self.task.load(weights)
        scores = self.task.scores()
        self.task.save(self.folder.model, self.run.step, self.run.best, scores)
        self.folder.finish()
        return {
            "model": str(self.folder.model),
            "task": TASK,
            "steps": self.run.step,
            "seconds": round(time.monotonic() - self.started, 2),
            "tokens_per_second": round(self.run.tokens / max(self.run.seconds, 1e-9), 1),
            "valid": _valid(scores),
        }


def _valid(scores: list[Any]) -> dict[str, Any]:
    named = {f"{score.name}" if score.unit != "word" else f"word_{score.name}": score.value for score in scores}
    finite = {name: value if math.isfinite(value) else None for name, value in named.items()}
    return {**finite, "signature": scores[0].signature}


def _refuse_lacking(training: TrainingOptions, model: LanguageModelOptions) -> None:
    """Raises BackendError, before anything is spent, where what was asked for cannot train such a model."""
    if training.device == "cuda":
        raise BackendError("--device", "training runs on the CPU in this version, not on cuda", "--device cpu")
    cell, zoneout = model.recurrent_cell.name, model.zoneout
    refuse(training.backend, cell, layer_normalisation=model.layer_normalisation, zoneout=zoneout)


def _options_of(earlier: Model, asked: LanguageModelOptions) -> LanguageModelOptions:
    """The options of a model to start from. Raises OptionError where others are asked for."""
    found = LanguageModelOptions(**earlier.options)
    for one in fields(asked):
        wanted, there = getattr(asked, one.name), getattr(found, one.name)
        if wanted not in (one.default, there):
            raise OptionError(
                flag(one.name), f"is {there} in {earlier.path}, was {wanted}", f"leave out {flag(one.name)}"
            )
    return found


def _refuse_other_tokens(earlier: Model, asked: CorpusOptions) -> None:
    """A model to start from brings its tokeniser. Raises OptionError where another is asked for."""
    found = earlier.tokeniser
    if asked.tokens not in ("auto", found.kind):
        raise OptionError("--tokens", f"is {found.kind} in {earlier.path}, was {asked.tokens}", "leave out --tokens")
    if asked.vocab_size not in (None, found.size):
        raise OptionError(
            "--vocab-size", f"is {found.size} in {earlier.path}, was {asked.vocab_size}", "leave out --vocab-size"
        )


def _refuse_changes(begun: dict[str, Any], request: Request) -> None:
    """Raises OptionError if a request to resume asks for something else than the run was begun with."""
    now, plain = request.as_json(), Request().as_json()
    for section in ("corpus_options", "model", "training"):
        for name, value in now[section].items():
            if value not in (plain[section][name], begun[section].get(name)):
                raise OptionError(
                    flag(name),
                    f"was {begun[section].get(name)} when the run was begun, is {value} now",
                    f"leave out {flag(name)}",
                )
    for name in ("corpus", "valid", "init_from"):
        if now[name] not in (plain[name], begun[name]):
            raise OptionError(name, f"was {begun[name]} when the run was begun, is {now[name]} now", "leave it out")
