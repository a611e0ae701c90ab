"""The options of `nlpseq distil`: those of a training run of any task, in one dataclass.

The task is known once the first model is read, and only then is an option of another task refused. So no option has a
default here; the task's own request has.
"""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Sequence
from typing import Any

from nlpseq.options import option
from nlpseq.tasks import TASKS
from nlpseq.training.pretraining.refusals import BEFORE

NESTED = ("corpus_options", "model", "training")
NOT_A_STUDENTS = ("corpus", "teacher", *BEFORE)  # arguments of the command; texts without labels are CORPUS
USUAL = frozenset(("hidden_size", "soft", "temperature", "minutes", "steps", "out", "resume", "overwrite", "store"))
HELP = {  # in place of that of a request, whose teachers are options
    "out": f"run folder [default: {', '.join(f'{task.folder}-small' for task in TASKS.values())}]",
    "soft": "weight of the probabilities of MODEL in the loss; the rest is that of the text or its label",
    "temperature": "how much flatter the probabilities of MODEL are made before they are learned",
    "originals": "learn a pair's own target too, besides the translation by MODEL",
    "translated": "sources that MODEL translates, spread over the corpus [default: all that half of the minutes allow]",
}


def _merged(name: str, kinds: Sequence[Any]) -> Any:
    """A dataclass with the fields of several: each has the help of the first that has it, and the choices of all."""
    fields: dict[str, tuple[str, Any, Any]] = {}
    defaults = [{field.name: field.default for field in dataclasses.fields(kind)} for kind in kinds]
    for kind in kinds:
        types = typing.get_type_hints(kind)
        for field in dataclasses.fields(kind):
            if not field.metadata or field.name in NOT_A_STUDENTS:
                continue
            merged = dict(field.metadata)
            if field.name in fields:
                merged = dict(fields[field.name][2].metadata)
                merged["choices"] = _all_choices(merged["choices"], field.metadata["choices"])
            merged["usual"] = field.name in USUAL
            merged["help"] = HELP.get(field.name, merged["help"])
            same = {str(each[field.name]) for each in defaults if field.name in each}
            if len(same) == 1 and "[default" not in merged["help"] and isinstance(field.default, int | float | str):
                merged["help"] += f" [default: {field.default}]" * (not isinstance(field.default, bool))
            default: Any = False if field.metadata["switch"] else None
            made: Any = dataclasses.field(default=default, metadata=merged)
            fields[field.name] = (field.name, _optional(types[field.name], switch=field.metadata["switch"]), made)
    return dataclasses.make_dataclass(name, fields.values(), frozen=True, kw_only=True)


def _optional(kind: Any, *, switch: bool) -> Any:
    return kind if switch or kind == tuple[str, ...] or type(None) in typing.get_args(kind) else kind | None


def _all_choices(one: Any, other: Any) -> Any:
    return one and other and tuple(dict.fromkeys((*one, *other)))


def _student_options() -> Any:
    """All of them, nested as in a request."""
    requests = [task.load("request") for task in TASKS.values()]
    own = dataclasses.fields(_merged("Own", requests))
    types = [typing.get_type_hints(request) for request in requests]
    nested = [
        (name, kind, dataclasses.field(default_factory=kind))
        for name in NESTED
        for kind in [_merged(name.title().replace("_", ""), [each[name] for each in types])]
    ]
    corpus: Any = option((), "corpus, if its name is that of a model", metavar="CORPUS", usual=True)
    fields: list[tuple[str, Any, Any]] = [("corpus", tuple[str, ...], corpus)]
    for field in own:
        fields.append((field.name, field.type, dataclasses.field(default=field.default, metadata=field.metadata)))
    given: Any = dataclasses.field(default=frozenset())
    fields += [*nested, ("given", frozenset[str], given)]
    return dataclasses.make_dataclass("StudentOptions", fields, frozen=True, kw_only=True)


StudentOptions: Any = _student_options()


def given_values(options: Any) -> dict[str, Any]:
    """The options that were set, by their flat names; without the corpus."""
    values = {field.name: getattr(options, field.name) for field in dataclasses.fields(options)}
    for name in NESTED:
        nested = values.pop(name)
        values |= {field.name: getattr(nested, field.name) for field in dataclasses.fields(nested)}
    return {name: values[name] for name in options.given if name in values and name != "corpus"}
