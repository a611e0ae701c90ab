"""Texts to the probabilities of labels, on NumPy or on a device.

The logits of a model's network and those of its linear model, which is always on NumPy, are added.

Texts of similar length are read together, up to a budget of tokens, so memory does not depend on the number of texts.
On NumPy each group has its own thread. On a device, larger groups run one after the other, and their logits come back
together. Only the first LONGEST tokens of a text are read.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from nlpseq import arrays
from nlpseq.decoding.statuses import BLANK, IN_PART
from nlpseq.device import on_device
from nlpseq.errors import OptionError
from nlpseq.models import classifier
from nlpseq.models.classifier import ClassifierOptions
from nlpseq.models.linear import LinearModel, network_weights
from nlpseq.models.model_file import Model, Origin, load_again
from nlpseq.native.layer import unroll, workers
from nlpseq.native.matrix import PackedMatrix
from nlpseq.options import check, option
from nlpseq.text.display import quoted
from nlpseq.text.lines import OK
from nlpseq.text.padding import Ids, side_by_side, together
from nlpseq.workers import in_order

TOKENS_AT_ONCE = 2048
ENCODED_AT_ONCE = 256  # texts
LONGEST = 100_000  # tokens
UNSURE = "unsure"

Values = NDArray[Any]  # floats


@dataclass(frozen=True, kw_only=True)
class AbstentionOptions:
    """When a classifier abstains, and which word it writes then."""

    threshold: float | None = option(
        None,
        "least probability of a label that is written [default: 0; with several labels a text the model's own]",
        minimum=0,
        maximum=1,
        metavar="X",
        usual=True,
    )
    abstain: str | None = option(
        None,
        "word to write if no label reaches the --threshold [default: unsure; with several labels a text no word]",
        metavar="LABEL",
    )

    def __post_init__(self) -> None:
        check(self)
        if self.abstain is not None and (not self.abstain.strip() or "\t" in self.abstain or "\n" in self.abstain):
            raise OptionError("abstain", f"must be a word without tabs, was {quoted(self.abstain)}", "--abstain unsure")

    def check_labels(self, labels: Sequence[str], *, several: bool = False) -> None:
        """Raises OptionError if the word for abstaining is itself a label, or has no effect.

        `several` is whether a text has any number of labels.
        """
        if self.abstain not in (None, UNSURE) and not self.threshold and not several:
            hint = f"--threshold 0.8 --abstain {self.abstain}"
            raise OptionError("abstain", "has no effect without a threshold", hint)
        word = self.abstain if several else (self.abstain or UNSURE) if self.threshold else None
        if word is not None and word in labels:
            other = next(word for word in (UNSURE, "abstained", "?") if word not in labels)
            raise OptionError(
                "abstain", f"must not be a label of the model, was {quoted(word)}", f"--abstain {quoted(other)}"
            )


class Decision(NamedTuple):
    """All labels of a text, the most probable first, and their probabilities.

    The probabilities of one label a text add up to one. Those of several are independent.
    """

    labels: list[str]
    probabilities: list[float]
    cut: bool  # whether only the first LONGEST tokens were read
    threshold: float | None = None  # if a text may have several labels: the least probability of those that apply

    @property
    def label(self) -> str:
        """The most probable label."""
        return self.labels[0]

    @property
    def probability(self) -> float:
        """The probability of that label."""
        return self.probabilities[0]

    @property
    def chosen(self) -> list[str]:
        """The most probable label; if a text may have several, those that reach the threshold, which may be none."""
        return self.labels[:1] if self.threshold is None else self.reaching(self.threshold)

    def reaching(self, threshold: float) -> list[str]:
        """The labels with at least this probability."""
        return self.labels[: sum(probability >= threshold for probability in self.probabilities)]

    def decide(self, abstention: AbstentionOptions) -> str:
        """The most probable label, or the word for abstaining."""
        sure = self.probability >= (abstention.threshold or 0)
        return self.label if sure else UNSURE if abstention.abstain is None else abstention.abstain

    def choose(self, abstention: AbstentionOptions) -> list[str]:
        """The labels that apply, or the word for abstaining; none if a text may have several and there is no word."""
        if self.threshold is None:
            return [self.decide(abstention)]
        threshold = self.threshold if abstention.threshold is None else abstention.threshold
        word = [] if abstention.abstain is None else [abstention.abstain]
        return self.reaching(threshold) or word

    def by_label(self, most: int | None = None) -> dict[str, float]:
        """The probability of each label, or of the `most` most probable ones."""
        return dict(zip(self.labels[:most], self.probabilities[:most], strict=True))


def decision_status(decision: Decision | None) -> str:
    """The status of a line: OK, IN_PART or BLANK."""
    if decision is None:
        return BLANK
    return IN_PART if decision.cut else OK


class _Engine(Protocol):
    """Computes logits on a device."""

    def begin(self, texts: Sequence[Values]) -> Callable[[], Values]:
        """Start to compute the logits [N, C] of texts of ids; the returned function waits for them."""


class _HostEngine:
    """Logits by NumPy and compiled code, on threads."""

    def __init__(self, weights: classifier.Weights, options: ClassifierOptions) -> None:
        packed = classifier.projections(weights)
        self.weights = {name: PackedMatrix.of(value) if name in packed else value for name, value in weights.items()}
        self.options = options

    def begin(self, texts: Sequence[Values]) -> Callable[[], Values]:
        """As `_Engine.begin`."""
        logits = np.empty((len(texts), len(self.weights["output.bias"])), np.float32)
        lengths = np.array([len(text) for text in texts], np.int64)
        groups = [
            group[::-1] for group in together(lengths, TOKENS_AT_ONCE)
        ]  # the longest first, as the layer takes them

        def run(group: Ids) -> None:
            ids, lengths = side_by_side([texts[index] for index in group])
            outputs = classifier.read(self.weights, self.options, ids, lengths, run_layer=unroll)
            logits[group] = classifier.logits(self.weights, self.options, outputs)

        running = workers().map(run, groups[::-1]) if len(groups) > 1 else map(run, groups)

        def finish() -> Values:
            for _ in running:
                pass
            return logits

        return finish


def _engine_on(device: str, weights: classifier.Weights, options: ClassifierOptions) -> _Engine:
    moved = on_device(weights, device)
    if arrays.is_numpy(moved["embedding.weight"]):
        return _HostEngine(moved, options)
    from nlpseq.decoding.device.classification import DeviceEngine

    return DeviceEngine(moved, options)


class TextClassifier:
    """A classifier, ready to classify texts."""

    def __init__(self, model: Model, options: ClassifierOptions, device: str = "cpu") -> None:
        """Raises BackendError if there is no such device."""
        self.model = model
        self.options = options
        self._engine = _engine_on(device, network_weights(model.weights), options)
        self.linear = LinearModel.of(model.weights, options.linear)
        self.labels: list[str] = model.header["labels"]
        self.temperature = float(model.header.get("temperature", 1.0))
        self.several = bool(model.header.get("several_labels"))  # whether a text has any number of labels
        self.threshold = float(model.header.get("threshold", 0.5)) if self.several else None

    @classmethod
    def load(cls, path: Path, device: str = "cpu") -> TextClassifier:
        """Load a model file or run folder. Raises ModelFileError as `classifier.load`, BackendError as the class."""
        return cls(*classifier.load(path), device)

    def ids(self, text: str) -> Values:
        """The tokens of a text."""
        return classifier.text_ids(self.model.tokeniser, text, lowercase=bool(self.options.lowercase))

    def logits(self, texts: Sequence[str]) -> Values:
        """Unnormalised log-probabilities [N, C] of texts, before the temperature is applied.

        If a text may have several labels, they are the log-odds of each.
        """
        return self._logits_and_lengths(texts)[0]

    def _logits_and_lengths(self, texts: Sequence[str]) -> tuple[Values, list[int]]:
        """The logits [N, C] of texts, and their numbers of tokens."""
        lengths: list[int] = []
        running = []
        for start in range(0, len(texts), ENCODED_AT_ONCE):  # texts are encoded while earlier ones are read
            ids = [self.ids(text) for text in texts[start : start + ENCODED_AT_ONCE]]
            lengths += map(len, ids)
            running.append(self._engine.begin([text[:LONGEST] for text in ids]))
        linear = self.linear_logits(texts)
        logits = np.concatenate([np.empty((0, len(self.labels)), np.float32), *(finish() for finish in running)])
        return (logits if linear is None else logits + linear), lengths

    def linear_logits(self, texts: Sequence[str]) -> Values | None:
        """The logits [N, C] of texts by the linear model; None if the model has none."""
        return None if self.linear is None else self.linear.logits([self.cased(text) for text in texts])

    def cased(self, text: str) -> str:
        """A text as the model reads it: in lower case, unless it was trained with capital letters."""
        return text.lower() if self.options.lowercase else text

    def classify(self, texts: Sequence[str]) -> list[Decision]:
        """The decision on each text, also on a blank one."""
        logits, lengths = self._logits_and_lengths(texts)
        scaled = logits / self.temperature
        probabilities = arrays.sigmoid(scaled) if self.several else arrays.softmax(scaled)
        order = np.argsort(-probabilities, axis=1, kind="stable")
        return [
            Decision([self.labels[label] for label in labels], row[labels].tolist(), length > LONGEST, self.threshold)
            for length, row, labels in zip(lengths, probabilities, order, strict=True)
        ]

    def classify_lines(self, lines: Sequence[str | None]) -> list[Decision | None]:
        """The decision on each line; None for a line that is blank or None."""
        decisions = iter(self.classify([line for line in lines if line and line.strip()]))
        return [next(decisions) if line and line.strip() else None for line in lines]

    def by_workers(self, portions: Iterable[Any], processes: int) -> Generator[list[Decision | None], None, None]:
        """As `classify_lines` for one portion of lines after another, by worker processes: see `in_order`."""
        return in_order(f"{__name__}:load_line_classifier", self.model.origin, portions, processes)


def load_line_classifier(origin: Origin) -> Callable[[Sequence[str | None]], list[Decision | None]]:
    """In a worker process: `classify_lines` of a model. Raises ModelFileError as `load_again`."""
    return TextClassifier(*load_again(classifier.load, origin)).classify_lines
