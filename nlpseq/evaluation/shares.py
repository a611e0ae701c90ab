"""How much of two models' logits to add up, found on held-out texts.

The sum `a * first + b * second` minimises the loss of the texts plus a penalty for shares far from what is expected:
the second model, a linear one, with a little of the first, a network. The penalty weighs as much as a few texts. So a
handful of texts changes little, and a network that learned nothing keeps a small share.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nlpseq import arrays
from nlpseq.evaluation.label_scores import fit_temperature, mean_loss
from nlpseq.evaluation.label_set_scores import fit_set_temperature, set_loss

EXPECTED = (0.2, 0.9)  # of the shares that would be best for each model alone
PENALTY = 1.0  # nats, for a share that is wrong by a factor of e

Values = NDArray[Any]  # floats


class Calibration(NamedTuple):
    """How good logits are with the temperature that suits them best."""

    loss: float  # nats per text
    temperature: float


def calibrate(logits: Values, labels: Values) -> Calibration:
    """The calibration of logits [N, C]; labels as in `fit_shares`."""
    fit, loss = (fit_set_temperature, set_loss) if labels.ndim == 2 else (fit_temperature, mean_loss)
    temperature = fit(logits, labels)
    return Calibration(loss(logits / temperature, labels), temperature)


def fit_shares(first: Values, second: Values, labels: Values) -> tuple[float, float]:
    """The shares of logits [N, C], each positive; `labels` are numbers [N], or flags [N, C] of independent labels."""
    parts = [first.astype(np.float64), second.astype(np.float64)]
    alone = [_minimise([part], labels, np.zeros(1))[0] for part in parts]
    shares = np.exp(_minimise(parts, labels, np.log(EXPECTED) + alone))
    return float(shares[0]), float(shares[1])


def _minimise(parts: list[Values], labels: Values, expected: Values) -> Values:
    """The logarithms of the shares of parts."""
    from scipy.optimize import minimize

    def objective(logarithms: Values) -> tuple[float, Values]:
        shares = np.exp(logarithms)
        loss, slope = _loss(sum(share * part for share, part in zip(shares, parts, strict=True)), labels)
        gradient = np.array([share * float((slope * part).sum()) for share, part in zip(shares, parts, strict=True)])
        away = logarithms - expected
        return loss + PENALTY * float(away @ away), gradient + 2 * PENALTY * away

    found: Values = minimize(objective, expected, jac=True, method="L-BFGS-B", bounds=[(-6, 6)] * len(parts)).x
    return found


def _loss(logits: Values, labels: Values) -> tuple[float, Values]:
    """The summed loss of logits [N, C] in nats, and its derivative."""
    if labels.ndim == 2:
        loss = np.logaddexp(0, logits) - labels * logits
        return float(loss.sum()), arrays.sigmoid(logits) - labels
    probabilities = arrays.softmax(logits)
    loss = arrays.log_sum_exp(logits) - arrays.pick(logits, labels)
    probabilities[np.arange(len(labels)), labels] -= 1
    return float(loss.sum()), probabilities
