"""A trained model, whatever its task: where it lies, how good it was, and a clear answer for what it cannot do."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

from nlpseq.errors import OptionError, TaskError
from nlpseq.evaluation.scores import Score
from nlpseq.models.model_file import Model
from nlpseq.options import refuse_unknown
from nlpseq.tasks import TASKS, Task
from nlpseq.vectors.embedder import TextEmbedder, Values, VectorOptions
from nlpseq.vectors.neighbours import Neighbour, Neighbours
from nlpseq.vectors.vocabulary import SimilarWord, Vocabulary

Texts = list[str] | tuple[str, ...]


class TrainedModel:
    """What the models of all tasks share."""

    task: ClassVar[Task]
    precisions: ClassVar[tuple[str, ...]] = ("fp32",)  # of its matrices
    together: ClassVar[bool] = False  # whether several models of the task can be loaded as one
    model: Model
    options: Any  # of the task
    device: str
    _embedder: TextEmbedder | None = None  # the one that was used last

    @classmethod
    def load(cls, *paths: Any, **options: Any) -> TrainedModel:
        """The model in a file or run folder."""
        raise NotImplementedError

    @property
    def path(self) -> Path:
        """The model's file."""
        return self.model.path

    @property
    def scores(self) -> list[Score]:
        """The scores that training reported."""
        return [Score(**score) for score in self.model.header.get("scores") or []]

    def embed(self, texts: str | Texts, *, pooling: str | None = None, normalise: bool = False) -> Values:
        """The vector [D] of a text, or the vectors [N, D] of several, as float32; zero for a blank text.

        `pooling` is `mean`, `max` or `last`, of the top layer's outputs over the text's tokens. By default it is the
        mean, and of a classifier what its labels are computed from. With `normalise` each vector has length 1. Raises
        OptionError for another pooling.
        """
        vectors = self._vectors(pooling, normalise=normalise).embed(as_list(texts, "texts"))
        return vectors[0] if isinstance(texts, str) else vectors

    def nearest(self, text: str, lines: Texts, top: int = 10, *, pooling: str | None = None) -> list[Neighbour]:
        """The `top` lines most like a text: each with its cosine similarity and its number, from 1. Blank ones never,
        and of equal lines the first.

        For many texts and the same lines, multiply the arrays that `embed` returns.
        """
        embedder, known = self._vectors(pooling), as_list(lines, "lines")
        neighbours = Neighbours(embedder.embed([check_text(text, "text")]), check_count(top, "top"))
        neighbours.add([line if line.strip() else None for line in known], embedder.embed(known))
        return neighbours.best()[0]

    def similar_words(self, word: str, top: int = 10) -> list[SimilarWord]:
        """The `top` words, or tokens, of the model's embedding that are most like a word, with their similarities.

        Raises OptionError for a word that the model does not know.
        """
        return Vocabulary(self.model).nearest(check_text(word, "word"), check_count(top, "top"))

    def _vectors(self, pooling: str | None, *, normalise: bool = False) -> TextEmbedder:
        wanted = VectorOptions(pooling=pooling, normalise=normalise)
        if self._embedder is None or self._embedder.vectors != wanted:
            self._embedder = TextEmbedder(self.model, self.options, wanted, self.device)
        return self._embedder

    @classmethod
    def abilities(cls) -> list[str]:
        """The names of the methods that are particular to the task."""
        return [name for name in vars(cls) if not name.startswith("_") and callable(getattr(cls, name))]

    def __repr__(self) -> str:
        return f"<nlpseq {self.task.noun} {self.model.name}>"

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> NoReturn:
            """Raises TaskError for an ability of another task, with what this model has instead."""
            public = not name.startswith("_")
            others = [task.noun for task in TASKS.values() if public and name in task.load("model").abilities()]
            if not others:
                raise AttributeError(f"{type(self).__name__} has no attribute {name!r}", name=name, obj=self)
            have = ", ".join(sorted(set(self.abilities()) - {"load"}))
            what = f"is a {self.task.noun} and cannot {name}; it has {have}"
            raise TaskError(self.model.name, what, f"load a {' or a '.join(others)}")


def make_options(kinds: Sequence[type], values: Mapping[str, Any], ability: str) -> list[Any]:
    """Options dataclasses filled with values by name.

    Raises OptionError for a name that none of them has, or a value that an option does not allow.
    """
    names = [{field.name for field in fields(kind)} for kind in kinds]
    known = set().union(*names)
    refuse_unknown(values, known, ability, f"its options are {', '.join(sorted(known))}")
    return [
        kind(**{name: value for name, value in values.items() if name in own})
        for kind, own in zip(kinds, names, strict=True)
    ]


def as_list(texts: str | Sequence[str], parameter: str) -> list[str]:
    """One text or several as a list. Raises OptionError for anything else."""
    several = list(texts) if isinstance(texts, Iterable) and not isinstance(texts, str | bytes) else [texts]
    for text in several:
        if not isinstance(text, str):
            raise OptionError(parameter, f"must be a text or a list of texts, was {text!r}")
    return several


def check_text(text: str, parameter: str) -> str:
    """The text. Raises OptionError for anything else."""
    if not isinstance(text, str):
        raise OptionError(parameter, f"must be a text, was {text!r}")
    return text


def check_count(count: int, parameter: str) -> int:
    """A number of things. Raises OptionError for anything but a whole number of at least 1."""
    if not isinstance(count, int) or isinstance(count, bool) or count < 1:
        raise OptionError(parameter, f"must be a whole number of at least 1, was {count!r}")
    return count
