"""The progress of a run, as its caller sees it: a record for each step. torch is not imported here."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Progress:
    """The progress of a run after one step."""

    step: int
    total: int | None  # number of steps of the whole run, None until it is known
    loss: float  # nats per token, of this step
    gradient_norm: float
    tokens: int  # in this step
    tokens_per_second: float
    seconds_left: float | None
    rate: float
    validation: float | None = None  # loss in nats per token
    score: float | None = None  # that the best model is chosen by, unless by the loss
    best: bool = False
    note: str = ""
    unit: str = "token"  # of `tokens`
    criterion: str = ""  # name of `score`

    def as_history(self) -> dict[str, float]:
        """The training side of the step, for the history of the run."""
        return {
            "step": self.step,
            "train_loss": self.loss,
            "rate": self.rate,
            "gradient_norm": self.gradient_norm,
            f"{self.unit}s_per_second": round(self.tokens_per_second, 1),
        }


def duration(minutes: float) -> str:
    """A time in words, in seconds if it is less than a minute: `4.7 seconds`, `1 minute`."""
    number, unit = (minutes, "minute") if minutes >= 1 else (60 * minutes, "second")
    shown = f"{round(number, 1):g}"
    return f"{shown} {unit}" if shown == "1" else f"{shown} {unit}s"
