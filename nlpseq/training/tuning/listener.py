"""What a search tells while it runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nlpseq.training.progress import Progress
from nlpseq.training.tuning.trainer import Introduction
from nlpseq.training.tuning.trial import Trial


class Listener:
    """Is told what a search does; shows nothing."""

    def note(self, text: str) -> None:
        """Something that the user should know."""

    def introduce(self, introduction: Introduction) -> None:
        """The first trial is ready for its first step."""

    def begin(self, number: int, options: Mapping[str, Any], what: str) -> None:
        """A trial begins; `what` says what it is for, if it is no ordinary one."""

    def step(self, progress: Progress) -> None:
        """A step was taken."""

    def end(self, trial: Trial) -> None:
        """A trial has ended."""
