"""The scores of a baseline, and a report that has them beside those of a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from nlpseq.evaluation.scores import Score


@dataclass(frozen=True)
class Baseline:
    """What a simple means reaches on the texts that a model is evaluated on.

    Its scores are measured as the model's are, so their signatures agree. `signature` says what the baseline is, and
    which text it was trained on.
    """

    name: str
    signature: str
    scores: list[Score]

    def as_json(self) -> dict[str, Any]:
        """The baseline as a JSON object."""
        return {"name": self.name, "signature": self.signature, "scores": [score.as_json() for score in self.scores]}


@dataclass(frozen=True)
class Report:
    """The scores of a model, and the baselines beside it if they were asked for."""

    scores: list[Score]
    baselines: list[Baseline] = field(default_factory=list)


def with_values(scores: Sequence[Score], values: Mapping[str, float]) -> list[Score]:
    """The scores of a baseline that has `values` by name where a model has `scores`."""
    return [replace(score, value=values[score.name], parts={}) for score in scores if score.name in values]
