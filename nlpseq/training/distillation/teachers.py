"""The models that a run learns from."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nlpseq import tasks
from nlpseq.errors import OptionError, RunError
from nlpseq.models.model_file import CHECKSUM, Model, load_model
from nlpseq.text.display import quoted
from nlpseq.text.tokenisers import Tokeniser
from nlpseq.training.options import CorpusOptions

PATH = "path"
SHOWN = 5  # labels in a message
REASON = "the probabilities of a teacher are those of its own tokens"
FREE = (tasks.CLASSIFIER.name, tasks.TRANSLATOR.name)  # tasks whose answers are not about tokens


@dataclass(frozen=True)
class Teachers:
    """The teachers of a run; none for a run that learns from texts alone."""

    task: str
    models: tuple[Model, ...] = ()
    paths: tuple[str, ...] = ()  # as they were named
    flag: str = "--teacher"  # that named them; empty for arguments of a command

    @classmethod
    def load(
        cls,
        paths: Sequence[str],
        task: str,
        known: Sequence[Mapping[str, str]] | None = None,
        flag: str = "--teacher",
    ) -> Teachers:
        """Load models of a task; `known` are their facts when the run was started. `flag` is for messages.

        Raises ModelFileError if one cannot be used, OptionError if one is named twice, if language models have
        different tokens or classifiers different labels, and RunError if one is not the same file as when the run was
        started.
        """
        models = tuple(load_model(Path(path), task, flag or "nlpseq distil") for path in paths)
        teachers = cls(task, models, tuple(paths), flag)
        for fact, before in zip(teachers.facts, known or teachers.facts, strict=True):
            if fact != before:
                what = "is another model than when the run was started: it cannot go on as it began"
                raise RunError(fact[PATH], what, "put the old model back; or --overwrite in place of --resume")
        teachers._refuse_twins()
        if task not in FREE:
            teachers._refuse_different_tokens()
        if task == tasks.CLASSIFIER.name:
            teachers._refuse_different_labels()
        return teachers

    @property
    def facts(self) -> list[dict[str, str]]:
        """The path and the checksum of each, for the run's configuration and the model file."""
        return [
            {PATH: path, CHECKSUM: str(model.header.get(CHECKSUM, ""))}
            for path, model in zip(self.paths, self.models, strict=True)
        ]

    def tokeniser(self, requested: CorpusOptions, own: Tokeniser | None = None) -> Tokeniser | None:
        """The tokeniser of the student: the first teacher's, or None for one that is to be trained.

        `own` is that of a model which the student starts from. Raises OptionError if the student would have other
        tokens than its teachers and needs the same.
        """
        if not self.models:
            return None
        taught = self.models[0].tokeniser
        is_same = requested.tokens in ("auto", taught.kind) and requested.vocab_size in (None, taught.size)
        if self.task in FREE:
            return taught if is_same else None
        if not is_same:
            name = "tokens" if requested.tokens not in ("auto", taught.kind) else "vocab_size"
            what = f"must be left open with a teacher, was {getattr(requested, name)}: {REASON}"
            raise OptionError(name, what, f"leave out --{name.replace('_', '-')}")
        if own is not None and own.to_bytes() != taught.to_bytes():
            what = f"has other tokens than the teacher {self.paths[0]}: {REASON}"
            raise OptionError("init_from", what, "leave out --init-from")
        return taught

    def _refuse_twins(self) -> None:
        seen: dict[str, str] = {}
        for fact in self.facts:
            if fact[CHECKSUM] in seen:
                other = seen[fact[CHECKSUM]]
                what = f"{fact[PATH]} is named twice" if fact[PATH] == other else f"{fact[PATH]} is the model {other}"
                raise OptionError(self._where, what, "name each teacher once")
            seen[fact[CHECKSUM]] = fact[PATH]

    def _refuse_different_tokens(self) -> None:
        for path, model in zip(self.paths[1:], self.models[1:], strict=True):
            first = self.models[0].tokeniser
            if model.tokeniser.to_bytes() != first.to_bytes():
                kinds = [f"{each.kind} vocabulary of {each.size:,}" for each in (model.tokeniser, first)]
                what = f"{path} has other tokens than {self.paths[0]} ({kinds[0]}, {kinds[1]}): {REASON}"
                raise OptionError(self._where, what, self._without(path))

    def _refuse_different_labels(self) -> None:
        for path, model in zip(self.paths[1:], self.models[1:], strict=True):
            if difference := _difference(model.header, self.models[0].header):
                what = f"{path} has other labels than {self.paths[0]}: {difference}"
                raise OptionError(self._where, what, self._without(path))

    @property
    def _where(self) -> str:
        return "teacher" if self.flag else "MODEL"

    def _without(self, path: str) -> str:
        """The hint to leave one of them out."""
        return " ".join(["leave out", *([self.flag] if self.flag else []), shlex.quote(path)])


def _difference(one: Mapping[str, Any], other: Mapping[str, Any]) -> str:
    """How the labels of two classifiers differ, by the headers of their files; empty if they do not."""
    if bool(one.get("several_labels")) != bool(other.get("several_labels")):
        return "only one of them is for several labels a text"
    different = sorted(set(one["labels"]) ^ set(other["labels"]))
    more = f" and {len(different) - SHOWN:,} more" if len(different) > SHOWN else ""
    return f"{', '.join(map(quoted, different[:SHOWN]))}{more} in one of them only" if different else ""
