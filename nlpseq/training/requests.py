"""The request of a training run: one options dataclass a task, which the command line and Python fill alike.

A request nests the options of the corpus, of the model and of training; `make_request` fills it from flat names. torch
is not imported here, so that the command line can show the options at once.
"""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from nlpseq import tasks
from nlpseq.errors import OptionError
from nlpseq.files import file_name
from nlpseq.models.classifier import ClassifierOptions
from nlpseq.models.language_model import LanguageModelOptions
from nlpseq.models.options import RecurrentOptions
from nlpseq.models.translator import TranslatorOptions
from nlpseq.options import check, option, refuse_unknown
from nlpseq.text.beginnings import take
from nlpseq.text.tables.label_tables import LabelColumns, label_columns
from nlpseq.training.columns import as_columns, read_pair_columns
from nlpseq.training.options import (
    ClassifierTraining,
    CorpusOptions,
    LanguageModelTraining,
    TrainingOptions,
    TranslationTraining,
)
from nlpseq.training.pretraining.refusals import check_unlabelled

Paths = tuple[str, ...]
CORPUS = "a path or the name of a corpus"


@dataclass(frozen=True, kw_only=True)
class Request:
    """What is asked of a training run."""

    corpus: Paths = option((), "text files", metavar="CORPUS", argument=True)
    take: int | None = option(None, "read only the first N lines, or rows, of each corpus", minimum=1)
    valid: Paths = option((), "validation text", metavar="FILE")
    out: Path = option(Path("checkpoints/model"), "run folder", metavar="DIR")
    resume: bool = option(False, "continue the run in the folder", switch=True, usual=True)
    overwrite: bool = option(False, "replace the run in the folder by a new one", switch=True)
    init_from: Path | None = option(None, "start from a model's weights and tokeniser", metavar="MODEL")
    teacher: Paths = option((), "model whose answers are learned too, as by nlpseq distil", metavar="MODEL")
    processes: int = option(
        1, "processes sharing each batch, on GPUs one each [default: 1; --resume: as before]", minimum=1, maximum=1024
    )
    corpus_options: CorpusOptions = field(default_factory=CorpusOptions)
    model: RecurrentOptions
    training: TrainingOptions
    given: frozenset[str] = frozenset()  # the names of the options that were set, each as its flag is called

    def __post_init__(self) -> None:
        check(self)
        for name, names in (("CORPUS", self.corpus), ("valid", self.valid)):
            if "" in names:
                raise OptionError(name, "must be a file or the name of a corpus, was empty", "nlpseq corpus list")
        if "" in self.teacher:
            raise OptionError("teacher", "must be a run folder or a model file, was empty", "nlpseq runs")
        _ = self.files()

    def files(self) -> Paths:
        """The corpora to train on, as they are read; empty for the bundled one."""
        return take(self.corpus, self.take)

    def files_or(self, bundled: str) -> Paths:
        """The corpora to train on, by default the bundled one."""
        return self.files() or take((bundled,), self.take)

    def all_files(self) -> Paths:
        """All that is read: the corpora to train on and the validation text."""
        return *self.files(), *self.valid

    def files_before(self) -> Paths:
        """The texts of a model that is trained first."""
        return ()

    def as_json(self) -> dict[str, Any]:
        """The parts of the request that make two runs the same run."""
        return {
            "corpus": list(self.corpus),
            "take": self.take,
            "valid": list(self.valid),
            "init_from": None if self.init_from is None else str(self.init_from),
            **({"teacher": list(self.teacher)} if self.teacher else {}),
            "corpus_options": asdict(self.corpus_options),
            "model": asdict(self.model),
            "training": asdict(self.training),
        }


@dataclass(frozen=True, kw_only=True)
class LanguageModelRequest(Request):
    """Train a language model on text files, or on the bundled stories.

    \b
      nlpseq train lm book.txt --minutes 5
    """

    corpus: Paths = option(
        (),
        "texts (.gz, .xz, .zst too), .html, .epub, .docx, .zip, folders, 'books/*.txt', -, bundled corpora, or "
        "hf:NAME[:CONFIG]",
        metavar="CORPUS",
        argument=True,
    )
    valid: Paths = option((), "validation text [default: the corpus' last tenth]", metavar="FILE", usual=True)
    out: Path = option(tasks.LANGUAGE_MODEL.folder, "run folder", metavar="DIR", usual=True)
    model: LanguageModelOptions = field(default_factory=LanguageModelOptions)
    training: LanguageModelTraining = field(default_factory=LanguageModelTraining)


@dataclass(frozen=True, kw_only=True)
class ClassifierRequest(Request):
    """Train a classifier on texts with labels, or on the bundled reviews.

    \b
      nlpseq train sentiment reviews.tsv --minutes 5

    It is better if it starts from a language model of texts without labels: --unlabelled FILE trains one first.
    """

    corpus: Paths = option(
        (),
        "texts with labels: .tsv, .csv, .jsonl (.gz too), .parquet, fastText's lines, a folder for each label, "
        "hf:NAME[:CONFIG] [default: reviews]",
        metavar="CORPUS",
        argument=True,
    )
    label_column: str | None = option(
        None, "the label's column, by name or number [default: by header]", metavar="NAME", usual=True
    )
    text_column: str | None = option(
        None, "the text's column, by name or number [default: by header]", metavar="NAME", usual=True
    )
    label_separator: str | None = option(
        None, "characters between the labels of a text, which may have any number of them", metavar="TEXT"
    )
    valid: Paths = option((), "validation texts [default: a tenth of each label]", metavar="FILE", usual=True)
    unlabelled: Paths = option((), "texts without labels, to be learned first", metavar="FILE", usual=True)
    unlabelled_steps: int | None = option(
        None,
        "steps of the language model that learns --unlabelled, with --steps or --epochs [default: one pass]",
        minimum=1,
    )
    out: Path = option(tasks.CLASSIFIER.folder, "run folder", metavar="DIR", usual=True)
    model: ClassifierOptions = field(default_factory=ClassifierOptions)
    training: ClassifierTraining = field(default_factory=ClassifierTraining)

    def __post_init__(self) -> None:
        super().__post_init__()
        _ = self.columns
        check_unlabelled(self)

    def files_before(self) -> Paths:
        """The texts without labels."""
        return self.unlabelled

    @property
    def columns(self) -> LabelColumns:
        """The columns of label and text."""
        return label_columns(self.label_column, self.text_column, self.label_separator)

    def as_json(self) -> dict[str, Any]:
        """The parts of the request that make two runs the same run."""
        separator = {} if self.label_separator is None else {"label_separator": self.label_separator}
        before = {"unlabelled": list(self.unlabelled), "unlabelled_steps": self.unlabelled_steps}
        columns = {"label_column": self.label_column, "text_column": self.text_column}
        return {**super().as_json(), **columns, **separator, **(before if self.unlabelled else {})}


@dataclass(frozen=True, kw_only=True)
class TranslatorRequest(Request):
    """Train a translator on pairs of texts, or on the bundled pairs.

    Any task from text to text can be learned. --valid FILE is a table, or with --source twice: source and target.

    \b
      nlpseq train translation pairs.tsv --minutes 10
      nlpseq train translation --source train.en --target train.de
    """

    corpus: Paths = option(
        (),
        "tables of pairs: .tsv, .csv, .jsonl, .po, .tmx (.gz, .xz, .zst too), .parquet, hf:NAME[:CONFIG] "
        "[default: english-german]",
        metavar="CORPUS",
        argument=True,
    )
    source: Path | None = option(None, "source texts, one a line", metavar="FILE", usual=True)
    target: Path | None = option(None, "their targets, in step", metavar="FILE", usual=True)
    columns: str | None = option(
        None,
        "a table's columns, keys or languages, by name or number [default: by header, else the first two]",
        metavar="SOURCE,TARGET",
    )
    valid: Paths = option(
        (),
        "pairs for validation [default: the last pairs]",
        metavar="FILE",
        usual=True,
    )
    synthetic: Paths = option(
        (),
        "further pairs for training, of which a model has made one side; as for --valid",
        metavar="FILE",
    )
    originals: bool = option(False, "learn a pair's own target too, besides that of a --teacher", switch=True)
    translated: int | None = option(None, "sources a --teacher translates [default: all there is time for]", minimum=1)
    out: Path = option(tasks.TRANSLATOR.folder, "run folder", metavar="DIR", usual=True)
    model: TranslatorOptions = field(default_factory=TranslatorOptions)
    training: TranslationTraining = field(default_factory=TranslationTraining)

    def __post_init__(self) -> None:
        super().__post_init__()
        if "" in self.synthetic:
            raise OptionError("synthetic", "must be a file, was empty", "leave out --synthetic")
        if (self.source is None) != (self.target is None):
            raise OptionError("source and target", "go together", "--source FILE --target FILE")
        if self.source is not None and self.corpus:
            raise OptionError("source and target", "replace CORPUS: give one of them")
        if self.source is not None and self.columns is not None:
            raise OptionError("columns", "is for tables, and --source and --target are texts", "leave out --columns")
        _ = self.pair_columns

    @property
    def pair_columns(self) -> tuple[str, str] | None:
        """The names of the source's and the target's column."""
        return read_pair_columns(self.columns)

    def files(self) -> Paths:
        """The tables, or the two files."""
        return take(self.corpus if self.source is None else (str(self.source), str(self.target)), self.take)

    def all_files(self) -> Paths:
        """All that is read, the synthetic pairs too."""
        return *super().all_files(), *self.synthetic

    def as_json(self) -> dict[str, Any]:
        """The parts of the request that make two runs the same run."""
        files = {name: value and str(value) for name, value in (("source", self.source), ("target", self.target))}
        columns = self.pair_columns and list(self.pair_columns)
        taught = {name: value for name in ("originals", "translated") if (value := getattr(self, name))}
        return {**super().as_json(), **files, "columns": columns, "synthetic": list(self.synthetic), **taught}


def make_request(task: tasks.Task, corpora: Sequence[object], values: Mapping[str, Any]) -> Request:
    """The request of a task with options by their flat names, as `hidden_size=128`; paths may be str, bytes or Path.

    Raises OptionError for a name that is no option of the task, or a value that an option does not allow.
    """
    kind = task.load("request")
    fields = {name: owner for owner, name in _fields(kind)}
    for name in ("quiet", "json"):
        if name in values:
            raise OptionError(name, "is an option of the command line", "progress=print and note=print show a run")
    refuse_unknown(values, fields, f"training a {task.noun}", f"nlpseq train {task.command} --help")
    nested: dict[str, dict[str, Any]] = {}
    own: dict[str, Any] = {"corpus": tuple(file_name(corpus, "corpus", CORPUS) for corpus in corpora)}
    types = typing.get_type_hints(kind)
    for name, value in values.items():
        if owner := fields[name]:
            nested.setdefault(owner, {})[name] = value
        else:
            own[name] = _as_path(name, value, types[name])
    inner = {owner: types[owner](**options) for owner, options in nested.items()}
    request: Request = kind(**own, **inner, given=frozenset(values) | ({"corpus"} if corpora else set()))
    return request


def _fields(kind: type[Request]) -> Iterator[tuple[str, str]]:
    """The nested options (or "") and the name of every option of a request."""
    types = typing.get_type_hints(kind)
    for outer in dataclasses.fields(kind):
        if dataclasses.is_dataclass(types[outer.name]):
            for inner in dataclasses.fields(types[outer.name]):
                yield outer.name, inner.name
        elif outer.name != "corpus" and outer.metadata:
            yield "", outer.name


def _as_path(name: str, value: Any, kind: Any) -> Any:
    """A value as the type of its field: paths and lists of them may be given as str, bytes or Path."""
    if kind == Paths:
        names = value if isinstance(value, list | tuple) else [value]
        return tuple(file_name(each, name, CORPUS) for each in names)
    if Path in (kind, *typing.get_args(kind)) and (value is not None or kind is Path):
        return Path(file_name(value, name, CORPUS))
    if name in ("columns", "label_column", "text_column"):
        return as_columns(value)
    return value
