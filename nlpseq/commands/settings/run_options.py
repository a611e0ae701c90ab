"""`--like RUN`: the options that repeat a run, from the configuration in its folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nlpseq.commands.settings.declared import Declared, WrongValue
from nlpseq.commands.settings.layers import Layer, Value
from nlpseq.errors import RunError
from nlpseq.tasks import COMMANDS, TASKS, Task


def read_run(path: Path, verb: str, command: Declared) -> Layer:
    """The values that repeat the run at `path` with `nlpseq train VERB`.

    Raises RunError if there is no run, if it is of another task, or if its configuration is damaged.
    """
    from nlpseq.training.repeating import repeated
    from nlpseq.training.run_config import CONFIG
    from nlpseq.training.run_list import find_run, read_config

    folder = find_run(path, "--like")
    config = read_config(folder)
    where = str(folder / CONFIG)
    task = TASKS.get(str(config.get("task")))
    if task is None:
        raise RunError(where, "is damaged: it names no task of this version", "nlpseq runs")
    if task.command != verb:
        _refuse_other_task(path, task, COMMANDS[verb])
    try:
        options = repeated(config)
    except (LookupError, TypeError, ValueError, AttributeError):
        raise RunError(where, "is damaged, or of another version of nlpseq", "nlpseq runs") from None
    return {name: _value(name, value, where, command) for name, value in options.items() if value is not None}


def _refuse_other_task(path: Path, task: Task, own: Task) -> None:
    what = f"is a run of train {task.command}, not of train {own.command}"
    raise RunError(str(path), what, f"nlpseq train {task.command} --like {path}")


def _value(name: str, value: Any, where: str, command: Declared) -> Value:
    """One option of a run. Raises RunError if this version does not have it, or not with this value."""
    setting = command.settings.get(name)
    if setting is None:
        raise RunError(where, f"has an option that this version does not know: {name}", "pip install --upgrade nlpseq")
    if isinstance(value, list) and not setting.many:
        value = ",".join(map(str, value))
    try:
        return Value(setting.read(value), where, name)
    except WrongValue as wrong:
        raise RunError(where, f"is damaged: {name} {wrong}", "nlpseq runs") from None
