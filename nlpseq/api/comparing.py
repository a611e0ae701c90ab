"""Models, or files of outputs, compared in Python: the options of `nlpseq compare` by their names."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nlpseq.api.model import make_options
from nlpseq.api.paths import as_name, as_names
from nlpseq.decoding.beam import BeamOptions
from nlpseq.decoding.classification import TextClassifier
from nlpseq.errors import ModelFileError, OptionError
from nlpseq.evaluation.bleu import BleuOptions
from nlpseq.evaluation.comparison.classifiers import classifier_sides
from nlpseq.evaluation.comparison.comparison import compare_sides
from nlpseq.evaluation.comparison.language_models import TextOptions, language_model_sides
from nlpseq.evaluation.comparison.output_files import output_sides
from nlpseq.evaluation.comparison.records import Comparison, Side, Units
from nlpseq.evaluation.comparison.resampling import ResamplingOptions
from nlpseq.evaluation.comparison.side_paths import check_different, side_files, side_models
from nlpseq.evaluation.comparison.translators import PairOptions, translator_sides
from nlpseq.evaluation.reader import placed
from nlpseq.evaluation.scores import Note, say_nothing
from nlpseq.models import language_model, translator
from nlpseq.models.model_file import load_model, task_of
from nlpseq.models.model_path import shown
from nlpseq.options import check_choice, flag, refuse_unknown
from nlpseq.tasks import CLASSIFIER, LANGUAGE_MODEL, TASKS, TRANSLATOR, Task
from nlpseq.text.tables.label_tables import label_columns
from nlpseq.training.columns import as_columns, read_pair_columns

READ: dict[Task | None, tuple[str, ...]] = {  # the options that say what is read; None: files of outputs
    LANGUAGE_MODEL: ("on", "held_out", "block_bytes"),
    CLASSIFIER: ("on", "label_column", "text_column", "label_separator"),
    TRANSLATOR: (
        "on",
        "source",
        "target",
        "columns",
        *BeamOptions.__dataclass_fields__,
        *BleuOptions.__dataclass_fields__,
    ),
    None: ("target", *BleuOptions.__dataclass_fields__),
}
SHARED = ("samples", "trials", "random_seed")

Members = list[tuple[str, list[Path]]]


def compare(
    *sides: object,
    outputs: bool = False,
    metric: str | Sequence[str] = (),
    device: str = "cpu",
    note: Note = say_nothing,
    **options: Any,
) -> Comparison:
    """Compare each side with the first; see `nlpseq.compare`."""
    check_choice("device", device, ("cpu", "cuda"))
    metrics = [metric] if isinstance(metric, str) else list(metric)
    named = [_members(side, outputs=outputs) for side in sides]
    check_different([name for name, _ in named], [paths for _, paths in named])
    task = None if outputs else _task(named)
    _refuse_others(task, options)
    resampling = _part([ResamplingOptions], options)[0]
    read = {None: _read_files, LANGUAGE_MODEL: _read_texts, CLASSIFIER: _read_labels, TRANSLATOR: _read_pairs}[task]
    found, units = read(named, metrics, device, note, options)
    alone = [side.name for side in found if len(side.outputs) == 1]
    if 0 < len(alone) < len(found):
        note(f"of one model, {', '.join(alone)}, there is no spread: what is said holds for it, not for its recipe")
    return compare_sides(found, units, resampling)


def _members(side: object, *, outputs: bool) -> tuple[str, list[Path]]:
    """The name of a side, and its models or files; several in a list are of one recipe."""
    several = side if isinstance(side, list | tuple) else [side]
    names = [as_name(each, "A B") for each in several]
    paths = [Path(path) for name in names for path in (side_files(name) if outputs else side_models(name))]
    return names[0] if len(names) == 1 else f"{names[0]}+{len(names) - 1}", paths


def _task(named: Members) -> Task:
    """The task of all models. Raises ModelFileError if they are of different tasks, or one is no model."""
    first: tuple[Path, Task] | None = None
    for path in (path for _, paths in named for path in paths):
        name = task_of(path)
        if name not in TASKS:
            load_model(path)  # raises for a file that is missing, damaged or foreign
        task = TASKS[str(name)]
        first = first or (path, task)
        if task is not first[1]:
            what = f"is a {task.noun}, and {shown(first[0])} is a {first[1].noun}"
            raise ModelFileError(shown(path), what, "compare models of one task; nlpseq runs lists them")
    assert first is not None
    return first[1]


def _refuse_others(task: Task | None, options: dict[str, Any]) -> None:
    """Raises OptionError for an option that does not belong to what is compared."""
    known = {name for names in READ.values() for name in names} | set(SHARED)
    refuse_unknown(options, known, "compare", f"its options are {', '.join(sorted(known))}")
    plural = "files of outputs" if task is None else task.plural
    for name in options:
        if name not in (*READ[task], *SHARED):
            owners = [other for other, names in READ.items() if name in names]
            those = " and ".join("files of outputs" if other is None else other.plural for other in owners)
            raise OptionError(name, f"is for {those}, and these are {plural}", f"leave out {flag(name)}")


def _part(kinds: Sequence[type], options: dict[str, Any]) -> list[Any]:
    """Options dataclasses from those of their fields that are among the options."""
    own = {field for kind in kinds for field in kind.__dataclass_fields__}  # type: ignore[attr-defined]
    return make_options(kinds, {name: value for name, value in options.items() if name in own}, "comparison")


def _several(value: object) -> list[str]:
    """The names of one file or of several."""
    return as_names(value if isinstance(value, list | tuple) else [value])


def _read_files(
    named: Members, metrics: list[str], device: str, note: Note, options: dict[str, Any]
) -> tuple[list[Side], Units]:
    files = [(name, [str(path) for path in paths]) for name, paths in named]
    return output_sides(files, _several(options.get("target", ())), metrics, _part([BleuOptions], options)[0], note)


def _read_texts(
    named: Members, metrics: list[str], device: str, note: Note, options: dict[str, Any]
) -> tuple[list[Side], Units]:
    text = TextOptions(_several(options.get("on", ())), bool(options.get("held_out")), options.get("block_bytes"))
    models = []
    for name, paths in named:
        loaded = map(language_model.load, paths)
        models.append((name, [(placed(model, device), kind) for model, kind in loaded]))
    return language_model_sides(models, text, metrics, note)


def _read_labels(
    named: Members, metrics: list[str], device: str, note: Note, options: dict[str, Any]
) -> tuple[list[Side], Units]:
    names = ("label_column", "text_column")
    label, text = (as_columns(options.get(name)) for name in names)
    columns = label_columns(label, text, options.get("label_separator"))
    models = [(name, [TextClassifier.load(path, device) for path in paths]) for name, paths in named]
    return classifier_sides(models, _several(options.get("on", ())), columns, metrics, note)


def _read_pairs(
    named: Members, metrics: list[str], device: str, note: Note, options: dict[str, Any]
) -> tuple[list[Side], Units]:
    source, columns = options.get("source"), read_pair_columns(as_columns(options.get("columns")))
    search, bleu = _part([BeamOptions, BleuOptions], options)
    corpora, targets = (_several(options.get(name, ())) for name in ("on", "target"))
    pairs = PairOptions(corpora, None if source is None else as_name(source), targets, columns, search, bleu, device)
    models = [(name, [translator.load(path) for path in paths]) for name, paths in named]
    return translator_sides(models, pairs, metrics, note)
