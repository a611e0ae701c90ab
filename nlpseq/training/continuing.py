"""Continuing a run: what a request to resume may change, and what it may not.

The cells, the sizes and the tokens are the run's for good. A budget, the values of training and the corpus may be set
anew; what is not set stays as it was. Only the learning rate falls later in further steps than in a new run: after 200
steps and 200 more, the loss was then lower than after 400 at once, by 0.4 to 26 %, and with the fall of a new run up to
13 % higher. torch is not imported here.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from pathlib import Path
from types import NoneType
from typing import Any

from nlpseq.errors import OptionError, RunError
from nlpseq.options import flag
from nlpseq.paths import is_file, is_folder
from nlpseq.text.beginnings import whole_name
from nlpseq.training.requests import Request
from nlpseq.training.run_config import has_config, read_config
from nlpseq.training.run_folder import BEFORE

BUDGETS = ("epochs", "steps", "minutes")
FURTHER_ANNEAL = 0.4  # the rate of a run that is trained on falls over this fraction of the further steps, or less
LABELLED = ("label_column", "text_column", "label_separator")
PAIRED = ("source", "target", "columns", "synthetic", "originals", "translated")
DATA = ("corpus", "take", "valid", *PAIRED, *LABELLED)  # that name the corpus
CHOSEN = {"hidden_size", "embedding_size", "dropout", "input_dropout", "sequence_length", "anneal"}  # in every run
OF_ASKED: dict[str, Any] = {  # the types of what was asked for
    **dict.fromkeys(
        ("init_from", "source", "target", "label_column", "text_column", "label_separator"), (str, NoneType)
    ),
    **dict.fromkeys(("teacher", "synthetic"), list),
    "columns": (list, NoneType),
}
OF_CONFIG: dict[str, Any] = {  # and of the rest
    **dict.fromkeys(("tokeniser", "data", "files", "machine", "result"), dict),
    **dict.fromkeys(("continued", "teachers"), list),
    **dict.fromkeys(("finished", "several_labels"), bool),
}
WHEREABOUTS = ("device", "backend", "save_every")  # may change without changing the run


@dataclass(frozen=True)
class Continuation:
    """A request to continue a run, completed with what the run was started with."""

    request: Request
    budget: bool  # whether it has a new budget
    names_data: bool  # whether it names a corpus
    changes: Mapping[str, tuple[Any, Any]]  # by option: the value so far, and the new one
    given: Collection[str]  # the options that were set


def continued(config: Mapping[str, Any], request: Request) -> Continuation:
    """What a request asks of the run with this configuration.

    Raises OptionError if it changes the architecture, the tokens or the model that the run was started from.
    """
    asked = config["asked"]
    _refuse(request, request.model, config["model"])
    tokens = {"tokens": config.get("tokeniser", {}).get("kind"), "vocab_size": config.get("tokeniser", {}).get("size")}
    _refuse(request, request.corpus_options, asked["corpus_options"], tokens)
    _refuse_other_models(request, asked)
    earlier = {name: value for name, value in config["training"].items() if value is not None}
    given = {name: getattr(request.training, name) for name in request.given if name in _names(request.training)}
    if "dropout" in given and given["dropout"] is not None:
        given.setdefault("input_dropout", given["dropout"] / 2)
    budget = {name: value for name, value in given.items() if name in BUDGETS}
    if budget == {name: asked["training"][name] for name in budget} and not config.get("finished"):
        budget = {}  # the same command again
    if budget:
        earlier |= dict.fromkeys((*BUDGETS, "validations"), None) | {"anneal": min(earlier["anneal"], FURTHER_ANNEAL)}
    training = replace(request.training, **{**earlier, **given, **budget})
    changes = {
        name: (config["training"].get(name), getattr(training, name))
        for name in (*given, "anneal")
        if name not in (*BUDGETS, *WHEREABOUTS)
        and getattr(training, name) not in (config["training"].get(name), "auto")
    }
    data = {name: _restored(name, asked[name]) for name in DATA if name in asked and name not in request.given}
    if _names_one(request, ("corpus", "source", "target")):  # they replace each other
        replaced = ("corpus", "take", "source", "target", "translated")
        data = {name: value for name, value in data.items() if name not in replaced}
    complete = replace(
        request,
        **data,
        init_from=None if asked["init_from"] is None else Path(asked["init_from"]),
        teacher=tuple(asked.get("teacher", ())),
        corpus_options=replace(request.corpus_options, **asked["corpus_options"]),
        model=replace(request.model, **config["model"]),
        training=training,
    )
    return Continuation(complete, bool(budget), _names_one(request, DATA), changes, request.given)


def in_as_many_processes(request: Request) -> Request:
    """A request to continue a run in as many processes as before, to the same last bits, if it names no number."""
    if not request.resume or "processes" in request.given:
        return request
    folder = request.out if has_config(request.out) else request.out / BEFORE
    with suppress(RunError):  # which is for those who read the configuration to say
        machine = read_config(folder).get("machine")
        if isinstance(machine, dict) and isinstance(count := machine.get("processes"), int) and count > 1:
            return replace(request, processes=count)
    return request


def check_config(config: Mapping[str, Any], request: Request) -> None:
    """Raises RunError if a configuration has values that no run can have, although its sections are there."""
    try:
        _check_options(config, request)
        asked = config["asked"]
        missing = {"init_from"} - asked.keys() | set(BUDGETS) - asked["training"].keys()
        for section, options in (("model", request.model), ("training", request.training)):
            missing |= {name for name in CHOSEN & _names(options) if config[section].get(name) is None}
        if missing:
            raise ValueError(f"{min(missing)} is missing")
        for name, kinds in {**OF_ASKED, **dict.fromkeys(("take", "translated"), (int, NoneType))}.items():
            if name in asked and not isinstance(asked[name], kinds):
                raise ValueError(f"asked: {name} is {asked[name]!r}")
        for name, kinds in OF_CONFIG.items():
            if not isinstance(config.get(name, kinds()), kinds):
                raise ValueError(f"{name} is {config[name]!r}")
        names = [*asked.get("teacher", []), *asked.get("synthetic", []), *(asked.get("columns") or [])]
        teachers = config.get("teachers", [])
        if teachers and (len(teachers) != len(asked.get("teacher", [])) or not all(map(_is_object, teachers))):
            raise ValueError("its teachers are not those that were asked for")
        if not all(isinstance(item, str) for item in (*names, *(config.get("data", {}).get("labels") or []))):
            raise ValueError("a list of names holds something else")
    except (TypeError, ValueError, OptionError) as error:
        what = f"is damaged: {str(error)[:200]}"
        raise RunError(
            str(request.out / "config.json"), what, "--overwrite in place of --resume starts a new run"
        ) from error


def _is_object(value: Any) -> bool:
    return isinstance(value, dict)


def _check_options(config: Mapping[str, Any], request: Request) -> None:
    """Raises OptionError or TypeError for options that are unknown or cannot be."""
    asked = config["asked"]
    for options, values in (
        (request.model, config["model"]),
        (request.model, asked["model"]),
        (request.training, config["training"]),
        (request.training, asked["training"]),
        (request.corpus_options, asked["corpus_options"]),
    ):
        type(options)(**{name: value for name, value in values.items() if value is not None})


def refuse_run_as_corpus(request: Request) -> None:
    """Raises OptionError if a run folder is named as a corpus, as in `--resume checkpoints/lm`."""
    for name in request.files():
        if is_folder(whole_name(name)) and is_file(Path(whole_name(name)) / "config.json"):
            hint = f"--{'resume --out' if request.resume else 'init-from'} {shlex.quote(name)}"
            raise OptionError("CORPUS", f"{name} is a run, not a text to train on", hint)


def file_marks(names: Iterable[str]) -> dict[str, list[int]]:
    """The size and the time of change of each file, which tell without reading that it is probably unchanged."""
    marks = {}
    for name in names:
        file = whole_name(name)
        if os.path.isfile(file):
            state = os.stat(file)
            marks[name] = [state.st_size, state.st_mtime_ns]
    return marks


def _names(options: Any) -> set[str]:
    return {field.name for field in fields(options)}


def _names_one(request: Request, names: Iterable[str]) -> bool:
    return not request.given.isdisjoint(names)


def _refuse(request: Request, options: Any, earlier: Mapping[str, Any], also: Mapping[str, Any] | None = None) -> None:
    """Raises OptionError if an option is set to another value than earlier; `also` are values that are the same."""
    for name in sorted(request.given & _names(options)):
        value = getattr(options, name)
        if value not in (earlier.get(name), (also or {}).get(name)):
            raise OptionError(name, _changed(earlier.get(name), value), f"leave out {flag(name)}, or --out FOLDER")


def _refuse_other_models(request: Request, asked: Mapping[str, Any]) -> None:
    """Raises OptionError for another model to start from, or to learn from, than when the run was started."""
    if "init_from" in request.given and _plain(request.init_from) != asked["init_from"]:
        raise OptionError("init_from", _changed(asked["init_from"], request.init_from), "leave out --init-from")
    teachers = asked.get("teacher", [])
    if "teacher" in request.given and list(request.teacher) != teachers:
        raise OptionError("teacher", _changed(teachers, list(request.teacher)), "leave out --teacher")


def _restored(name: str, value: Any) -> Any:
    """A value of the configuration's JSON as a request holds it."""
    if name in ("corpus", "valid", "synthetic"):
        return tuple(value)
    if name in ("source", "target"):
        return None if value is None else Path(value)
    return ",".join(value) if isinstance(value, list) else value


def _plain(value: Any) -> Any:
    return None if value is None else str(value)


def _changed(earlier: Any, now: Any) -> str:
    return f"was {_spelled(earlier)} when the run was started, is {_spelled(now)} now"


def _spelled(value: Any) -> str:
    """A value of an option in words."""
    if value in (None, []):
        return "left open"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
