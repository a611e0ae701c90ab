"""The trials of a search on a screen, and the scores of its models on the part that no trial saw."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from nlpseq.commands import output
from nlpseq.commands.tables.score_table import broken
from nlpseq.evaluation.scores import shown_value
from nlpseq.options import flag
from nlpseq.training.tuning.trial import Trial

SHOWN = ("accuracy", "micro_f1", "bleu", "loss", "perplexity")  # of a trial: the first two that it has
MOST = 2
OF_TEST = ("accuracy", "micro_f1", "macro_f1", "bleu", "chrf", "loss", "perplexity", "bits_per_byte")
HEADINGS, OPTIONS = ("trial", "state", "value", "score", "steps", "seconds"), "options"
INDENT = "      "  # before options that are below their trial
BEST = "*"

_BETWEEN = re.compile(r" +(?=--|\()")  # options, and the reason behind them


def trial_line(trial: Trial, width: int | None = None) -> list[str]:
    """A trial that has ended, in one line; its options and its reason are below it if that is longer than `width`."""
    why = f" ({trial.reason})" if trial.reason else ""
    value = "" if trial.value is None else f"value {trial.value:.3f}"
    state, *others = f"trial {trial.number}: {trial.state}", value, _scores(trial.scores), f"{trial.seconds:.0f} s"
    whole = _joined(f"{state}{why}", *others, options_text(trial.options))
    if width is None or len(whole) <= width:
        return [whole]
    return _with_options(_joined(state, *others), _all_options(trial.as_json()), width)


def _joined(*parts: str) -> str:
    return "  ".join(output.printable(part) for part in parts if part)


def trial_lines(trials: Sequence[Mapping[str, Any]], best: int, width: int | None = None) -> list[str]:
    """The table of all trials, as JSON objects; the best is marked.

    Options are in the last column, or below the row that would be longer than `width` with them.
    """
    rows = [
        (
            f"{trial['number']}{BEST if trial['number'] == best else ''}",
            trial["state"],
            "-" if trial["value"] is None else f"{trial['value']:.3f}",
            _scores(trial["scores"]) or "-",
            "-" if trial["steps"] is None else str(trial["steps"]),
            f"{trial['seconds']:.0f}",
        )
        for trial in trials
    ]
    lines = output.table_lines([HEADINGS, *rows])
    longest = max(map(len, lines))
    options = [OPTIONS, *map(_all_options, trials)]
    pairs = zip(lines, options, strict=True)
    return [piece for line, text in pairs for piece in _with_options(line.ljust(longest), text, width)]


def _with_options(line: str, options: str, width: int | None) -> list[str]:
    """A line with options at its end, or if that is longer than `width`, in indented lines below it."""
    whole = f"{line}  {options}"
    if width is None or len(whole) <= width:
        return [whole]
    found = [line.rstrip(), INDENT]
    for piece in _BETWEEN.split(options):
        if found[-1] != INDENT and len(found[-1]) + 1 + len(piece) > width:
            found.append(INDENT)
        found[-1] += f"{' ' * (found[-1] != INDENT)}{piece}"
    return found


def evaluation_lines(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """The scores on the test part, a line for each model; then the signatures of the scores of the last one."""
    if not rows:
        return []
    names = [name for name in OF_TEST if any(score["name"] == name for score in rows[0]["scores"])]
    table = [("on the test part", "trial", "steps", "seconds", *names)]
    for row in rows:
        values = {score["name"]: score for score in reversed(row["scores"])}
        cells = (shown_value(name, values[name]["value"]) for name in names)
        table.append((row["run"], str(row["trial"]), str(row["steps"]), f"{row['seconds']:.0f}", *cells))
    scores = {score["name"]: score for score in reversed(rows[-1]["scores"])}
    main = scores[names[0]]
    return [*output.table_lines(table), *_doubt(main), "signature:", *broken(main["signature"])]


def _doubt(score: Mapping[str, Any]) -> list[str]:
    """How far the accuracy would change with other texts.

    The standard error is that at Laplace's estimate (k + 1) / (n + 2), which is neither 0 nor 1 for any k of n texts.
    """
    texts = score["parts"].get("texts")
    if score["name"] != "accuracy" or not texts:
        return []
    fraction = (score["value"] / 100 * texts + 1) / (texts + 2)
    error = 100 * math.sqrt(fraction * (1 - fraction) / texts)
    return [f"{texts:,.0f} texts: the standard error of an accuracy is {error:.1f} points"]


def options_text(options: Mapping[str, Any]) -> str:
    """Options as they are typed, or a word for none."""
    return " ".join(f"{flag(name)} {value}" for name, value in options.items()) or "defaults"


def _all_options(trial: Mapping[str, Any]) -> str:
    """The options of a trial, and why it was stopped or trained."""
    reason = f"  ({trial['reason']})" if trial["reason"] else ""
    return output.printable(f"{options_text(trial['options'])}{reason}")


def _scores(scores: Mapping[str, Any]) -> str:
    shown = [name for name in SHOWN if scores.get(name) is not None][:MOST]
    return "  ".join(f"{name.replace('_', '-')} {scores[name]:.4g}" for name in shown)
