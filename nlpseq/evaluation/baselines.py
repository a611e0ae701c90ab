"""Linear models of the same labelled texts: a network should beat them to be worth its cost.

    tf-idf   logistic regression on TF-IDF of words and word pairs
    nb-svm   a linear support vector machine on the presence of words and word pairs, each weighted by how much more
             frequent it is in a label's texts (Wang and Manning, 2012)

If a text may have several labels, there is a model of each label against the rest. Texts without spaces are counted in
characters instead of words. The models are scikit-learn's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nlpseq import __version__
from nlpseq.text.tables.labelled import has_no_spaces

REGULARISATION = 4.0  # of logistic regression: the inverse of its strength
SMOOTHING = 1.0
PENALTY = 0.1  # of errors; with a larger one thousands of weighted words fit every training text
INTERPOLATION = 0.25  # between the mean weight (0) and the weights (1), as Wang and Manning advise

WORDS, CHARACTERS = 2, 3  # in the longest n-gram
FEWEST_CHARACTERS = 2  # texts that an n-gram of characters is in

Predict = Callable[[Any, Any, Any], Any]  # training counts, their labels [N], counts of new texts -> their labels


Flags = NDArray[Any]  # ones and zeros


def _logistic(train: Any, labels: Any, others: Any) -> Any:
    train, others = _weighed(train, others)
    return _fit_logistic(train, labels).predict(others)


def _weighed(train: Any, others: Any) -> tuple[Any, Any]:
    from sklearn.feature_extraction.text import TfidfTransformer

    weigh = TfidfTransformer(sublinear_tf=True).fit(train)
    return weigh.transform(train), weigh.transform(others)


def _fit_logistic(train: Any, labels: Any) -> Any:
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(C=REGULARISATION, max_iter=1000).fit(train, labels)


def _naive_bayes_svm(train: Any, labels: Any, others: Any) -> Any:
    train, others = train.minimum(1), others.minimum(1)
    names = np.unique(labels)
    margins = [_margins(train, labels == name, others) for name in (names if len(names) > 2 else names[1:])]
    if len(names) == 2:
        return names[(margins[0] > 0).astype(int)]
    return names[np.argmax(margins, axis=0)]


def _margins(train: Any, own: Any, others: Any) -> Any:
    """The margins of new texts to those of a label, above zero for the label; `own` is true for its training texts."""
    from sklearn.svm import LinearSVC

    counts = [np.asarray(train[rows].sum(0)).ravel() + SMOOTHING for rows in (own, ~own)]
    ratio = np.log(counts[0] / counts[0].sum()) - np.log(counts[1] / counts[1].sum())
    model = LinearSVC(C=PENALTY, max_iter=10_000, random_state=1).fit(train.multiply(ratio).tocsr(), own)
    weights = model.coef_[0]
    mixed = (1 - INTERPOLATION) * np.abs(weights).mean() + INTERPOLATION * weights
    return others @ (ratio * mixed) + model.intercept_[0]


BASELINES: dict[str, Predict] = {"tf-idf": _logistic, "nb-svm": _naive_bayes_svm}
SETTINGS = {  # of each baseline, for its signature
    "tf-idf": f"logistic-regression|C:{REGULARISATION:g}",
    "nb-svm": f"linear-svm|C:{PENALTY:g}|interpolation:{INTERPOLATION:g}",
}


def baseline_signature(name: str, texts: Sequence[str], trained_on: str, *, lowercase: bool, decided: str = "") -> str:
    """What the baseline `name` of training texts is: its settings, what it counts, and the texts' name.

    `decided` says how labels are chosen if a text may have several; it is empty if each text has one.
    """
    from sklearn import __version__ as library_version

    counted = f"characters:1-{CHARACTERS}|min:{FEWEST_CHARACTERS}" if has_no_spaces(texts) else f"words:1-{WORDS}"
    fields = [
        *(name, SETTINGS[name], counted, f"case:{'lower' if lowercase else 'kept'}"),
        *([f"one-against-the-rest|{decided}"] if decided else []),
        *(f"trained-on:{trained_on}", f"scikit-learn:{library_version}", f"version:{__version__}"),
    ]
    return "|".join(fields)


def baseline_labels(
    texts: Sequence[str], labels: Sequence[str], others: Sequence[str], *, lowercase: bool = True
) -> dict[str, list[str]]:
    """Train each baseline on texts and their labels: the labels that it predicts for `others`, by its name."""
    train, new = _counts(texts, others, lowercase=lowercase)
    return {name: predict(train, np.array(labels), new).tolist() for name, predict in BASELINES.items()}


def baseline_probabilities(
    texts: Sequence[str], applies: Flags, others: Sequence[str], *, lowercase: bool = True
) -> dict[str, NDArray[np.float64]]:
    """Train each baseline for each label against the rest: the labels' probabilities [N, C] for `others`, by its name.

    `applies` [M, C] are the labels of `texts`. A margin is made a probability by the logistic function.
    """
    train, new = _counts(texts, others, lowercase=lowercase)
    weighed, new_weighed = _weighed(train, new)
    present, new_present = train.minimum(1), new.minimum(1)
    found = {name: np.zeros((len(others), applies.shape[1])) for name in BASELINES}
    for label, own in enumerate(applies.astype(bool).T):
        if own.all() or not own.any():
            for probabilities in found.values():
                probabilities[:, label] = own.any()
            continue
        found["tf-idf"][:, label] = _fit_logistic(weighed, own).predict_proba(new_weighed)[:, 1]
        found["nb-svm"][:, label] = 1 / (1 + np.exp(-_margins(present, own, new_present)))
    return found


def _counts(texts: Sequence[str], others: Sequence[str], *, lowercase: bool) -> tuple[Any, Any]:
    """The numbers of words and word pairs in texts and in other texts."""
    from sklearn.feature_extraction.text import CountVectorizer

    if has_no_spaces(texts):
        count = CountVectorizer(
            analyzer="char", ngram_range=(1, CHARACTERS), min_df=FEWEST_CHARACTERS, lowercase=lowercase
        )
    else:
        pattern = r"\w+|[^\w\s]"
        count = CountVectorizer(token_pattern=pattern, ngram_range=(1, WORDS), lowercase=lowercase)
    return count.fit_transform(texts), count.transform(others)
