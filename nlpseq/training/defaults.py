"""Defaults for options that are left open: sizes, rates and batches, chosen by corpus, budget and machine.

The choices come from runs on one megabyte of characters and two million words, recorded in benchmarks/. The rule behind
them: the work of a run is its time times the machine's speed, and the best number of parameters grows with the square
root of the work, as does the number of tokens (Hoffmann et al., 2022). A small corpus is read many times, so it needs
dropout. The machine's speed is measured on a recurrent layer, forward and backward, with the kernel that will train. It
is rounded, so that the same machine makes the same choices.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace

import numpy as np
import torch

from nlpseq.cells import CELLS, LayerWeights
from nlpseq.cells.initial import layer_values
from nlpseq.cells.unroll import zero_state
from nlpseq.errors import OptionError
from nlpseq.kernels.choice import Choice
from nlpseq.models.classifier import USUAL_POOLING, ClassifierOptions
from nlpseq.models.embedding import NGRAM_BUCKETS
from nlpseq.models.language_model import LanguageModelOptions
from nlpseq.models.options import RecurrentOptions
from nlpseq.models.translator import TranslatorOptions
from nlpseq.training.data.feed import Feed
from nlpseq.training.options import ClassifierTraining, LanguageModelTraining, TrainingOptions, TranslationTraining

PROBES = {"cpu": (16, 32, 384)}  # steps, batch size and layer size for measuring the speed
BATCHES = {"cpu": (32, 64), "cuda": (64, 128)}  # streams and steps; GPU kernels work on 64 streams at a time
MEMORY_FRACTION = 0.5  # of a GPU's free memory is used; the rest is for the allocator, graphs and validation
HIDDEN_SIZES = (64, 96, 128, 192, 256, 320, 384, 448, 544, 640, 768, 896, 1056, 1280, 1536)
LARGE_VOCABULARY = 8_192
REFERENCE_SIZE = 384
REFERENCE_WORK = 2.0e13  # floating-point operations for which REFERENCE_SIZE hidden units are best
MOST_EVIDENCE_LABELS = 16  # with more labels, weights of evidence are not used
DEFAULT_SECONDS = 300.0


@dataclass(frozen=True)
class Circumstances:
    """The facts that the choices depend on."""

    tokens: int  # for training
    vocabulary_size: int
    seconds: float  # for training
    speed: float  # floating-point operations per second, of a layer's products
    device: str = "cpu"
    memory: float = math.inf  # free bytes of the device


def measure_speed(choice: Choice) -> float:
    """Operations per second of a layer's matrix products, in the time of the whole layer; a power of the root of two.

    On a GPU the layer is large, because a small one would only measure the time of a launch.
    """
    steps, batch, size = PROBES.get(choice.device.type, (64, 128, 1024))
    cell = CELLS["lstm"]
    values = layer_values(cell, size, size, np.random.default_rng(1))
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
    if training.steps is not None or training.epochs is not None:
        facts = replace(facts, device="cpu", memory=math.inf)  # so that the run is the same on every device
    large = facts.vocabulary_size > LARGE_VOCABULARY
    tied = large if model.tied is None else model.tied
    hidden = model.hidden_size or _hidden_size(facts, large)
    embedding = model.embedding_size or (min(hidden, 320) if large else 128)
    passes = _passes(facts, hidden, embedding, large)
    model = replace(
        model,
        hidden_size=hidden,
        embedding_size=embedding,
        tied=tied,
        ngrams=model.ngrams or (1 if large else 5),
    )
    if model.ngrams == 1 and model.ngram_buckets != NGRAM_BUCKETS:
        raise OptionError("ngram_buckets", "is an option of n-grams, which are off", "--ngrams 4")
    _refuse_useless_drop(model, training)
    dropout = training.dropout if training.dropout is not None else _dropout(passes, large)
    streams, steps = BATCHES[facts.device]
    while streams > 1 and _bytes(facts, model, streams * steps) > MEMORY_FRACTION * facts.memory:
        streams //= 2
    training = replace(
        training,
        batch_size=training.batch_size or streams,
        sequence_length=training.sequence_length or (steps * 35 // 64 if large else steps),
        dropout=dropout,
        input_dropout=dropout / 2 if training.input_dropout is None else training.input_dropout,
        softmax=_softmax(facts, large) if training.softmax == "auto" else training.softmax,
    )
    return model, training


def complete_translator(
    model: TranslatorOptions, training: TranslationTraining, pairs: int
) -> tuple[TranslatorOptions, TranslationTraining]:
    """Choose the options that are left open. Raises OptionError if an option that is set has no effect."""
    _refuse_useless_drop(model, training)
    hidden = model.hidden_size or 256
    dropout = 0.3 if training.dropout is None else training.dropout
    batch = training.batch_size or max(1, min(64, pairs // 20), min(128, pairs // 200))
    rate = 2e-3 * max(1.0, batch / 64) ** 0.5
    return replace(model, hidden_size=hidden, embedding_size=model.embedding_size or min(hidden, 256)), replace(
        training,
        batch_size=None if training.batch_tokens else batch,
        dropout=dropout,
        input_dropout=dropout / 2 if training.input_dropout is None else training.input_dropout,
        learning_rate=training.learning_rate or (rate if training.optimiser.startswith("adam") else None),
    )


def complete_classifier(
    model: ClassifierOptions,
    training: ClassifierTraining,
    texts: int,
    *,
    pretrained: bool,
    labels: int,
) -> tuple[ClassifierOptions, ClassifierTraining]:
    """Choose the options that are left open. Raises OptionError if an option that is set has no effect.

    `texts` is the number of training texts; `pretrained` is whether the run starts from a model.
    """
    _refuse_useless_drop(model, training)
    hidden = model.hidden_size or 64
    dropout = 0.5 if training.dropout is None else training.dropout
    model = replace(
        model,
        hidden_size=hidden,
        embedding_size=model.embedding_size or 128,
        bidirectional=not pretrained if model.bidirectional is None else model.bidirectional,
        pooling=model.pooling or ("attention," * pretrained + USUAL_POOLING),
        ngrams=model.ngrams or (1 if pretrained else 2),
        evidence=(2 if labels <= MOST_EVIDENCE_LABELS else 0) if model.evidence is None else model.evidence,
    )
    return model, replace(
        training,
        batch_size=training.batch_size or max(1, min(32, texts // 20)),
        dropout=dropout,
        input_dropout=dropout / 2 if training.input_dropout is None else training.input_dropout,
        learning_rate=training.learning_rate or (2e-3 if training.optimiser.startswith("adam") else None),
        layer_rates=training.layer_rates or (1.5 if pretrained else 1.0),
        unfreeze=(0.1 if pretrained else 0.0) if training.unfreeze is None else training.unfreeze,
    )


def _refuse_useless_drop(model: RecurrentOptions, training: TrainingOptions) -> None:
    if training.weight_drop and model.recurrent_cell.parallel:
        raise OptionError(
            "weight_drop", f"drops recurrent weights, but the cell {model.cell} has none", "--dropout 0.2"
        )


def _bytes(facts: Circumstances, model: LanguageModelOptions, tokens: int) -> float:
    """An estimate of the bytes for training: four times the parameters, a batch's values in all layers, its logits."""
    hidden, embedding = model.hidden_size or 0, model.embedding_size or 0
    rows = facts.vocabulary_size + ((model.ngrams or 1) - 1) * model.ngram_buckets
    parameters = rows * embedding + facts.vocabulary_size * hidden + model.layers * 8 * hidden * hidden
    return 4.0 * (4 * parameters + tokens * (3 * embedding + 16 * model.layers * hidden + facts.vocabulary_size))


def _softmax(facts: Circumstances, large: bool) -> str:
    """Sampled for a large vocabulary on a CPU; on a GPU even the full softmax takes less time than the layers."""
    return "sampled" if large and facts.device == "cpu" else "full"


def _hidden_size(facts: Circumstances, large: bool) -> int:
    """REFERENCE_SIZE for REFERENCE_WORK; its square, the number of parameters, grows with the root of the work."""
    wanted = REFERENCE_SIZE * (facts.seconds * facts.speed / REFERENCE_WORK) ** 0.25
    by_corpus = 32 + 0.6 * math.sqrt(facts.tokens)
    wanted = min(0.7 * wanted if large else wanted, by_corpus)
    return min(HIDDEN_SIZES, key=lambda size: abs(math.log(size / wanted)))


def _passes(facts: Circumstances, hidden: int, embedding: int, large: bool) -> float:
    """An estimate of the number of passes over the corpus."""
    output = embedding * min(facts.vocabulary_size, 4096) if large else hidden * facts.vocabulary_size
    operations = 6 * (4 * hidden * (hidden + embedding) + output)
    return 0.6 * facts.seconds * facts.speed / operations / facts.tokens


def _dropout(passes: float, large: bool) -> float:
    """Zero for characters that are read a few times, up to a half for a corpus that is read many times."""
    dropout = 0.15 * math.log2(1 + passes) if large else 0.15 * math.log2(max(1.0, passes / 2.5))
    return round(min(0.5, dropout), 2)
