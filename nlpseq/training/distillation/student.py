"""The training request of a student, from the models that it learns from.

What is left open depends on the first teacher: the corpus is its training corpus, cell and layers are its own, and the
sizes are smaller. torch is not imported here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from nlpseq.errors import OptionError
from nlpseq.evaluation.training_text import facts_of
from nlpseq.models.model_file import Model, load_model, task_of
from nlpseq.models.model_path import BUNDLED, argument, is_run
from nlpseq.tasks import CLASSIFIER, TASKS, Task
from nlpseq.text.compression import STANDARD_INPUT
from nlpseq.training.requests import Request, make_request
from nlpseq.training.run_list import find_run, read_config

SMALLER = 2  # times fewer units in each layer
KEPT = ("cell", "activation", "reset_before", "layers", "encoder_layers", "attention")  # options of the teacher
WIDE, MULTIPLE = 16, 8  # a size from WIDE on is rounded to a multiple


class Lesson(NamedTuple):
    """A student's task, its teachers, its request, and what the user should know about it."""

    task: Task
    teachers: tuple[str, ...]
    request: Request
    notes: list[str]


def sort_arguments(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Arguments as models and as corpora: the first is a model, and so is any other run folder or model file.

    The name of a bundled model is also that of its corpus: after the first argument it is the corpus.
    """
    models = [name for number, name in enumerate(arguments) if not number or _is_model(name)]
    return models, [name for name in arguments if name not in models]


def _is_model(name: str) -> bool:
    path = Path(name)
    if name in BUNDLED and not path.exists():
        return False
    return is_run(path) or path.suffix == ".safetensors" or (path.is_file() and task_of(path) is not None)


def lesson(models: Sequence[str], corpora: Sequence[str], values: Mapping[str, Any]) -> Lesson:
    """The request to train a student of models on corpora, with options by their flat names.

    Raises ModelFileError if the first model cannot be read, and OptionError for an option that its task does not have
    or if there is no corpus; and RunError if a run is to be continued and is not there.
    """
    if values.get("resume"):
        return _continued(models, corpora, values)
    if not models:
        raise OptionError("MODEL", "must be a run folder or a model file to learn from", "nlpseq runs")
    if not (_is_model(models[0]) or models[0] in BUNDLED) and Path(models[0]).is_file():
        what = f"comes first and must be a run folder or a model file, was {models[0]!r}"
        raise OptionError("MODEL", what, f"nlpseq distil checkpoints/lm {models[0]}")
    first = load_model(Path(models[0]), None, "nlpseq distil")
    task = TASKS[first.task]
    chosen = {**_sizes(first, values), "out": Path(f"{task.folder}-small"), **values, "teacher": tuple(models)}
    if not corpora and "source" not in values:
        corpus = _corpus(first)
        corpora = corpus.pop("corpus", [])
        chosen = {**corpus, **chosen}
    request = make_request(task, corpora, chosen)
    return Lesson(task, request.teacher, request, _notes(first, request))


def _continued(models: Sequence[str], corpora: Sequence[str], values: Mapping[str, Any]) -> Lesson:
    """The request to continue the run in a folder, which knows its teachers and its options."""
    if "out" not in values and not models:
        raise OptionError("out", "must name the folder of the run to continue", "--out checkpoints/lm-small")
    folder = Path(values["out"]) if "out" in values else None
    if folder is None:
        folder = Path(f"{TASKS[load_model(Path(models[0]), None, 'nlpseq distil').task].folder}-small")
    config = read_config(find_run(folder, "--out"))
    task, teachers = TASKS[config["task"]], config["asked"].get("teacher", [])
    if not teachers:
        hint = f"nlpseq train {task.command} --resume --out {folder}"
        raise OptionError("resume", f"{folder} holds a run without a teacher", hint)
    named = {"teacher": tuple(models)} if models else {}
    request = make_request(task, corpora, {**values, **named, "out": folder})
    return Lesson(task, tuple(teachers), request, [])


def _sizes(teacher: Model, values: Mapping[str, Any]) -> dict[str, Any]:
    """Options of the student's network: a teacher's own, but for the sizes.

    Half the units, and as small a part of the embedding; a classifier's vectors of tokens and n-grams are nearly all
    of its file, so of those only the square of that part is left. A classifier with weights of evidence does without
    a linear model: that takes most of its time, and the teacher's answers contain what it knows.
    """
    own = teacher.options
    kept = {name: own[name] for name in KEPT if own.get(name) is not None}
    hidden = values.get("hidden_size") or _rounded(own["hidden_size"] / SMALLER)
    part = min(1.0, hidden / own["hidden_size"])
    embedding = _rounded(own["embedding_size"] * part ** (2 if teacher.task == CLASSIFIER.name else 1))
    linear = {"linear": "none"} if own.get("evidence") else {}
    stored = (teacher.header.get("training") or {}).get("store")
    store = {} if stored is None else {"store": stored}
    return {**kept, **linear, **store, "hidden_size": hidden, "embedding_size": embedding}


def _rounded(size: float) -> int:
    return max(1, round(size)) if size < WIDE else MULTIPLE * round(size / MULTIPLE)


def _corpus(teacher: Model) -> dict[str, Any]:
    """The options that name the training corpus of a model. Raises OptionError if it does not name it."""
    facts, model = facts_of(teacher), argument(teacher.path)
    names = facts.get("corpus") or []
    if not names or STANDARD_INPUT in names:
        what = "is needed: the teacher " + ("was trained on standard input" if names else "does not name its own")
        raise OptionError("CORPUS", what, f"nlpseq distil {model} FILE")
    options: dict[str, Any] = {"corpus": names}
    if facts.get("valid_is") == "given":
        options["valid"] = tuple(facts["valid"])
    if facts.get("two_files"):
        options |= {"corpus": [], "source": Path(names[0]), "target": Path(names[1])}
    columns = [column for column in facts.get("columns") or [] if column is not None]
    if columns and teacher.task == CLASSIFIER.name:
        named = zip(("label_column", "text_column", "label_separator"), facts["columns"], strict=False)
        options |= {name: column for name, column in named if column is not None}
    elif columns:
        options["columns"] = ",".join(columns)
    return options


def _notes(teacher: Model, request: Request) -> list[str]:
    """What the user should know: sizes that are not smaller than the teacher's."""
    sizes = ("hidden_size", "embedding_size")
    if any((getattr(request.model, name) or 0) < teacher.options[name] for name in sizes):
        return []
    units = f"{teacher.options['hidden_size']} units, embedding {teacher.options['embedding_size']}"
    smaller = teacher.options["hidden_size"] // SMALLER
    return [f"the student is no smaller than its teacher ({units}): --hidden-size {smaller} is half of it"]
