"""How fast lines are translated, scored and classified, beside a neighbour on torch.

    translate   beside the same search with the model's weights as tensors
    score       beside training steps of the same model, forward and backward with the whole softmax
    classify    beside the same network with its weights as tensors and its layers run by torch's operators;
                a linear model of n-grams is computed alike on both sides, and timed on both

Starting, reading and writing are not timed on either side. If no model is named, one with random weights and the usual
sizes is timed: it is as fast as a trained model, except that it does not know when a translation ends.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from nlpseq.decoding.beam import BeamOptions
from nlpseq.decoding.classification import TOKENS_AT_ONCE, TextClassifier
from nlpseq.decoding.ensemble import Ensemble
from nlpseq.decoding.translation import Translations
from nlpseq.errors import CorpusError
from nlpseq.evaluation.line_scores import LineScorer
from nlpseq.kernels.cpu import recurrence
from nlpseq.kernels.loss import linear_cross_entropy
from nlpseq.kernels.torch_layers import OPERATORS, TorchLayers
from nlpseq.models import classifier, language_model, translator
from nlpseq.models.classifier import ClassifierOptions
from nlpseq.models.language_model import LanguageModelOptions
from nlpseq.models.linear import network_weights
from nlpseq.models.model_file import Model
from nlpseq.models.translator import TranslatorOptions
from nlpseq.text.bundled import BUNDLED
from nlpseq.text.formats import read_text, split_lines
from nlpseq.text.padding import side_by_side, together
from nlpseq.text.tokenisers import train_tokeniser
from nlpseq.timing.clocks import Turn, median_seconds
from nlpseq.timing.throughput import Throughput

VOCABULARY = 4096
BATCH, STEPS = 64, 64  # sequences and tokens of a training step
BUNDLED_LINES = 256  # of a bundled corpus


def read_lines(path: Path) -> list[str]:
    """The lines of a file that are not blank. Raises CorpusError if there are none."""
    lines = [line for line in split_lines(read_text(path)) if line.strip()]
    if not lines:
        raise CorpusError(str(path), "there is no text in it")
    return lines


def measure_translate(path: Path | None, lines: Sequence[str], repeats: int) -> Throughput:
    """Time the translation of lines with the usual beam. Raises ModelFileError as `translator.load` does."""
    loaded = _random_translator(lines) if path is None else translator.load(path)
    ours, theirs = (Translations(Ensemble.of([loaded], device), BeamOptions()) for device in ("cpu", "torch:cpu"))
    turns: list[Turn] = [partial(side.translate, lines) for side in (ours, theirs)]
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
    turns: list[Turn] = [partial(ours.classify, lines)]
    if options.cell in OPERATORS and not options.layer_normalisation and not options.zoneout:
        turns.append(partial(classify_on_torch, ours, tensors_of(model), lines))
    both = ", both with the linear model" if ours.linear is not None else ""
    neighbour = f"the same model on torch's operators{both}"
    return _throughput("classify", "texts", len(lines), neighbour, turns, repeats)


class TimedFilter(NamedTuple):
    """How a filter is timed, and the bundled corpus whose lines it reads by default."""

    measure: Callable[[Path | None, Sequence[str], int], Throughput]  # of a model, lines and the number of rounds
    corpus: str
    column: int | None = None  # of the corpus, if that is a table

    def bundled_lines(self) -> list[str]:
        """Lines of the bundled corpus: the first ones that are not blank."""
        lines = [line for line in split_lines(BUNDLED[self.corpus].read()) if line.strip()][:BUNDLED_LINES]
        return lines if self.column is None else [line.split("\t")[self.column] for line in lines]


FILTERS = {
    "translate": TimedFilter(measure_translate, "english-german", column=0),
    "score": TimedFilter(measure_score, "stories"),
    "classify": TimedFilter(measure_classify, "reviews", column=1),
}


def _throughput(what: str, unit: str, count: int, neighbour: str, turns: Sequence[Turn], repeats: int) -> Throughput:
    rates = [count / seconds for seconds in median_seconds(turns, repeats)]
    return Throughput(what, unit, rates[0], neighbour, rates[1] if len(rates) > 1 else None)


def tensors_of(model: Model) -> dict[str, Tensor]:
    """The weights of a model's network as tensors, copied."""
    return {name: torch.from_numpy(np.array(value)) for name, value in network_weights(model.weights).items()}


def _train(model: Model, options: LanguageModelOptions, tokens: np.ndarray, steps: int) -> None:
    """Take training steps without the optimiser, all on the same batch."""
    tensors = tensors_of(model)
    for tensor in tensors.values():
        tensor.requires_grad_(tensor.is_floating_point())
    ids, targets = (
        torch.from_numpy(stream.astype(np.int64).reshape(BATCH, STEPS).T.copy()) for stream in (tokens[:-1], tokens[1:])
    )
    state = language_model.begin(tensors, options, BATCH)
    for _ in range(steps):
        features, _ = language_model.forward(tensors, options, ids, state, run_layer=recurrence.unroll)
        loss = linear_cross_entropy(features.flatten(0, 1), *language_model.output_layer(tensors), targets.flatten())
        torch.autograd.grad(loss, list(tensors.values()), allow_unused=True)


@torch.inference_mode()
def classify_on_torch(ours: TextClassifier, tensors: dict[str, Tensor], lines: Sequence[str]) -> None:
    """Classify the lines with layers run by torch's operators; a linear model is run as ours."""
    ids = [ours.ids(line) for line in lines]
    linear = ours.linear_logits(lines)
    for group in together(np.array([len(text) for text in ids], np.int64), TOKENS_AT_ONCE):
        padded, lengths = map(torch.from_numpy, side_by_side([ids[index] for index in group]))
        read = classifier.read(tensors, ours.options, padded, lengths, run_layer=TorchLayers(torch.float32))
        logits = classifier.logits(tensors, ours.options, read)
        if linear is not None:
            logits = logits + torch.from_numpy(linear[group])
        logits.softmax(-1)


def _random_translator(lines: Sequence[str]) -> tuple[Model, TranslatorOptions]:
    options = TranslatorOptions(hidden_size=256, embedding_size=256)
    tokeniser = train_tokeniser("bpe", lines, VOCABULARY)
    weights = translator.initial_weights(options, tokeniser.size, seed=1)
    return Model(translator.TASK, asdict(options), weights, tokeniser, {}, Path()), options


def _random_language_model(lines: Sequence[str]) -> tuple[Model, LanguageModelOptions]:
    options = LanguageModelOptions(cell="lstm", hidden_size=384, embedding_size=128)
    tokeniser = train_tokeniser("char", lines, 256)
    weights = language_model.initial_weights(options, tokeniser.size, seed=1)
    return Model(language_model.TASK, asdict(options), weights, tokeniser, {}, Path()), options


def random_classifier(lines: Sequence[str]) -> tuple[Model, ClassifierOptions]:
    """A classifier of the usual size with random weights, and a tokeniser trained on the lines."""
    options = ClassifierOptions(hidden_size=64, embedding_size=128, bidirectional=True, ngrams=2, evidence=0)
    tokeniser = train_tokeniser("bpe", lines, VOCABULARY)
    weights = classifier.initial_weights(options, tokeniser.size, np.ones(2), seed=1)
    header = {"labels": ["negative", "positive"]}
    return Model(classifier.TASK, asdict(options), weights, tokeniser, header, Path()), options
