"""Models side by side: the size of each file, its speed on this machine, and its scores on the same texts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from nlpseq.commands import output
from nlpseq.commands.tables.score_table import broken
from nlpseq.evaluation.scores import shown_value

if TYPE_CHECKING:
    from nlpseq.training.distillation.comparison import Compared

SHOWN = ("bleu", "chrf", "accuracy", "micro_f1", "macro_f1", "loss", "perplexity")
MOST = 3  # scores in a row


def model_lines(rows: Sequence[Compared], unit: str, rates: Sequence[float]) -> list[str]:
    """A line for each model, its size and speed beside those of the first; then what the figures are."""
    scored = {score.name for row in rows for score in row.scores}
    names = [name for name in SHOWN if name in scored][:MOST]
    table = [("", "bytes", f"{unit}/s", "speed", *names)]
    for row, rate in zip(rows, rates, strict=True):
        values = {score.name: shown_value(score.name, score.value) for score in reversed(row.scores)}
        cells = (values.get(name, "-") for name in names)
        model = f"{row.role} {output.printable(row.name)}"
        table.append((model, f"{row.size:,}", f"{rate:,.0f}", f"{rate / rates[0]:.2f}x", *cells))
    lines = [*output.table_lines(table), f"{unit}/s: measured now, on this machine; scores: on the validation part"]
    first = next((score for score in rows[-1].scores if score.name in names), None)
    return lines if first is None else [*lines, "signature:", *broken(first.signature)]


def model_objects(rows: Sequence[Compared], rates: Sequence[float]) -> list[dict[str, Any]]:
    """The same as JSON objects, with all scores."""
    return [
        {
            "role": row.role,
            "model": row.name,
            "bytes": row.size,
            "per_second": rate,
            "scores": [score.as_json() for score in row.scores],
        }
        for row, rate in zip(rows, rates, strict=True)
    ]
