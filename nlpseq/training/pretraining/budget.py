"""The size and the length of a classifier's language model.

A classifier with a budget in minutes ends by itself after a few passes, so the time that it needs is known beforehand:
the work of these passes, at the speed of a layer that is measured. It gets half as much again, and the language model
has all the rest. What the language model learns with depends on the texts and on the options only, but for its size and
its steps, which the command that repeats a run therefore names.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields
from typing import Any, NamedTuple

from nlpseq.models.language_model import LanguageModelOptions
from nlpseq.training.defaults import LARGE_VOCABULARY, READING, Circumstances, complete, measure_speed
from nlpseq.training.length import DEFAULT_MINUTES
from nlpseq.training.options import LanguageModelTraining
from nlpseq.training.pretraining.texts import Prepared
from nlpseq.training.requests import ClassifierRequest
from nlpseq.training.tasks.classification import ENOUGH_PASSES, ENOUGH_STEPS, MOST_PASSES
from nlpseq.training.tasks.starting import choose_kernel

VOCABULARY = 16_384  # tokens of a script with spaces
CHARACTERS_PER_TOKEN = 4.2  # of such a script, about
BATCH_SIZE, SEQUENCE_LENGTH = 64, 64
LARGEST_HIDDEN, LARGEST_EMBEDDING = 512, 256  # units that are chosen; larger models are slow to run
DROPOUT_TOKENS = 1e7  # that a run of usual length reads: the passes over fewer tokens need dropout
LEAST_FRACTION, MOST_FRACTION = 0.05, 0.5  # of the time are for the classifier
FURTHER = 1.5  # times the time that the classifier's passes are estimated to take
FIXED_SECONDS = 10.0  # for reading labelled texts and for the last evaluation, which longer texts take longer for:
SECONDS_PER_CHARACTER = 2e-6

MODEL = (  # options that a classifier takes over from a language model
    "cell",
    "activation",
    "reset_before",
    "layers",
    "hidden_size",
    "embedding_size",
    "layer_normalisation",
    "zoneout",
    "initial",
    "ngrams",
    "ngram_buckets",
)
TRAINING = ("random_seed", "device", "backend", "precision", "save_every")
TOKENS = ("tokens", "vocab_size")


class Shares(NamedTuple):
    """What the language model is trained with, by option, and the minutes that are kept for the classifier."""

    options: dict[str, Any]
    classifier_minutes: float | None  # None if the length is not one of time


def divide(request: ClassifierRequest, asked: Mapping[str, Any], texts: Prepared) -> Shares:
    """The options of the language model, and of a budget in minutes the part for the classifier.

    `asked` are the options of the request that are set, by name.
    """
    options = {"cell": "lstm", "ngrams": 1, **{name: asked[name] for name in MODEL if name in asked}}
    options |= {name: asked[name] for name in (*TOKENS, *TRAINING) if name in asked}
    options.setdefault("tokens", "char" if texts.no_spaces else "bpe")
    if options["tokens"] == "bpe":
        options.setdefault("vocab_size", VOCABULARY)
    per_token = 1.0 if options["tokens"] in ("char", "byte") else CHARACTERS_PER_TOKEN
    tokens = max(2, round(texts.characters / per_token))
    options |= {
        "tied": True,
        "batch_size": BATCH_SIZE,
        "sequence_length": SEQUENCE_LENGTH,
        "dropout": _dropout(tokens),
    }
    training = request.training
    if training.steps is None and training.epochs is None:
        minutes = DEFAULT_MINUTES if training.minutes is None else training.minutes
        speed = measure_speed(choose_kernel(training, LanguageModelOptions(cell=options["cell"])))
        speed *= request.processes
        options |= _sizes(options, tokens, minutes * 60 * speed)
        classifier = _classifier_seconds(request, texts, per_token, options, speed) / 60
        classifier = min(MOST_FRACTION * minutes, max(LEAST_FRACTION * minutes, classifier))
        return Shares(options | {"minutes": minutes - classifier}, classifier)
    length = {"epochs": 1.0} if request.unlabelled_steps is None else {"steps": request.unlabelled_steps}
    return Shares(options | _sizes(options | length, tokens, None) | length, None)


def _dropout(tokens: int) -> float:
    """By the passes over the texts in a run of usual length; not by those of this run, which the clock decides."""
    return round(min(0.5, 0.15 * math.log2(1 + DROPOUT_TOKENS / tokens)), 2)


def _sizes(options: Mapping[str, Any], tokens: int, work: float | None) -> dict[str, int]:
    """Hidden and embedding size: those that are set, or as for any language model of this work, but not very large.

    `work` is in floating-point operations, None for a number of steps or passes, which are among the options.
    """
    names = {field.name for field in fields(LanguageModelTraining)} & {*options}
    training = LanguageModelTraining(**{name: options[name] for name in names if name != "minutes"})
    model = LanguageModelOptions(**{name: options[name] for name in (*MODEL, "tied") if name in options})
    circumstances = Circumstances(tokens, options.get("vocab_size", LARGE_VOCABULARY + 1), work)
    chosen = complete(model, training, circumstances)[0].hidden_size or 0
    hidden = options.get("hidden_size", min(chosen, LARGEST_HIDDEN))
    return {"hidden_size": hidden, "embedding_size": options.get("embedding_size", min(hidden, LARGEST_EMBEDDING))}


def _classifier_seconds(
    request: ClassifierRequest, texts: Prepared, per_token: float, sizes: Mapping[str, int], speed: float
) -> float:
    """The time that a classifier of these sizes is given, whose layers compute `speed` operations a second."""
    hidden, embedding, training = sizes["hidden_size"], sizes["embedding_size"], request.training
    batch = training.batch_size or max(1, min(32, texts.own_texts // 20))
    passes = max(ENOUGH_PASSES, min(MOST_PASSES, ENOUGH_STEPS * batch / texts.own_texts))
    operations = 6 * 4 * hidden * (request.model.layers * (2 * hidden) - hidden + embedding)
    seconds = passes * texts.own_characters / per_token * operations / (READING * speed)
    return FIXED_SECONDS + SECONDS_PER_CHARACTER * texts.own_characters + FURTHER * seconds
