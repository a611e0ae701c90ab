"""What a training run says of itself: the values that were chosen, and its result."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from nlpseq.evaluation.scores import Score
from nlpseq.training.length import DEFAULT_MINUTES, Length
from nlpseq.training.loop import Run
from nlpseq.training.options import TrainingOptions
from nlpseq.training.progress import duration


def chosen_values(training: TrainingOptions, length: Length) -> str:
    """The values of training in one line, those that were chosen and those that were set."""
    total = length.counters.total
    sequence = getattr(training, "sequence_length", None)
    batch = training.batch_size or f"{getattr(training, 'batch_tokens', None)} tokens"
    minutes = training.minutes or DEFAULT_MINUTES
    ngrams = getattr(training, "ngram_dropout", None)
    parts = [
        duration(minutes) if total is None else f"{total:,} steps",
        f"batch {batch}" + (f"x{sequence}" if sequence else ""),
        *([f"{training.accumulate} batches a step"] if training.accumulate > 1 else []),
        f"rate {training.learning_rate:g} ({training.optimiser})",
        f"dropout {training.dropout:g}, of inputs {training.input_dropout:g}"
        + (f", of n-grams {ngrams:g}" if ngrams else ""),
        *([f"validations {length.validations}"] if total is not None else []),
    ]
    return " | ".join(parts)


def run_result(run: Run, seconds: float, scores: Sequence[Score]) -> dict[str, Any]:
    """The steps, the time and the scores of a finished run, as values of JSON."""
    return {
        "steps": run.step,
        "best_step": run.counters.best_step,
        "seconds": round(seconds, 2),
        "tokens_per_second": round(run.counters.tokens / max(run.counters.seconds, 1e-9), 1),
        "valid": _valid(scores),
    }


def _valid(scores: Sequence[Score]) -> dict[str, Any]:
    named = {f"word_{score.name}" if score.unit == "word" else score.name: score.value for score in scores}
    finite = {name: value if math.isfinite(value) else None for name, value in named.items()}
    return {**finite, "signature": scores[0].signature}
