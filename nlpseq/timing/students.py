"""How fast small and large models of one task run on this machine, in turns.

The medians of three rounds of a busy machine said that a model was 0.7 to 1.3 times as fast as itself. So rounds are
counted by the time that they take: a few seconds for all of them.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from nlpseq.decoding.beam import BeamOptions
from nlpseq.decoding.classification import TextClassifier
from nlpseq.decoding.ensemble import Ensemble
from nlpseq.decoding.translation import Translations
from nlpseq.models.model_file import Model
from nlpseq.tasks import CLASSIFIER, LANGUAGE_MODEL
from nlpseq.timing.clocks import Turn, median_seconds
from nlpseq.timing.decode import generate, our_step

TOKENS = 300  # that a language model generates in a round
TRANSLATED = 32  # lines of a round
SECONDS = 4.0  # for all rounds of all models,
FEWEST_ROUNDS, MOST_ROUNDS = 3, 201  # within these limits


def measure_rates(models: Sequence[tuple[Model, Any]], lines: Sequence[str]) -> tuple[str, list[float]]:
    """The unit and its number per second for each model with its options; models of one task, on the processor.

    A language model generates one stream; classifiers and translators read `lines`, of which a round of translation
    takes a few.
    """
    task = models[0][0].task
    if task == LANGUAGE_MODEL.name:
        unit, count = "tokens", TOKENS
        turns: list[Turn] = [
            partial(generate, our_step(model.weights, options), TOKENS, np.random.default_rng(1))
            for model, options in models
        ]
    elif task == CLASSIFIER.name:
        unit, count = "texts", len(lines)
        turns = [partial(TextClassifier(model, options).classify, lines) for model, options in models]
    else:
        unit, count = "lines", min(TRANSLATED, len(lines))
        turns = [
            partial(Translations(Ensemble.of([loaded]), BeamOptions()).translate, lines[:count]) for loaded in models
        ]
    return unit, [count / seconds for seconds in median_seconds(turns, rounds_in(SECONDS, _seconds_of_round(turns)))]


def rounds_in(seconds: float, round_seconds: float) -> int:
    """The number of rounds to measure in about that time, an odd one, if a round takes `round_seconds`."""
    affordable = int(seconds / max(round_seconds, 1e-9))
    return min(MOST_ROUNDS, max(FEWEST_ROUNDS, affordable - (affordable + 1) % 2))


def _seconds_of_round(turns: Sequence[Turn]) -> float:
    """The shorter of two rounds; the first one fills caches."""
    taken = []
    for _ in range(2):
        started = time.perf_counter()
        for turn in turns:
            turn()
        taken.append(time.perf_counter() - started)
    return min(taken)
