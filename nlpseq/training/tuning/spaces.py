"""The spaces that a search draws from: for each task the options that matter most, with a few values each.

Most values are relative to the default's own, which depends on the corpus and the budget: `times` are factors of it,
and `plus` is added to it. So a space suits small and large corpora, and a value that was found in short trials can be
used in a longer run. An option is left out of a search if the user has set it, if its default is not among the values
and they have no order, or if it belongs to a model to start from.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nlpseq import tasks
from nlpseq.training.pretraining.refusals import BEFORE
from nlpseq.training.requests import Request

IS, TIMES, PLUS = "is", "times", "plus"
NESTED = ("corpus_options", "model", "training")
OF_MODEL = ("corpus_options", "model")  # set by the model that a run starts from
WIDE, MULTIPLE = 32, 8  # a size from WIDE on is rounded to a multiple
LARGEST_FRACTION = 0.9
LENGTH = ("minutes", "steps", "epochs", "resume", "processes")
NOT_TUNED = (*LENGTH, *BEFORE)  # options of a run that its search does not have

Values = dict[str, Any]  # by option; those that are left open are not among them


@dataclass(frozen=True)
class Dimension:
    """An option, and the values that a search may give it."""

    name: str
    values: tuple[Any, ...]
    relation: str = IS  # of the values to the default's
    ordered: bool = True  # whether neighbours in `values` are alike

    def start(self, default: Any) -> int | None:
        """The index of the default's value, or of the nearest one; None if it has no place among the values."""
        if default is None:
            return None
        if self.relation != IS:
            return self.values.index(1 if self.relation == TIMES else 0)
        if not self.ordered:
            return self.values.index(default) if default in self.values else None
        return min(range(len(self.values)), key=lambda index: abs(self.values[index] - default))

    def value(self, index: int, default: Any, limits: Mapping[str, float | None]) -> Any:
        """The value of an index for a run whose default is `default`, within the limits of the option."""
        value = self.values[index]
        if self.relation == IS:
            return value
        if self.relation == PLUS:
            most = LARGEST_FRACTION if limits.get("below") == 1 else limits.get("maximum")
            return round(_within(default + value, limits.get("minimum"), most), 3)
        if isinstance(default, int):
            return int(_within(_rounded(default * value), limits.get("minimum"), limits.get("maximum")))
        return float(f"{_within(default * value, limits.get('minimum'), limits.get('maximum')):.2g}")


def _rounded(size: float) -> int:
    return max(1, round(size)) if size < WIDE else MULTIPLE * round(size / MULTIPLE)


def _within(value: float, least: float | None, most: float | None) -> float:
    return min(max(value, -math.inf if least is None else least), math.inf if most is None else most)


RATES = Dimension("learning_rate", (0.35, 0.5, 0.7, 1, 1.4, 2, 2.8), TIMES)
DROPOUT = Dimension("dropout", (-0.2, -0.1, 0, 0.1, 0.2), PLUS)

SPACES: dict[str, tuple[Dimension, ...]] = {
    tasks.LANGUAGE_MODEL.name: (
        RATES,
        DROPOUT,
        Dimension("input_dropout", (-0.1, 0, 0.1, 0.2), PLUS),
        Dimension("hidden_size", (0.7, 1, 1.4), TIMES),
        Dimension("layers", (1, 2)),
        Dimension("anneal", (0.5, 0.7, 0.9, 1.0)),
        Dimension("batch_size", (0.5, 1, 2), TIMES),
    ),
    tasks.CLASSIFIER.name: (
        RATES,
        DROPOUT,
        Dimension("embedding_dropout", (0.0, 0.1, 0.2, 0.3, 0.4)),
        Dimension("label_smoothing", (0.0, 0.05, 0.1, 0.2)),
        Dimension("hidden_size", (0.5, 1, 2, 3), TIMES),
        Dimension("ngrams", (1, 2, 3, 4)),
        Dimension("evidence", (0, 1, 2, 3)),
        Dimension("tokens", ("bpe", "word"), ordered=False),
        Dimension("vocab_size", (0.25, 0.5, 1, 2), TIMES),
        Dimension("epochs", (0.5, 0.7, 1, 1.5, 2), TIMES),  # only if trials are complete runs
    ),
    tasks.TRANSLATOR.name: (
        RATES,
        DROPOUT,
        Dimension("label_smoothing", (0.0, 0.05, 0.1, 0.2)),
        Dimension("vocab_size", (0.5, 1, 2), TIMES),
        Dimension("hidden_size", (0.75, 1, 1.5), TIMES),
        Dimension("batch_size", (0.5, 1, 2), TIMES),
        Dimension("anneal", (0.5, 0.7, 0.9, 1.0)),
    ),
}


class Space:
    """The options that one search draws values for."""

    def __init__(self, dimensions: Sequence[Dimension], request: Request, defaults: Mapping[str, Any]) -> None:
        """`defaults` are the values of the run with the request's own options, by option; None: not known, or unused.

        Dimensions of options that the request sets are left out.
        """
        fields = {name: (owner, field.metadata["limits"]) for owner, name, field in option_fields(request)}
        starts = {
            dimension: dimension.start(defaults.get(dimension.name))
            for dimension in dimensions
            if dimension.name not in request.given
            and not (request.init_from is not None and fields[dimension.name][0] in OF_MODEL)
        }
        self.dimensions = tuple(dimension for dimension, start in starts.items() if start is not None)
        self.start = tuple(start for start in starts.values() if start is not None)  # the indices of the defaults
        self._limits = {name: limits for name, (_, limits) in fields.items()}

    def values(self, indices: Sequence[int], defaults: Mapping[str, Any]) -> Values:
        """The options of a trial that differ from the defaults of a run, which are `defaults`."""
        found = {}
        for dimension, index, start in zip(self.dimensions, indices, self.start, strict=True):
            default = defaults.get(dimension.name)
            if index != start and default is not None:
                found[dimension.name] = dimension.value(index, default, self._limits[dimension.name])
        return {name: value for name, value in found.items() if value != defaults[name]}

    def is_relative(self, indices: Sequence[int]) -> bool:
        """Whether a value depends on the default's."""
        chosen = zip(self.dimensions, indices, self.start, strict=True)
        return any(dimension.relation != IS and index != start for dimension, index, start in chosen)


def option_fields(request: Request) -> Iterator[tuple[str, str, Any]]:
    """The nested dataclass, the name and the field of every option of a request that a search may change."""
    for owner in NESTED:
        for field in dataclasses.fields(getattr(request, owner)):
            if "limits" in field.metadata:
                yield owner, field.name, field


def with_values(request: Request, values: Mapping[str, Any], **others: Any) -> Request:
    """The request with options set by their flat names, and `others`, which are fields of the request itself.

    Raises OptionError for values that are not allowed, or not together.
    """
    owners: dict[str, dict[str, Any]] = {owner: {} for owner in NESTED}
    known = {name: owner for owner, name, _ in option_fields(request)}
    for name, value in values.items():
        owners[known[name]][name] = value
    nested = {owner: dataclasses.replace(getattr(request, owner), **own) for owner, own in owners.items()}
    return dataclasses.replace(request, **nested, **others, given=request.given | set(values))
