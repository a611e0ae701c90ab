"""Rates: how much is done in a second, by ours and by a neighbour in the same run."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Throughput:
    """Units per second, medians. The neighbour's rate is None if it does not have the model's cell."""

    what: str
    unit: str
    ours_per_second: float
    neighbour: str
    neighbour_per_second: float | None

    @property
    def ratio(self) -> float | None:
        """How many times faster ours is."""
        theirs = self.neighbour_per_second
        return None if theirs is None else self.ours_per_second / theirs

    def as_json(self) -> dict[str, Any]:
        """What `nlpseq bench translate --json` writes; `score` and `classify` too."""
        return {**asdict(self), "ratio": self.ratio}

    def rows(self, ratio_name: str = "ratio", separator: str = ",") -> list[tuple[str, str]]:
        """A table of names and values; `separator` stands between thousands, and may be empty."""
        theirs, ratio = self.neighbour_per_second, self.ratio
        return [
            ("ours", f"{self.ours_per_second:{separator}.0f} {self.unit} a second"),
            (self.neighbour, "has no such cell" if theirs is None else f"{theirs:{separator}.0f} {self.unit} a second"),
            (ratio_name, "-" if ratio is None else f"{ratio:.2f}"),
        ]
