"""The plan of a run in two parts: what was asked for, and what was decided for the language model.

It is a file in the run folder, beside the texts of the language model, and both go when the classifier is first saved.
So a run that was stopped, or killed, in its first part is known by it, and continued as it was asked for.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import Any

from nlpseq import tasks
from nlpseq.errors import OptionError, RunError
from nlpseq.models.model_path import UNLABELLED
from nlpseq.options import flag
from nlpseq.training.continuing import WHEREABOUTS
from nlpseq.training.pretraining.budget import TOKENS
from nlpseq.training.pretraining.texts import TRAIN, VALID
from nlpseq.training.requests import Request, make_request
from nlpseq.training.run_folder import BEFORE

PLAN = "plan.json"
LONGEST_NAME = 60  # characters of the user's files' names in that of another file; a character may have four bytes
_UNUSUAL = re.compile(r"[^\w.+-]+")
OF_COMMAND = ("resume", "overwrite", "out", "processes", "corpus", "given")  # not part of what a run is asked for


@dataclass(frozen=True)
class Plan:
    """What a run in two parts was asked for, and what was decided."""

    corpus: list[str]
    options: dict[str, Any]  # those that were set, by name
    language_model: dict[str, Any]  # the options of the language model, by name
    classifier_minutes: float | None  # None if the length is a number of steps or passes
    texts: int  # without labels
    labelled: int  # texts for training
    mark: str  # of the language model's texts and options, which tells runs apart
    holds_out: bool  # whether there is text for the language model's validation
    notes: list[str]
    source: str = ""  # the names of the files without labels, for a signature

    def write(self, folder: Path) -> None:
        """Write the plan into a folder."""
        (folder / PLAN).write_text(json.dumps(asdict(self), indent=2) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> Plan:
        """Read what `write` wrote. Raises RunError if it is missing or damaged."""
        path = folder / PLAN
        try:
            return cls(**json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError) as error:
            hint = "--overwrite in place of --resume starts a new run"
            raise RunError(str(path), f"is damaged: {error}", hint) from error

    def file_name(self, kind: str) -> str:
        """The name of the file of the language model's texts of a kind, beside the plan.

        That of the validation text is in the signature of the language model's scores, so it names the user's files.
        """
        if kind == VALID and self.source:
            return f"held-out-of-{_UNUSUAL.sub('-', self.source.removesuffix('.txt'))[:LONGEST_NAME]}.txt"
        return f"{kind}-{self.mark}.txt"

    def language_model_request(self, request: Request) -> Request:
        """The request of the first part; `request` is for folder, processes and whereabouts."""
        options = self.language_model | _whereabouts(request)
        own = {"out": request.out / BEFORE, "processes": request.processes, "overwrite": True}
        train, valid = (request.out / UNLABELLED / self.file_name(kind) for kind in (TRAIN, VALID))
        held_out = {"valid": [valid]} if self.holds_out else {}
        return make_request(tasks.LANGUAGE_MODEL, [train], options | own | held_out)

    def classifier_request(self, request: Request) -> Request:
        """The request of the second part: the classifier starts from the language model."""
        left_out = ("unlabelled", "unlabelled_steps", *TOKENS)  # the tokens are those of the language model
        options = {name: value for name, value in self.options.items() if name not in left_out}
        own = {"out": request.out, "processes": request.processes, "overwrite": True}
        made = make_request(
            tasks.CLASSIFIER,
            self.corpus,
            options | _whereabouts(request) | own | {"init_from": request.out / BEFORE},
        )
        return replace(made, given=made.given - {"out", "processes", "overwrite"})

    def refuse_changes(self, request: Request) -> None:
        """Raises OptionError if a request to continue the run asks for anything else than it was asked for."""
        values = json.loads(json.dumps(set_options(request)))
        if "corpus" in request.given and list(request.corpus) != self.corpus:
            values["corpus"] = list(request.corpus)
        for name in sorted(values):
            if name not in WHEREABOUTS and values[name] != self.options.get(name):
                what = "cannot be changed before the language model is trained"
                raise OptionError(name, what, f"leave out {'CORPUS' if name == 'corpus' else flag(name)}")


def set_options(request: Request) -> dict[str, Any]:
    """The options of a request that are set, or are not the defaults, by name; paths as texts."""
    return {
        name: str(value) if isinstance(value, Path) else list(value) if isinstance(value, tuple) else value
        for name, value, default in _options(request)
        if name in request.given or value != default
    }


def _options(options: Any) -> Iterator[tuple[str, Any, Any]]:
    """The name, the value and the default of each option of a request, those of nested options too."""
    for field in fields(options):
        value = getattr(options, field.name)
        if is_dataclass(value):
            yield from _options(value)
        elif field.metadata and field.name not in OF_COMMAND:
            yield field.name, value, field.default


def _whereabouts(request: Request) -> dict[str, Any]:
    """The options that may change without changing the run, as far as they are set."""
    training = request.training
    return {name: getattr(training, name) for name in WHEREABOUTS if name in request.given}
