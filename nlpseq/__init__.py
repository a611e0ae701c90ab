"""nlpseq: small recurrent text models of your own data, on your own machine.

    import nlpseq

    model = nlpseq.train("sentiment", "reviews.tsv", out="checkpoints/sentiment", minutes=5)
    model = nlpseq.load("checkpoints/sentiment")
    model.classify("a dull film with a wonderful end").label

Importing nlpseq imports neither NumPy nor torch; each function imports its own needs when it is called. Running a model
needs no torch, training does.
"""

from __future__ import annotations

TYPE_CHECKING = False  # type checkers read it as true; importing it would make the start of the program longer
if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import Any

    from nlpseq.api.classifier import Classifier
    from nlpseq.api.language_model import LanguageModel
    from nlpseq.api.translator import Translator
    from nlpseq.api.tuning import Tuned
    from nlpseq.errors import NlpseqError
    from nlpseq.evaluation.comparison.records import Comparison
    from nlpseq.evaluation.scores import Score
    from nlpseq.training.progress import Progress

__version__ = "0.1.0"
__all__ = [
    "Classifier",
    "LanguageModel",
    "NlpseqError",
    "Score",
    "Translator",
    "__version__",
    "compare",
    "distil",
    "load",
    "train",
    "tune",
]

_MODULES = {
    "Classifier": "nlpseq.api.classifier",
    "LanguageModel": "nlpseq.api.language_model",
    "NlpseqError": "nlpseq.errors",
    "Score": "nlpseq.evaluation.scores",
    "Translator": "nlpseq.api.translator",
}


def load(
    path: str | bytes | Path, *others: str | bytes | Path, device: str = "cpu", precision: str = "fp32"
) -> LanguageModel | Classifier | Translator:
    """Load a model from its run folder or model file, or a bundled model by its name, such as `stories`.

    Several paths are translators that translate together. `device` is `cpu` or `cuda`; with `precision="bf16"` or
    "int8" a language model's matrices are rounded, which halves or quarters the bytes that each token reads.

    Raises ModelFileError if the file is missing, damaged, foreign or newer, BackendError if there is no such device,
    and OptionError for options that are not for the model's task.
    """
    from nlpseq.api import loading

    return loading.load(path, *others, device=device, precision=precision)


def compare(
    *sides: str | bytes | Path | list[str | bytes | Path] | tuple[str | bytes | Path, ...],
    outputs: bool = False,
    metric: str | list[str] | tuple[str, ...] = (),
    device: str = "cpu",
    note: Callable[[str], object] | None = None,
    **options: Any,
) -> Comparison:
    """Compare models, or files of their outputs, with the first of them: `compare("runs/a", "runs/b", on="test.txt")`.

    A side that is a list, a pattern such as `runs/a-*` or a folder of runs is one recipe with several seeds. Every
    option of `nlpseq compare` is given by its name: `on` (a corpus or a list of them), `source` and `target`,
    `samples`, `random_seed` and so on. With `outputs` the sides are files, whose lines are compared with those of
    `target`. `note` is called with what a reader of the scores should know. `compare(...).as_json()` is what
    `nlpseq compare --json` writes.

    Raises ModelFileError for a model that is missing or of another task, OptionError for options that make no sense,
    and CorpusError for a text that cannot be read, or is too short for an interval.
    """
    from nlpseq.api import comparing

    return comparing.compare(
        *sides, outputs=outputs, metric=metric, device=device, note=note or (lambda text: None), **options
    )


def train(
    task: str,
    *corpora: str | bytes | Path,
    progress: Callable[[Progress], object] | None = None,
    note: Callable[[str], object] | None = None,
    **options: Any,
) -> LanguageModel | Classifier | Translator:
    """Train a model, and load the best one.

    `task` is `lm`, `sentiment` or `translation`. Every option of `nlpseq train` is given by its name, with underscores:
    `out`, `minutes`, `hidden_size`, `init_from` and so on. `progress` is called with a record after each step, `note`
    with each sentence about what was chosen. Ctrl-C saves the run and raises KeyboardInterrupt; `resume=True` continues
    it.

    Raises OptionError for an unknown option or a value that is not allowed, CorpusError for a corpus that cannot be
    read, RunError if the run folder cannot be used.
    """
    from nlpseq import process

    process.wait_without_spinning()
    from nlpseq.api import training

    return training.train(task, *corpora, progress=progress, note=note or (lambda text: None), **options)


def tune(
    task: str,
    *corpora: str | bytes | Path,
    minutes: float = 30.0,
    test: str | bytes | Path | list[str | bytes | Path] | tuple[str | bytes | Path, ...] = (),
    trial: Callable[[dict[str, Any]], object] | None = None,
    note: Callable[[str], object] | None = None,
    **options: Any,
) -> Tuned:
    """Search for better options of `train` under a clock, and load the best model: `tune(...).model`.

    Every option of `nlpseq tune` is given by its name; those that are given stay as they are. `test` is the text for
    the last evaluation, which is held out of the corpus otherwise. `trial` is called with each trial that has ended.
    Ctrl-C keeps the best run so far and raises KeyboardInterrupt. `tune(...).report` is what `nlpseq tune --json`
    writes.

    Raises OptionError without Optuna, which `pip install 'nlpseq[tune]'` installs, and what `train` raises.
    """
    from nlpseq import process

    process.wait_without_spinning()
    from nlpseq.api import tuning

    said = note or (lambda text: None)
    return tuning.tune(task, *corpora, minutes=minutes, test=test, trial=trial, note=said, **options)


def distil(
    *arguments: str | bytes | Path,
    corpus: str | bytes | Path | list[str | bytes | Path] | tuple[str | bytes | Path, ...] = (),
    progress: Callable[[Progress], object] | None = None,
    note: Callable[[str], object] | None = None,
    **options: Any,
) -> LanguageModel | Classifier | Translator:
    """Train a small model from one or several large ones, and load it.

    The arguments are models and then corpora, by default the training corpus of the first model; `corpus` is for a
    corpus that has the name of a model. Options are those of `train`; without `hidden_size` the student has half the
    units of its teacher. `soft` is the weight of the teachers' answers in the loss.

    Raises OptionError for models that do not fit each other, and what `train` raises.
    """
    from nlpseq import process

    process.wait_without_spinning()
    from nlpseq.api import distillation

    said = note or (lambda text: None)
    return distillation.distil(*arguments, corpus=corpus, progress=progress, note=said, **options)


def __getattr__(name: str) -> Any:
    """The classes, imported when they are asked for."""
    if name not in _MODULES:
        raise AttributeError(f"module 'nlpseq' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
