"""How fast lines are translated, scored and classified, beside the same model on torch.

    translate   the same search, its model as tensors
    score       training steps of the same model, forward and backward with the whole softmax
    classify    the same model as tensors, its layers run by torch's operators

Reading, writing and starting are left out on both sides. Without a model one of random weights is timed, of the usual
sizes: its speed is that of a trained one, but that it does not know when a translation ends.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nlpseq.decoding.beam import BeamOptions
from nlpseq.decoding.classification import TOKENS_AT_ONCE, TextClassifier
from nlpseq.decoding.ensemble import Ensemble
from nlpseq.decoding.translation import Translations
from nlpseq.evaluation.line_scores import LineScorer
from nlpseq.kernels.cpu import recurrence
from nlpseq.kernels.loss import linear_cross_entropy
from nlpseq.kernels.torch_layers import OPERATORS, TorchLayers
from nlpseq.models import classifier, language_model, translator
from nlpseq.models.classifier import ClassifierOptions
from nlpseq.models.language_model import LanguageModelOptions
from nlpseq.models.model_file import Model
from nlpseq.models.translator import TranslatorOptions
from nlpseq.text.padding import side_by_side, together
from nlpseq.text.tokenisers import train_tokeniser
from nlpseq.timing.layers import median_seconds

VOCABULARY = 4096
BATCH, STEPS = 64, 64  # sequences and tokens of a training step


@dataclass(frozen=True)
class Throughput:
    """Units a second, medians. The neighbour's rate is None where it does not have the model's cell."""

    what: str
    unit: str
    ours_per_second: float
    neighbour: str
    neighbour_per_second: float | None

    @property
    def ratio(self) -> float | None:
        """How many times faster ours is."""
        theirs = self.neighbour_per_second
        return None if theirs is None else self.ours_per_second / theirs

    def as_json(self) -> dict[str, Any]:
        """What the command writes with --json."""
        return {**asdict(self), "ratio": self.ratio}


def measure_translate(path: Path | None, lines: Sequence[str], repeats: int) -> Throughput:
    """Time the translation of lines with the usual beam. Raises ModelFileError as `translator.load` does."""
    loaded = _random_translator(lines) if path is None else translator.load(path)
    ours, theirs = (Translations(Ensemble.of([loaded], device), BeamOptions()) for device in ("cpu", "torch:cpu"))
    turns = [partial(one.translate, lines) for one in (ours, theirs)]
    return _throughput("translate", "lines", len(lines), "the same search on torch", turns, repeats)


def measure_score(path: Path | None, lines: Sequence[str], repeats: int) -> Throughput:
    """Time the scoring of lines. Raises ModelFileError as `language_model.load` does."""
    model, options = _random_language_model(lines) if path is None else language_model.load(path)
    scorer = LineScorer(model, options)
    tokens = np.concatenate([model.tokeniser.encode(line + "\n", exact=False) for line in lines])
    trained = BATCH * STEPS
    steps = max(1, len(tokens) // trained)
    train = partial(_train, model, options, np.resize(tokens, trained + 1), steps)
    seconds = median_seconds([partial(scorer.score, lines), train], repeats)
    rates = len(tokens) / seconds[0], trained * steps / seconds[1]
    return Throughput("score", "tokens", rates[0], "training, forward and backward", rates[1])


def measure_classify(path: Path | None, lines: Sequence[str], repeats: int) -> Throughput:
    """Time the classification of lines. Raises ModelFileError as `classifier.load` does."""
    model, options = random_classifier(lines) if path is None else classifier.load(path)
    ours = TextClassifier(model, options)
    turns: list[Callable[[], object]] = [partial(ours.classify, lines)]
    if options.cell in OPERATORS and not options.layer_normalisation and not options.zoneout:
        turns.append(partial(classify_on_torch, ours, tensors_of(model), lines))
    return _throughput("classify", "texts", len(lines), "the same model on torch's operators", turns, repeats)


def _throughput(
    what: str, unit: str, count: int, neighbour: str, turns: Sequence[Callable[[], object]], repeats: int
) -> Throughput:
    rates = [count / one for one in median_seconds(turns, repeats)]
    return Throughput(what, unit, rates[0], neighbour, rates[1] if len(rates) > 1 else None)


def tensors_of(model: Model) -> dict[str, Tensor]:
    """A model's weights as tensors, copied."""
    return {name: torch.from_numpy(np.array(value)) for name, value in model.weights.items()}


def _train(model: Model, options: LanguageModelOptions, tokens: np.ndarray, steps: int) -> None:
    """Steps of training without the optimiser's part, on the same batch each time."""
    tensors = tensors_of(model)
    for one in tensors.values():
        one.requires_grad_(one.is_floating_point())
    ids, targets = (
        torch.from_numpy(part.astype(np.int64).reshape(BATCH, STEPS).T.copy()) for part in (tokens[:-1], tokens[1:])
    )
    state = language_model.begin(tensors, options, BATCH)
    for _ in range(steps):
        features, _ = language_model.forward(tensors, options, ids, state, run_layer=recurrence.unroll)
        loss = linear_cross_entropy(features.flatten(0, 1), *language_model.output_layer(tensors), targets.flatten())
        torch.autograd.grad(loss, list(tensors.values()), allow_unused=True)


@torch.inference_mode()
def classify_on_torch(ours: TextClassifier, tensors: dict[str, Tensor], lines: Sequence[str]) -> None:
    """Classify the lines, the layers run by torch's operators."""
    ids = [ours.ids(line) for line in lines]
    for group in together(np.array([len(one) for one in ids], np.int64), TOKENS_AT_ONCE):
        columns, lengths = map(torch.from_numpy, side_by_side([ids[place] for place in group]))
        read = classifier.read(tensors, ours.options, columns, lengths, run_layer=TorchLayers(torch.float32))
        classifier.logits(tensors, ours.options, read).softmax(-1)


def _random_translator(lines: Sequence[str]) -> tuple[Model, TranslatorOptions]:
    options, tokeniser = (
        TranslatorOptions(hidden_size=256, embedding_size=256),
        train_tokeniser("bpe", lines, VOCABULARY),
    )
    weights = translator.initial_weights(options, tokeniser.size, seed=1)
    return Model(translator.TASK, asdict(options), weights, tokeniser, {}, Path()), options


def _random_language_model(lines: Sequence[str]) -> tuple[Model, LanguageModelOptions]:
    options = LanguageModelOptions(cell="lstm", hidden_size=384, embedding_size=128)
    tokeniser = train_tokeniser("char", lines, 256)
    weights = language_model.initial_weights(options, tokeniser.size, seed=1)
    return Model(language_model.TASK, asdict(options), weights, tokeniser, {}, Path()), options


def random_classifier(lines: Sequence[str]) -> tuple[Model, ClassifierOptions]:
    """A classifier of random weights, of the usual size, with a tokeniser of these lines."""
    options = ClassifierOptions(hidden_size=64, embedding_size=128, bidirectional=True, ngrams=2, evidence=0)
    tokeniser = train_tokeniser("bpe", lines, VOCABULARY)
    weights = classifier.initial_weights(options, tokeniser.size, np.ones(2), seed=1)
    header = {"labels": ["negative", "positive"]}
    return Model(classifier.TASK, asdict(options), weights, tokeniser, header, Path()), options
