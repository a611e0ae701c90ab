"""What is compared, and the record of the result."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from nlpseq.evaluation.comparison.intervals import Interval, LibraryInterval
from nlpseq.evaluation.comparison.measures import Measure, Measured

LIKELY = 0.05  # a difference with a larger p-value is not called one
RANDOMISATION, BOOTSTRAP, SEEDS = "randomisation", "bootstrap", "seeds"  # ways to find a p-value
PAIRED_BS, PAIRED_AR = "sacrebleu_paired_bs", "sacrebleu_paired_ar"


@dataclass(frozen=True)
class Outputs:
    """What one model, or file, put out for all units, measured; `name` is that of the model."""

    name: str
    measured: Sequence[Measured]


@dataclass(frozen=True)
class Side:
    """What is compared with another: one model, or several that differ in their random seeds only."""

    name: str
    outputs: Sequence[Outputs]


@dataclass(frozen=True)
class Units:
    """The units of a text: their number, and the fields of a signature that name them and the text."""

    count: int
    signature: str
    noun: str = "line"


@dataclass(frozen=True)
class SideScore:
    """The score of a side: the mean of its models, their scores, and their standard deviation if they are several."""

    name: str
    value: float
    interval: Interval
    models: dict[str, float]
    spread: float | None
    sacrebleu: LibraryInterval | None


@dataclass(frozen=True)
class Difference:
    """How much higher the score of a side is than that of the first side."""

    name: str
    value: float
    interval: Interval
    p_values: dict[str, float]  # by the way to find them; the first decides
    better: str | None  # the side that is better; None if the difference may be chance
    equal: bool  # whether the two are alike in every unit

    @property
    def p(self) -> float:
        """The p-value that decides."""
        return next(iter(self.p_values.values()))


@dataclass(frozen=True)
class Compared:
    """The comparison of all sides by one measure."""

    measure: Measure
    signature: str
    sides: list[SideScore]
    differences: list[Difference]  # of each side but the first
    noun: str = "line"  # of the units

    def as_json(self) -> dict[str, Any]:
        """The comparison as a JSON object."""
        return {
            "name": self.measure.name,
            "unit": self.measure.unit,
            "lower_is_better": self.measure.lower_is_better,
            "signature": self.signature,
            "sides": [_side_json(side) for side in self.sides],
            "differences": [asdict(each) | {"interval": list(each.interval)} for each in self.differences],
        }


@dataclass(frozen=True)
class Comparison:
    """Sides compared on one text by one or more measures."""

    units: Units
    compared: list[Compared]

    def as_json(self) -> dict[str, Any]:
        """The comparison as a JSON object."""
        return {"units": self.units.count, "scores": [each.as_json() for each in self.compared]}


def _side_json(side: SideScore) -> dict[str, Any]:
    library = None if side.sacrebleu is None else side.sacrebleu._asdict()
    return asdict(side) | {"interval": list(side.interval), "sacrebleu": library}
