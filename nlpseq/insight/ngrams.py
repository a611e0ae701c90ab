"""What each character of a text adds to a classifier's label by the n-grams of its linear model.

The logit of a label is its bias and a sum over the text's n-grams. What an n-gram adds is shared out evenly among its
occurrences, and then among the characters of an occurrence that are not spaces. So nothing is lost: what the characters
add, and the bias, make the logit.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nlpseq.models.linear import LinearModel
from nlpseq.models.text_ngrams import SPACE, count_ngrams, locate_ngrams, spaced_text

Values = NDArray[np.float64]


def weigh_characters(model: LinearModel, text: str, slopes: NDArray[Any]) -> Values:
    """What the characters of a text that are not spaces [K] add to the logits, times `slopes` [C], the labels' weights.

    The text is in lower case if the model was trained so.
    """
    kind, vocabulary = model.vocabulary.kind, model.vocabulary
    spans = locate_ngrams(text, kind)
    occurring, places = vocabulary.look_up(spans.keys)
    _, indices, values = vocabulary.weigh(count_ngrams([text], kind), 1)
    added = values * (model.by_label(model.weight[indices]) @ slopes)
    ngrams = np.searchsorted(indices, places)
    each = added / np.bincount(ngrams, minlength=len(indices))
    return _spread(each[ngrams], spans.starts[occurring], spans.ends[occurring], spaced_text(text, kind))


def _spread(amounts: Values, starts: NDArray[np.int64], ends: NDArray[np.int64], spaced: str) -> Values:
    """Amounts [M] shared out among the characters [K] of their spans in a text, spaces left out.

    That of a space alone goes to the character behind it, or to the last one.
    """
    codes = np.frombuffer(spaced.encode("utf-32-le", "surrogatepass"), np.uint32)
    before = np.concatenate([np.zeros(1, np.int64), (codes != SPACE).cumsum()])  # characters before each position
    firsts, lasts = np.minimum(before[starts], before[-1] - 1), before[ends]
    lasts = np.maximum(lasts, firsts + 1)
    shares = amounts / (lasts - firsts)
    steps = np.bincount(firsts, shares, before[-1] + 1) - np.bincount(lasts, shares, before[-1] + 1)
    spread: Values = steps.cumsum()[:-1]
    return spread
