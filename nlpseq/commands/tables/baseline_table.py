"""Baselines on a screen: a line for each score, with the model's value and that of each baseline beside it.

The units are left out of a table that would be wider than the screen. The signatures of the baselines follow. Their
scores are measured as the model's are, so the scores' own signatures are those of the model's scores.
"""

from __future__ import annotations

from collections.abc import Sequence

from nlpseq.commands import output
from nlpseq.commands.tables.score_table import WIDTH, broken
from nlpseq.evaluation.floors.baseline import Baseline
from nlpseq.evaluation.scores import Score
from nlpseq.text.display import display_width


def baseline_lines(scores: Sequence[Score], baselines: Sequence[Baseline]) -> list[str]:
    """The baselines beside a model's scores, and their signatures. Scores that no baseline has are left out."""
    values = [{_key(score): score.shown for score in baseline.scores} for baseline in baselines]
    rows = [
        (score.name, score.unit, score.shown, *(shown.get(_key(score), "") for shown in values))
        for score in scores
        if any(_key(score) in shown for shown in values)
    ]
    rows.insert(0, ("score", "unit", "model", *(baseline.name for baseline in baselines)))
    lines = output.table_lines(rows)
    if max(map(display_width, lines)) > WIDTH:
        lines = output.table_lines([(name, *others) for name, _, *others in rows])
    if signatures := [baseline.signature for baseline in baselines if baseline.signature]:
        lines += ["", "signatures of the baselines:" if len(signatures) > 1 else "signature of the baseline:"]
        lines += [line for signature in signatures for line in broken(signature)]
    return [line.rstrip() for line in lines]


def _key(score: Score) -> tuple[str, str]:
    return score.name, score.unit
