"""What a training run says: lines for people, and objects for programs.

The losses have names: `training` is that of one step, `validation (quick)` that of a part of the validation texts, and
`validation (all)` that of all of them, which is measured once, after the last step.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nlpseq.commands.output import printable
from nlpseq.tasks import Task
from nlpseq.text.display import quoted

if TYPE_CHECKING:  # both import torch
    from nlpseq.training.progress import Progress
    from nlpseq.training.requests import Request
    from nlpseq.training.tasks.task_run import TaskRun

SCORES = (  # of a run, in its last line: the name, the words and the format
    ("accuracy", "accuracy", ".2f"),
    ("micro_f1", "micro-F1", ".2f"),
    ("macro_f1", "macro-F1", ".2f"),
    ("exact_match", "exact match", ".2f"),
    ("expected_calibration_error", "calibration error", ".4f"),
    ("loss", "loss", ".4f"),
    ("perplexity", "perplexity", ".2f"),
    ("bits_per_byte", "bits per byte", ".4f"),
)
CRITERIA = {"micro-f1": "micro-F1", "macro-f1": "macro-F1"}  # values of --criterion whose names differ in messages
MOST_NAMES = 3  # of corpora in the first line
LONGEST_REASON = 120  # characters
NOTHING_TRAINED = "stopped before the first step: nothing was trained"
AS_IT_WAS = "stopped before the next step: the run is as it was"


def reading(task: Task, request: Request) -> str:
    """The first line of a run: what it reads."""
    if request.resume:
        return f"continuing the run in {printable(str(request.out))}"
    names = ["standard input" if name == "-" else printable(name) for name in request.files()] or [task.corpus]
    rest = len(names) - MOST_NAMES
    return f"reading {', '.join(names[:MOST_NAMES])}" + (f" and {rest} more" if rest > 0 else "")


def share_read(done: int, total: int | None) -> str:
    """How far the reading is: in per cent, or as a number if the whole is not known."""
    return f"{min(done / total, 1):.0%}" if total else f"{done:,}"


@dataclass(frozen=True)
class Sample:
    """A text that the model generated at a validation, or the reason why it made none."""

    text: str | None
    fault: str = ""

    def line(self) -> str:
        """The sample in one line, control characters escaped."""
        return f"  sample: none ({self.fault})" if self.text is None else f"  sample: {quoted(self.text)}"


def draw_sample(run: TaskRun) -> Sample | None:
    """A sample of the model as it is now, or None if its task generates no text. A run never ends by its failure."""
    import numpy as np

    try:
        with np.errstate(all="ignore"):
            text = run.sample()
    except Exception as error:  # a diverged model may fail anywhere
        return Sample(None, f"{type(error).__name__}: {printable(str(error))}"[:LONGEST_REASON])
    return None if text is None else Sample(text)


def describe(progress: Progress) -> str:
    """A step in one line: number, loss, perplexity, speed, gradient norm, time left, results of a validation."""
    if progress.note:
        return printable(progress.note)
    items = [
        steps(progress),
        training_loss(progress),
        *([f"perplexity {_perplexity(progress.loss)}"] if progress.unit == "token" else []),
        speed(progress),
        f"gradient {progress.gradient_norm:.2f}",
        *([] if progress.seconds_left is None else [time_left(progress)]),
        *([] if progress.validation is None else [_validation(progress)]),
    ]
    return "  ".join(items)


def describe_validation(progress: Progress) -> str:
    """A validation in one line, which stays above the bar."""
    return "  ".join([steps(progress), training_loss(progress), _validation(progress)])


def steps(progress: Progress) -> str:
    """`step 205/1,634`; before the number of steps is known, `step 3/?`."""
    return f"step {progress.step:,}/{'?' if progress.total is None else f'{progress.total:,}'}"


def training_loss(progress: Progress) -> str:
    """The loss of the step."""
    return f"training {progress.loss:.4f}"


def best_result(progress: Progress) -> str:
    """The result of a validation as the best so far: the score that the best model is chosen by."""
    if progress.score is not None:
        return f"best {_criterion(progress)} {progress.score:.2f}"
    return f"best validation {progress.validation:.4f}"


def speed(progress: Progress) -> str:
    """`53,696 tokens/s`, or texts."""
    return f"{progress.tokens_per_second:,.0f} {progress.unit}s/s"


def time_left(progress: Progress | None) -> str:
    """`0:54 left`, or `-:-- left` as long as it is not known."""
    if progress is None or progress.seconds_left is None:
        return "-:-- left"
    minutes, seconds = divmod(round(progress.seconds_left), 60)
    clock = f"{minutes // 60}:{minutes % 60:02}:{seconds:02}" if minutes >= 60 else f"{minutes}:{seconds:02}"
    return f"{clock} left"


def _validation(progress: Progress) -> str:
    score = "" if progress.score is None else f"  {_criterion(progress)} {progress.score:.2f}"
    return f"validation (quick) {progress.validation:.4f}{score}{' (best)' if progress.best else ''}"


def _criterion(progress: Progress) -> str:
    name = progress.criterion or ""
    return CRITERIA.get(name, name)


def _perplexity(loss: float) -> str:
    return f"{math.exp(loss):,.2f}" if loss < 50 else "huge"


def as_event(progress: Progress, sample: Sample | None) -> dict[str, Any]:
    """A step as an object with its `event`: `step`, `validation` or `note`."""
    if progress.note:
        return {"event": "note", "step": progress.step, "total": progress.total, "note": progress.note}
    step = {
        "step": progress.step,
        "total": progress.total,
        "loss": progress.loss,
        "gradient_norm": progress.gradient_norm,
        "rate": progress.rate,
        "unit": progress.unit,
        "tokens": progress.tokens,
        "tokens_per_second": progress.tokens_per_second,
        "seconds_left": progress.seconds_left,
    }
    if progress.validation is None:
        return {"event": "step", **step}
    return {
        "event": "validation",
        **step,
        "validation_loss": progress.validation,
        "criterion": progress.criterion or "loss",
        "score": progress.score,
        "best": progress.best,
        "sample": sample and sample.text,
    }


def result_line(result: Mapping[str, Any]) -> str:
    """The result of a run: its model, its length and the scores of the whole validation part; then their signature."""
    valid = result["valid"]
    shown = [
        f"{words} {'none' if valid[name] is None else format(valid[name], form)}"
        for name, words, form in SCORES
        if name in valid
    ]
    best = f" (best after {result['best_step']})" if result["best_step"] not in (0, result["steps"]) else ""
    steps = "1 step" if result["steps"] == 1 else f"{result['steps']} steps"
    length = f"{steps}{best} in {result['seconds']} s"
    line = "  ".join([result["model"], length, f"validation (all): {shown[0]}", *shown[1:]])
    return f"{line}\n{valid['signature']}"


def continuing(run: TaskRun) -> str:
    """The command that continues a stopped run, or "" if nothing was saved."""
    return run.again if run.is_saved else ""


def stopped(run: TaskRun | None, *, resumed: bool) -> str:
    """What a stopped run says, and how to continue it; no run was there yet if it was stopped while reading."""
    if run is None:
        return AS_IT_WAS if resumed else NOTHING_TRAINED
    if command := continuing(run):
        return f"stopped at step {run.run.step}; continue with: {command}"
    if not run.run.step:
        return NOTHING_TRAINED
    return f"stopped at step {run.run.step}, before anything was saved for --resume"
