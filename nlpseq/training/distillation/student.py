"""The training request of a student, from the models that it learns from.

What is left open depends on the first teacher: the corpus is its training corpus, cell and layers are its own, and the
sizes are smaller. torch is not imported here.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from nlpseq.errors import CorpusError, OptionError, RunError
from nlpseq.evaluation.training_text import facts_of, unreadable
from nlpseq.models.classifier import MOST_EVIDENCE_LABELS
from nlpseq.models.model_file import Model, load_model, task_of
from nlpseq.models.model_path import BUNDLED, argument, is_run
from nlpseq.models.text_ngrams import PARTS, WORDS
from nlpseq.paths import exists, is_file
from nlpseq.tasks import CLASSIFIER, TASKS, Task
from nlpseq.text.compression import STANDARD_INPUT
from nlpseq.text.formats import need_source
from nlpseq.training.distillation.teachers import Teachers
from nlpseq.training.requests import Request, make_request
from nlpseq.training.run_list import NO_OTHER, find_run, read_config

SMALLER = 2  # times fewer units in each layer
KEPT = ("cell", "activation", "reset_before", "layers", "encoder_layers", "attention")  # options of the teacher
NGRAMS = ("ngrams", "ngram_buckets")  # as the teacher has them, if the tokens are the teacher's
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
    if name in BUNDLED and not exists(path):
        return False
    return is_run(path) or path.suffix == ".safetensors" or (is_file(path) and task_of(path) is not None)


def lesson(models: Sequence[str], corpora: Sequence[str], values: Mapping[str, Any]) -> Lesson:
    """The request to train a student of models on corpora, with options by their flat names.

    Raises ModelFileError if a model cannot be read or its corpus is gone, and OptionError for an option that its task
    does not have, if there is no corpus, or for models that cannot teach one student; and RunError if a run is to be
    continued and is not there.
    """
    if values.get("resume"):
        return _continued(models, corpora, values)
    if not models:
        raise OptionError("MODEL", "must be a run folder or a model file to learn from", "nlpseq runs")
    if not (_is_model(models[0]) or models[0] in BUNDLED) and is_file(models[0]):
        what = f"comes first and must be a run folder or a model file, was {models[0]!r}"
        raise OptionError("MODEL", what, f"nlpseq distil checkpoints/lm {models[0]}")
    first = load_model(Path(models[0]), None, "nlpseq distil")
    task = TASKS[first.task]
    chosen = {**_sizes(first, values), "out": Path(f"{task.folder}-small"), **values, "teacher": tuple(models)}
    if not corpora and "source" not in values:
        corpus = _corpus(first, values)
        corpora = corpus.pop("corpus", [])
        chosen = {**corpus, **chosen}
    request = make_request(task, corpora, chosen)
    _check_teachers(models, task, request)
    return Lesson(task, request.teacher, request, _notes(first, request))


def _check_teachers(models: Sequence[str], task: Task, request: Request) -> None:
    """Raises OptionError for models that cannot teach one student, or that the student would replace."""
    for path in models[1:]:
        if (other := task_of(Path(path))) not in (None, task.name):
            noun = TASKS[other].noun if other in TASKS else other
            what = f"{path} is a {noun}, and {models[0]} a {task.noun}"
            raise OptionError("MODEL", what, f"leave out {shlex.quote(path)}")
    for path, model in zip(models, Teachers.load(models, task.name, flag="").models, strict=True):
        if request.overwrite and model.path.resolve().parent == request.out.resolve():
            what = f"is the folder of {path}, which --overwrite would replace by the student"
            raise OptionError("out", what, f"--out {shlex.quote(f'{request.out}-small')}")


def _continued(models: Sequence[str], corpora: Sequence[str], values: Mapping[str, Any]) -> Lesson:
    """The request to continue the run in a folder, which knows its teachers and its options."""
    if "out" not in values and not models:
        raise OptionError("out", "must name the folder of the run to continue", "--out checkpoints/lm-small")
    folder = Path(values["out"]) if "out" in values else None
    if folder is None:
        folder = Path(f"{TASKS[load_model(Path(models[0]), None, 'nlpseq distil').task].folder}-small")
    config = read_config(_run_to_continue(folder))
    task, teachers = TASKS[config["task"]], config["asked"].get("teacher", [])
    if not teachers:
        hint = f"nlpseq train {task.command} --resume --out {folder}"
        raise OptionError("resume", f"{folder} holds a run without a teacher", hint)
    if other := [path for path in models if path not in teachers]:
        what = f"{other[0]} is no teacher of the run in {folder}, which learns from {', '.join(teachers)}"
        raise OptionError("MODEL", what, f"leave out {shlex.quote(other[0])}")
    request = make_request(task, corpora, {**values, "out": folder})
    return Lesson(task, tuple(teachers), request, [])


def _run_to_continue(folder: Path) -> Path:
    """The folder of a run. Raises RunError if none is there, perhaps because it was killed before it began."""
    try:
        return find_run(folder, "--out")
    except RunError as error:
        if error.hint != NO_OTHER:
            raise
        raise RunError(str(folder), "cannot be resumed: it holds no run", "leave out --resume") from None


def _sizes(teacher: Model, values: Mapping[str, Any]) -> dict[str, Any]:
    """Options of the student's network: a teacher's own, but for the sizes.

    Half the units, and as small a part of the embedding; a classifier's vectors of tokens and n-grams are nearly all
    of its file, so of those only the square of that part is left. A classifier of few labels has a linear model of
    words or none beside its weights of evidence: one of characters would take most of its time. A student that starts
    from a model has that model's network.
    """
    own = teacher.options
    few_labels = len(teacher.header.get("labels", ())) <= MOST_EVIDENCE_LABELS
    linear = {"linear": _smaller_linear(own.get("linear"))} if teacher.task == CLASSIFIER.name and few_labels else {}
    stored = (teacher.header.get("training") or {}).get("store")
    others = linear | ({} if stored is None else {"store": stored})
    if values.get("init_from") is not None:
        return others
    taken_over = KEPT if values.keys() & {"ngrams", "tokens", "vocab_size"} else (*KEPT, *NGRAMS)
    kept = {name: own[name] for name in taken_over if own.get(name) is not None}
    if kept.get("ngrams") == 1:
        kept.pop("ngram_buckets", None)
    hidden = values.get("hidden_size") or _rounded(own["hidden_size"] / SMALLER)
    part = min(1.0, hidden / own["hidden_size"])
    embedding = _rounded(own["embedding_size"] * part ** (2 if teacher.task == CLASSIFIER.name else 1))
    return {**kept, **others, "hidden_size": hidden, "embedding_size": embedding}


def _smaller_linear(kind: str | None) -> str:
    return WORDS if kind in (PARTS, WORDS) else "none"


def _rounded(size: float) -> int:
    return max(1, round(size)) if size < WIDE else MULTIPLE * round(size / MULTIPLE)


def _corpus(teacher: Model, values: Mapping[str, Any]) -> dict[str, Any]:
    """The options that name the training corpus of a model; the user's own are `values`.

    Raises OptionError if the model does not name its corpus, and ModelFileError if the corpus is gone.
    """
    facts, hint = facts_of(teacher), f"nlpseq distil {argument(teacher.path)} FILE"
    names = facts.get("corpus") or []
    if not names or STANDARD_INPUT in names:
        what = "is needed: the teacher " + ("was trained on standard input" if names else "does not name its own")
        raise OptionError("CORPUS", what, hint)
    try:
        for name in (*names, *(facts["valid"] if facts.get("valid_is") == "given" and "valid" not in values else ())):
            need_source(name)
    except CorpusError as error:
        raise unreadable(teacher, error, hint) from None
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
    sizes, own = ("hidden_size", "embedding_size"), teacher.options
    start = None if request.init_from is None else load_model(request.init_from, None, "--init-from")
    student = {name: getattr(request.model, name) for name in sizes} if start is None else start.options
    if any((student[name] or 0) < own[name] for name in sizes):
        return []
    units = f"{own['hidden_size']} units, embedding {own['embedding_size']}"
    remedy = f"--hidden-size {own['hidden_size'] // SMALLER} is half of it"
    if start is not None:
        remedy = "it has the size of --init-from"
    return [f"the student is no smaller than its teacher ({units}): {remedy}"]
