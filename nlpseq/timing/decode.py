"""How many tokens per second a language model generates in one stream, beside the same model with torch.nn's layers.

Ours takes the same steps as `nlpseq generate`, compiled or in NumPy. The other side computes embedding and output as
ours does, and runs the recurrent layers as one module of torch.nn. It leaves out what torch.nn does not have (vectors
of n-grams, layer normalisation, zoneout), which is to its advantage. Both draw tokens with the same function.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from nlpseq.models import language_model, storage
from nlpseq.models.language_model import LanguageModelOptions
from nlpseq.models.model_file import load_model
from nlpseq.models.stepper import Stepper
from nlpseq.text.tokenisers import NEWLINE
from nlpseq.timing.clocks import median_seconds
from nlpseq.timing.layer_turns import TORCH_LAYERS, torch_layer
from nlpseq.timing.throughput import Throughput

RANDOM_MODEL = LanguageModelOptions(cell="lstm", layers=2, hidden_size=512, embedding_size=128)
RANDOM_VOCABULARY = 256

Weights = Mapping[str, np.ndarray]
Step = Callable[[int], np.ndarray]  # from a token to the log-probabilities [V] of the next


@dataclass(frozen=True)
class DecodeTiming:
    """Tokens per second, medians; torch's are None if torch.nn has no such cell."""

    cell: str
    layers: int
    hidden_size: int
    vocabulary_size: int
    ours_tokens_per_second: float
    torch_tokens_per_second: float | None

    @property
    def throughput(self) -> Throughput:
        """Both rates, as the other commands show them."""
        rates = self.ours_tokens_per_second, "torch.nn", self.torch_tokens_per_second
        return Throughput("decode", "tokens", *rates)

    def as_json(self) -> dict[str, Any]:
        """What `nlpseq bench decode --json` writes."""
        return {**asdict(self), "ratio": self.throughput.ratio}

    def rows(self) -> list[tuple[str, str]]:
        """A table of names and values."""
        model = f"{self.cell} {self.layers}x{self.hidden_size}, vocabulary of {self.vocabulary_size:,}"
        return [("model", model), *self.throughput.rows("ours / torch", separator="")]


def load_weights(path: Path | None, precision: str) -> tuple[dict[str, np.ndarray], LanguageModelOptions]:
    """Weights and options of the model at `path`, or of RANDOM_MODEL for None.

    Matrices are rounded to `precision`, a number format of storage.py. Random weights are as fast as trained ones.
    Raises ModelFileError as `load_model` does.
    """
    if path is None:
        options = RANDOM_MODEL
        weights = language_model.initial_weights(options, RANDOM_VOCABULARY, seed=1)
    else:
        model = load_model(path, language_model.TASK)
        options, weights = LanguageModelOptions(**model.options), model.weights
    return storage.rounded(weights, precision), options


def measure_decode(
    weights: Weights, options: LanguageModelOptions, length: int, repeats: int, seed: int = 1
) -> DecodeTiming:
    """Time the generation of `length` tokens on both sides, in `repeats` rounds."""
    cell = options.recurrent_cell.name
    steps = [our_step(weights, options)]
    if cell in TORCH_LAYERS:
        steps.append(torch_step(weights, options))
    generator = np.random.default_rng(seed)
    seconds = median_seconds([partial(generate, step, length, generator) for step in steps], repeats)
    rates = [length / taken for taken in seconds]
    return DecodeTiming(
        cell=cell,
        layers=options.layers,
        hidden_size=options.hidden_size or 0,
        vocabulary_size=len(weights["output.bias"]),
        ours_tokens_per_second=rates[0],
        torch_tokens_per_second=rates[1] if len(rates) == 2 else None,
    )


def generate(step: Step, length: int, generator: np.random.Generator) -> None:
    """Draw `length` tokens, one after the other."""
    token = NEWLINE
    for _ in range(length):
        cumulative = np.exp(step(token)).cumsum()
        token = min(int(cumulative.searchsorted(generator.random() * cumulative[-1])), len(cumulative) - 1)


def our_step(weights: Weights, options: LanguageModelOptions) -> Step:
    """The model's step in `nlpseq generate`."""
    stepper = Stepper(weights, options)

    def step(token: int) -> np.ndarray:
        stepper.advance([token])
        predicted: np.ndarray = stepper.predict()[0]
        return predicted

    return step


def torch_step(weights: Weights, options: LanguageModelOptions) -> Step:
    """The model's step with a module of torch.nn for the recurrent layers."""
    fields = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    layers = [{field: weights[f"layers.{depth}.{field}"] for field in fields} for depth in range(options.layers)]
    module = torch_layer(options.recurrent_cell.name, layers).eval()
    tensors = {name: torch.from_numpy(np.array(value)) for name, value in weights.items()}
    state: Any = None

    @torch.inference_mode()
    def step(token: int) -> np.ndarray:
        nonlocal state
        embedded = tensors["embedding.weight"][token].reshape(1, 1, -1)
        outputs, state = module(embedded, state)
        features = language_model.output_features(tensors, outputs[0])
        predicted: np.ndarray = language_model.log_probabilities(tensors, features)[0].numpy()
        return predicted

    return step
