"""The linear model of a classifier's n-grams, fitted before the network is trained.

Support vector machines for each label (LIBLINEAR, by scikit-learn), with errors of different costs and with n-grams
weighed by evidence or not, are compared by the loss of the validation texts; on few texts a multinomial logistic
regression is, too. The weights of the best three are averaged, which costs nothing later. Fitting takes seconds, and
its result depends on the texts alone. Weights are rounded to 8 significant bits, which changes no accuracy and halves
them in the model file.

The n-grams of the training texts are in memory while it is fitted, 12 bytes for each different one of a text. A corpus
with more than MOST_NGRAMS of them is read without the parts of words, then one text in two, three and so on.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from nlpseq.evaluation.shares import Calibration
from nlpseq.files import replace_file
from nlpseq.models.linear import KEYS, LinearModel, Vocabulary, check_keys, weight_shapes
from nlpseq.models.storage import round_to_bf16
from nlpseq.models.text_ngrams import PARTS, SECOND_GROUP, WORDS, NGrams, count_ngrams, portions, run_starts

FILE = "linear.safetensors"
VALID = "valid"  # its tensor of logits
MOST_NGRAMS = 16_000_000  # of all texts together, each counted once in a text
MOST_PRODUCTS = 400_000_000  # n-grams times labels; fitting takes about a second for ten million
CHEAP_PRODUCTS = 100_000_000  # with more, the costs of errors are not compared
FEW_PRODUCTS = 20_000_000  # for which a logistic regression is fast, too
MOST_WEIGHTS = 4_000_000  # n-grams in the vocabulary times labels
LARGEST_VOCABULARY = 1 << 18
SAMPLE = 2000  # texts
COSTS, USUAL_COST = (0.03, 0.1, 0.3, 1.0), 0.3  # of errors of a support vector machine
WEIGHED_COSTS = (0.1, 1.0)
LOGISTIC_COST = 4.0
AVERAGED = 3  # of the fitted models, those with the smallest loss
ABSENT = -2.0  # margin of a label that none of the texts has

Logits = NDArray[np.float32]
Labels = NDArray[Any]  # [N] label numbers, or [N, C] flags
Judge = Callable[[Logits], Calibration]


class Fitted(NamedTuple):
    """A linear model, and its logits [N, C] of the validation texts."""

    model: LinearModel
    valid_logits: Logits

    def write(self, folder: Path) -> None:
        """Write it into a folder. Raises RunError as `replace_file`."""
        tensors = {**self.model.weights(), VALID: self.valid_logits}
        data = save({name: np.ascontiguousarray(value) for name, value in tensors.items()}, {"kind": self.kind})
        replace_file(folder / FILE, data)

    @classmethod
    def read(cls, folder: Path) -> Fitted | None:
        """What `write` wrote, or None if it wrote nothing. Raises OSError or ValueError if it is damaged."""
        path = folder / FILE
        if not path.exists():
            return None
        try:
            with safe_open(path, "numpy") as file:
                tensors = {name: file.get_tensor(name) for name in list(file.keys())}
                model = LinearModel.of(tensors, file.metadata()["kind"])
        except (SafetensorError, TypeError, KeyError) as error:
            raise ValueError(f"{FILE}: {error}") from error
        if model is None or VALID not in tensors:
            raise ValueError(f"{FILE} has no linear model")
        return cls(model, tensors[VALID])

    def fits(self, valid: int, labels: int, *, several: bool) -> bool:
        """Whether it is for this number of validation texts, and of labels, of which a text has one or `several`."""
        weights = self.model.weights()
        expected = weight_shapes(len(self.model.vocabulary.keys), labels, several=several)
        is_sound = {name: value.shape for name, value in weights.items()} == expected and all(
            value.dtype == (np.uint32 if name == KEYS else np.float32) for name, value in weights.items()
        )
        if is_sound:
            check_keys(weights)
        return is_sound and self.valid_logits.shape == (valid, labels) and self.valid_logits.dtype == np.float32

    @property
    def kind(self) -> str:
        """The kind of n-grams."""
        return self.model.vocabulary.kind


class Examples(NamedTuple):
    """Texts, which can be read several times, and their labels."""

    texts: Callable[[], Iterable[str]]
    labels: Labels

    def every(self, step: int) -> Examples:
        """One text in `step`."""
        return Examples(lambda: islice(self.texts(), 0, None, step), self.labels[::step])


def fit_linear(train: Examples, valid: Sequence[str], count: int, kind: str, judge: Judge) -> Fitted:
    """Fit a linear model to texts with `count` labels C; `judge` is asked about its logits [N, C] of the `valid` texts.

    Of a large corpus only words are counted where `kind` is PARTS, and then only some of the texts.
    """
    kind, step = _affordable(train, kind, min(MOST_NGRAMS, MOST_PRODUCTS // count))
    train = train.every(step)
    vocabulary, matrix = _weighed(train, kind, count)
    best: list[tuple[Calibration, Logits, Logits]] = []
    for estimator, weigh in _ways(matrix.nnz * count, several=train.labels.ndim == 2):
        weight, bias = _fit(estimator, matrix, train.labels, count, weigh=weigh)
        best.append((judge(LinearModel(vocabulary, weight, bias).logits(valid)), weight, bias))
        best = sorted(best, key=lambda each: each[0].loss)[:AVERAGED]
    shares = [np.float32(1 / (len(best) * judged.temperature)) for judged, _, _ in best]
    weight = np.sum([share * each for share, (_, each, _) in zip(shares, best, strict=True)], 0)
    bias = np.sum([share * each for share, (_, _, each) in zip(shares, best, strict=True)], 0)
    model = LinearModel(vocabulary, round_to_bf16(np.ascontiguousarray(weight)), bias)
    return Fitted(model, model.logits(valid))


def _affordable(train: Examples, kind: str, most: float) -> tuple[str, int]:
    """The kind of n-grams, and the step between texts, for which there are `most` n-grams at most, by a sample."""
    words, parts, texts = 0, 0, 0
    for portion in portions(train.every(max(1, len(train.labels) // SAMPLE)).texts()):
        keys = count_ngrams(portion, kind).keys
        texts += len(portion)
        parts += int((keys >= SECOND_GROUP).sum())
        words += int((keys < SECOND_GROUP).sum())
    scale = len(train.labels) / max(1, texts)
    if (words + parts) * scale <= most:
        return kind, 1
    return (WORDS if kind == PARTS else kind), max(1, math.ceil(words * scale / most))


def _weighed(train: Examples, kind: str, count: int) -> tuple[Vocabulary, Any]:
    """The vocabulary of the texts, and their TF-IDF weights, a sparse matrix [N, F]."""
    from scipy.sparse import csr_matrix

    counted = [(count_ngrams(portion, kind), len(portion)) for portion in portions(train.texts())]
    vocabulary = _vocabulary([found for found, _ in counted], len(train.labels), kind, count)
    starts, indices, values = [np.zeros(1, np.int64)], [], []
    counted.reverse()
    while counted:
        found, texts = counted.pop()
        owner, rows, weights = vocabulary.weigh(found, texts)
        starts.append(starts[-1][-1] + np.bincount(owner, minlength=texts).cumsum())
        indices.append(rows.astype(np.int32))
        values.append(weights)
    shape = (len(train.labels), len(vocabulary.keys))
    return vocabulary, csr_matrix((np.concatenate(values), np.concatenate(indices), np.concatenate(starts)), shape)


def _vocabulary(counted: Sequence[NGrams], texts: int, kind: str, count: int) -> Vocabulary:
    """The n-grams of most texts, as many as there may be, of a number of texts."""
    keys = np.sort(np.concatenate([found.keys for found in counted]))
    firsts = run_starts(keys)
    frequencies, keys = np.diff(firsts, append=len(keys)), keys[firsts]
    most = min(LARGEST_VOCABULARY, MOST_WEIGHTS // count)
    chosen = np.sort(np.argsort(-frequencies, kind="stable")[:most])
    idf = np.log((1 + texts) / (1 + frequencies[chosen])) + 1
    return Vocabulary(kind, keys[chosen], idf.astype(np.float32))


def _ways(products: int, *, several: bool) -> Iterator[tuple[Any, bool]]:
    """The scikit-learn estimators to compare, each with whether n-grams are weighed, for n-grams times labels."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.svm import LinearSVC

    for cost in COSTS if products <= CHEAP_PRODUCTS else (USUAL_COST,):
        yield LinearSVC(C=cost, random_state=1), False
    if products <= FEW_PRODUCTS:
        for cost in WEIGHED_COSTS:
            yield LinearSVC(C=cost, random_state=1), True
        if not several:
            yield LogisticRegression(C=LOGISTIC_COST, max_iter=300), False


def _fit(estimator: Any, matrix: Any, labels: Labels, count: int, *, weigh: bool) -> tuple[Logits, Logits]:
    """The weights [F, C], or [F, 1] for one of two labels a text, and the biases [C] of the labels.

    With `weigh`, the n-grams are multiplied by their weight of evidence for each label (Wang and Manning, 2012).
    """
    if labels.ndim == 1 and count == 2:
        ((second, odds),) = _fit_labels(estimator, matrix, labels[None] == 1, weigh=weigh)
        return second[:, None], np.array([-odds / 2, odds / 2], np.float32)
    if labels.ndim == 2 or weigh:
        flags = labels.T.astype(bool) if labels.ndim == 2 else np.arange(count)[:, None] == labels
        columns = list(_fit_labels(estimator, matrix, flags, weigh=weigh))
        return np.stack([weight for weight, _ in columns], 1), np.array([bias for _, bias in columns], np.float32)
    weight: Logits = np.zeros((matrix.shape[1], count), np.float32)
    bias: Logits = np.full(count, ABSENT, np.float32)
    present = np.unique(labels)
    if len(present) == 1:
        bias[present] = -ABSENT
        return weight, bias
    rows, biases = _coefficients(estimator, matrix, labels)
    if len(present) == 2:
        half = np.array([[-0.5], [0.5]], np.float32)
        rows, biases = half * rows, half[:, 0] * biases
    weight[:, present], bias[present] = rows.T, biases
    return weight, bias


def _fit_labels(
    estimator: Any, matrix: Any, flags: NDArray[np.bool_], *, weigh: bool
) -> Iterator[tuple[Logits, float]]:
    """For each label the weights [F] and the bias of the texts that have it against the others; `flags` are [C, N]."""
    present = matrix.astype(bool).astype(np.float32) if weigh else None
    for own in flags:
        if own.all() or not own.any():
            yield np.zeros(matrix.shape[1], np.float32), -ABSENT if own.any() else ABSENT
        elif present is None:
            rows, biases = _coefficients(estimator, matrix, own)
            yield rows[0], float(biases[0])
        else:
            evidence = _evidence(present, own)
            rows, biases = _coefficients(estimator, matrix.multiply(evidence).tocsr(), own)
            yield rows[0] * evidence, float(biases[0])


def _coefficients(estimator: Any, matrix: Any, labels: Labels) -> tuple[Logits, Logits]:
    """The weights [C, F] and biases [C] of a fitted estimator, or [1, F] and [1] for two labels."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about the last digits, which the fit may not reach
        estimator.fit(matrix, labels)
    return estimator.coef_.astype(np.float32), estimator.intercept_.astype(np.float32)


def _evidence(present: Any, own: NDArray[np.bool_]) -> Logits:
    """How much more frequent each n-gram is in texts that have a label than expected, as a logarithm [F].

    `present` [N, F] is 1 where a text has an n-gram.
    """
    total = np.asarray(present.sum(0), np.float64).ravel()
    with_label = np.asarray(present[own].sum(0), np.float64).ravel()
    fraction = own.mean()
    evidence = np.log((with_label + 1) / (fraction * total + 1))
    evidence -= np.log((total - with_label + 1) / ((1 - fraction) * total + 1))
    weights: Logits = evidence.astype(np.float32)
    return weights
