"""Defaults for options that are left open: sizes, rates and batches, chosen by corpus, budget and machine.

The choices come from runs on one megabyte of characters and two million words, recorded in benchmarks/. The rule behind
them: the best number of parameters grows with the square root of a run's work, as does the number of tokens (Hoffmann
et al., 2022). A small corpus is read many times, so it needs dropout.

The work of a run with a number of steps or passes is known from the corpus and the options, so the same command makes
the same choices. The work of a run of minutes is its time times the machine's speed, which is measured on a recurrent
layer, forward and backward, with the kernel that will train; the cost is that the choices depend on the machine, and
the run therefore ends with the command that repeats it.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
import torch

from nlpseq.cells import CELLS, LayerWeights
from nlpseq.cells.initial import layer_values
from nlpseq.cells.unroll import zero_state
from nlpseq.errors import OptionError
from nlpseq.kernels.choice import Choice
from nlpseq.models.classifier import MOST_EVIDENCE_LABELS, PRETRAINED_POOLING, USUAL_POOLING, ClassifierOptions
from nlpseq.models.embedding import MOST_BUCKETS, suited_ngrams
from nlpseq.models.language_model import LanguageModelOptions
from nlpseq.models.options import RecurrentOptions
from nlpseq.models.translator import TranslatorOptions
from nlpseq.training.data.batches import fit_batch
from nlpseq.training.data.feed import Feed
from nlpseq.training.optimisers import usual_rates
from nlpseq.training.options import ClassifierTraining, LanguageModelTraining, TrainingOptions, TranslationTraining

PROBES = {"cpu": (16, 32, 384)}  # steps, batch size and layer size for measuring the speed
BATCHES = {"cpu": (32, 64), "cuda": (64, 128)}  # streams and steps; GPU kernels work on 64 streams at a time
MEMORY_FRACTION = 0.5  # of a GPU's free memory is used; the rest is for the allocator, graphs and validation
HIDDEN_SIZES = (64, 96, 128, 192, 256, 320, 384, 448, 544, 640, 768, 896, 1056, 1280, 1536)
LARGE_VOCABULARY = 8_192
REFERENCE_SIZE = 384
REFERENCE_WORK = 2.0e13  # floating-point operations for which REFERENCE_SIZE hidden units are best
LARGEST_EMBEDDING = 256  # of a translator
DEFAULT_SECONDS = 300.0
BY_STEPS, LEAST_BY_STEPS = 1.5, 128  # a fixed number of steps teaches a larger model more; a few seconds buy it
READING = 0.6  # operations in steps for each one that REFERENCE_WORK counts; large layers reach more than this


Training = TypeVar("Training", bound=TrainingOptions)


@dataclass(frozen=True)
class Circumstances:
    """The facts that the choices depend on."""

    tokens: int  # for training
    vocabulary_size: int
    work: float | None = None  # floating-point operations that a budget in minutes buys; None for any other budget
    device: str = "cpu"
    memory: float = math.inf  # free bytes of the device


def measure_speed(choice: Choice) -> float:
    """Operations per second of a layer's matrix products, in the time of the whole layer; a power of the root of two.

    On a GPU the layer is large, because a small one would only measure the time of a launch.
    """
    steps, batch, size = PROBES.get(choice.device.type, (64, 128, 1024))
    cell = CELLS["lstm"]
    values = layer_values(cell, size, size, np.random.default_rng(1), initial="uniform")
    place = Feed(choice.device).place
    weights = LayerWeights(**{name: place(value).requires_grad_() for name, value in values.items()})
    inputs = torch.randn(steps, batch, size, device=choice.device, requires_grad=True)
    state, leaves = zero_state(cell, batch, size, inputs.detach()), [inputs, *weights[:4]]
    times = []
    for _ in range(8):
        start = time.perf_counter()
        grads = torch.autograd.grad(choice.run_layer(cell, weights, inputs, state)[0].sum(), leaves)
        float(grads[0][0, 0, 0])  # waits for the device
        times.append(time.perf_counter() - start)
    speed = 3 * 2 * 2 * steps * batch * size * cell.gates * size / sorted(times)[2]
    return float(2 ** (round(2 * math.log2(speed)) / 2))


def free_memory(device: torch.device) -> float:
    """The free bytes of a GPU; infinite for the CPU, whose memory is not checked."""
    return float(torch.cuda.mem_get_info()[0]) if device.type == "cuda" else math.inf


def complete(
    model: LanguageModelOptions, training: LanguageModelTraining, facts: Circumstances
) -> tuple[LanguageModelOptions, LanguageModelTraining]:
    """Choose the options that are left open. Raises OptionError if an option that is set has no effect."""
    if facts.work is None:
        facts = replace(facts, device="cpu", memory=math.inf)  # so that the run is the same on every device
    large = facts.vocabulary_size > LARGE_VOCABULARY
    tied = large if model.tied is None else model.tied
    streams, steps = BATCHES[facts.device]
    steps = training.sequence_length or (steps * 35 // 64 if large else steps)
    read = _tokens_read(facts, training, (training.batch_size or streams) * steps)
    hidden = model.hidden_size or _hidden_size(facts, read, model.embedding_size, large)
    embedding = model.embedding_size or _embedding_size(hidden, large)
    passes = _passes(facts, read, _operations(facts, hidden, embedding, large))
    longest, buckets = suited_ngrams(facts.tokens)
    ngrams = model.ngrams or (1 if large else longest)
    model = replace(
        model,
        hidden_size=hidden,
        embedding_size=embedding,
        tied=tied,
        ngrams=ngrams,
        ngram_buckets=model.ngram_buckets or (None if ngrams == 1 else buckets),
    )
    _refuse_useless_ngrams(model, training)
    _refuse_useless_drop(model, training)
    dropout = training.dropout if training.dropout is not None else _dropout(passes, hidden, large)
    while streams > 1 and _bytes(facts, model, streams * steps) > MEMORY_FRACTION * facts.memory:
        streams //= 2
    batch, steps = fit_batch(facts.tokens, training.batch_size or streams, steps)
    training = replace(
        _with_rates(training),
        batch_size=batch,
        sequence_length=steps,
        dropout=dropout,
        input_dropout=dropout / 2 if training.input_dropout is None else training.input_dropout,
        ngram_dropout=_ngram_dropout(ngrams, passes) if training.ngram_dropout is None else training.ngram_dropout,
        softmax=_softmax(facts, large) if training.softmax == "auto" else training.softmax,
    )
    return model, training


def complete_translator(
    model: TranslatorOptions, training: TranslationTraining, pairs: int
) -> tuple[TranslatorOptions, TranslationTraining]:
    """Choose the options that are left open. Raises OptionError if an option that is set has no effect."""
    _refuse_useless_drop(model, training)
    dropout = 0.3 if training.dropout is None else training.dropout
    batch = training.batch_size or max(1, min(64, pairs // 20), min(128, pairs // 200))
    rate = 3e-3 * max(1.0, batch / 64) ** 0.5
    hidden = model.hidden_size or TranslatorOptions.hidden_size or 0
    model = replace(model, hidden_size=hidden, embedding_size=model.embedding_size or min(hidden, LARGEST_EMBEDDING))
    training = replace(
        training,
        batch_size=None if training.batch_tokens else batch,
        dropout=dropout,
        input_dropout=dropout / 2 if training.input_dropout is None else training.input_dropout,
        learning_rate=training.learning_rate or (rate if training.optimiser.startswith("adam") else None),
    )
    return model, _with_rates(training)


def complete_classifier(
    model: ClassifierOptions,
    training: ClassifierTraining,
    texts: int,
    *,
    tokens: int,
    pretrained: bool,
    labels: int,
) -> tuple[ClassifierOptions, ClassifierTraining]:
    """Choose the options that are left open. Raises OptionError if an option that is set has no effect.

    `texts` and `tokens` count the training part; `pretrained` is whether the run starts from a model.
    """
    _refuse_useless_drop(model, training)
    ngrams = model.ngrams or (1 if pretrained else 2)
    dropout = 0.5 if training.dropout is None else training.dropout
    model = replace(
        model,
        hidden_size=model.hidden_size or ClassifierOptions.hidden_size,
        embedding_size=model.embedding_size or ClassifierOptions.embedding_size,
        bidirectional=not pretrained if model.bidirectional is None else model.bidirectional,
        pooling=model.pooling or (PRETRAINED_POOLING if pretrained else USUAL_POOLING),
        ngrams=ngrams,
        ngram_buckets=model.ngram_buckets or (None if ngrams == 1 else suited_ngrams(tokens)[1]),
        evidence=_evidence(labels, pretrained=pretrained) if model.evidence is None else model.evidence,
    )
    training = replace(
        training,
        batch_size=training.batch_size or max(1, min(32, texts // 20)),
        dropout=dropout,
        input_dropout=dropout / 2 if training.input_dropout is None else training.input_dropout,
        learning_rate=training.learning_rate or (2e-3 if training.optimiser.startswith("adam") else None),
        layer_rates=training.layer_rates or (1.5 if pretrained else 1.0),
        unfreeze=(0.1 if pretrained else 0.0) if training.unfreeze is None else training.unfreeze,
    )
    return model, _with_rates(training)


def _evidence(labels: int, *, pretrained: bool) -> int:
    """The longest n-grams: 0 for a pretrained network, which they keep from learning, and for many labels."""
    return 0 if pretrained or labels > MOST_EVIDENCE_LABELS else 2


def _with_rates(training: Training) -> Training:
    """The options with the learning rate and the weight decay that belong to the optimiser, unless they are set."""
    rate, decay = usual_rates(training.optimiser)
    return replace(
        training,
        learning_rate=rate if training.learning_rate is None else training.learning_rate,
        weight_decay=decay if training.weight_decay is None else training.weight_decay,
    )


def _refuse_useless_drop(model: RecurrentOptions, training: TrainingOptions) -> None:
    if training.weight_drop and model.recurrent_cell.parallel:
        raise OptionError(
            "weight_drop", f"drops recurrent weights, but the cell {model.cell} has none", "--dropout 0.2"
        )


def _refuse_useless_ngrams(model: LanguageModelOptions, training: LanguageModelTraining) -> None:
    if model.ngrams != 1:
        return
    if model.ngram_buckets not in (None, MOST_BUCKETS):  # which earlier versions recorded
        raise OptionError("ngram_buckets", "is an option of n-grams, which are off", "--ngrams 4")
    if training.ngram_dropout:
        raise OptionError("ngram_dropout", "drops n-grams, which are off", "--ngrams 4")


def _bytes(facts: Circumstances, model: LanguageModelOptions, tokens: int) -> float:
    """An estimate of the bytes for training: four times the parameters, a batch's values in all layers, its logits."""
    hidden, embedding = model.hidden_size or 0, model.embedding_size or 0
    rows = facts.vocabulary_size + ((model.ngrams or 1) - 1) * (model.ngram_buckets or 0)
    parameters = rows * embedding + facts.vocabulary_size * hidden + model.layers * 8 * hidden * hidden
    return 4.0 * (4 * parameters + tokens * (3 * embedding + 16 * model.layers * hidden + facts.vocabulary_size))


def _softmax(facts: Circumstances, large: bool) -> str:
    """Sampled for a large vocabulary on a CPU; on a GPU even the full softmax takes less time than the layers."""
    return "sampled" if large and facts.device == "cpu" else "full"


def _tokens_read(facts: Circumstances, training: TrainingOptions, batch_tokens: int) -> float | None:
    """The number of tokens that a run reads, all passes together; None with a budget in minutes."""
    if facts.work is not None:
        return None
    if training.steps is not None:
        return training.steps * training.accumulate * min(batch_tokens, facts.tokens)
    return (training.epochs or 1.0) * facts.tokens


def _operations(facts: Circumstances, hidden: int, embedding: int, large: bool) -> float:
    """Floating-point operations for training on one token."""
    output = embedding * min(facts.vocabulary_size, 4096) if large else hidden * facts.vocabulary_size
    return 6.0 * (4 * hidden * (hidden + embedding) + output)


def _passes(facts: Circumstances, read: float | None, operations: float) -> float:
    """The number of passes over the text in which each token takes this number of operations."""
    return ((facts.work or 0.0) / operations if read is None else read) / facts.tokens


def _embedding_size(hidden: int, large: bool) -> int:
    return min(hidden, 320) if large else 128


def _hidden_size(facts: Circumstances, read: float | None, embedding: int | None, large: bool) -> int:
    """REFERENCE_SIZE for REFERENCE_WORK; its square, the number of parameters, grows with the root of the work."""
    by_corpus = 32 + 0.6 * math.sqrt(facts.tokens)

    def distance(size: int) -> float:
        operations = _operations(facts, size, embedding or _embedding_size(size, large), large)
        work = (facts.work or 0.0) if read is None else read * operations / READING
        wanted = REFERENCE_SIZE * (work / REFERENCE_WORK) ** 0.25
        if read is not None:
            wanted = max(LEAST_BY_STEPS, BY_STEPS * wanted)
        return abs(math.log(size / min(0.7 * wanted if large else wanted, by_corpus)))

    return min(HIDDEN_SIZES, key=distance)


def _dropout(passes: float, hidden: int, large: bool) -> float:
    """More for a text that is read many times: for characters none at a few, more for more units; most for words."""
    if large:
        return round(min(0.5, 0.15 * math.log2(1 + passes)), 2)
    most = 0.3 * math.pow(hidden / REFERENCE_SIZE, 0.25)
    return round(min(most, 0.15 * math.log2(max(1.0, passes / 2.5))), 2)


def _ngram_dropout(ngrams: int, passes: float) -> float:
    """Zero for a text that is read a few times, up to a half for one that is read ten times."""
    return 0.0 if ngrams == 1 else round(min(0.5, 0.25 * math.log2(max(1.0, passes / 2.5))), 2)
