"""How many tokens a second a language model generates in one stream, beside the same model stepped with torch.nn.

Ours is the running road as `nlpseq generate` takes it, one step after another, compiled or in NumPy. The other side
keeps embedding and output as they are and runs the recurrent layers as one module of torch.nn. What torch.nn knows no
layer for (vectors of n-grams, layer normalisation, zoneout) is left out there, to its favour. Both draw each token by
the same few lines.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
import torch

from nlpseq.models import language_model
from nlpseq.models.language_model import LanguageModelOptions
from nlpseq.models.stepper import Stepper
from nlpseq.text.tokenisers import NEWLINE
from nlpseq.timing.layers import TORCH_LAYERS, median_seconds, torch_layer

RANDOM_MODEL = LanguageModelOptions(cell="lstm", layers=2, hidden_size=512, embedding_size=128)
RANDOM_VOCABULARY = 256

Weights = Mapping[str, np.ndarray]
Step = Callable[[int], np.ndarray]  # a token to the next one's log-probabilities [V]


@dataclass(frozen=True)
class DecodeTiming:
    """Tokens a second, medians; torch's are None where torch.nn has no such cell."""

    cell: str
    layers: int
    hidden_size: int
    vocabulary_size: int
    ours_tokens_per_second: float
    torch_tokens_per_second: float | None

    @property
    def ratio(self) -> float | None:
        """How many times faster ours is."""
        theirs = self.torch_tokens_per_second
        return None if theirs is None else self.ours_tokens_per_second / theirs

    def as_json(self) -> dict[str, Any]:
        """What `nlpseq bench decode --json` writes."""
        return {**asdict(self), "ratio": self.ratio}


def random_weights() -> dict[str, np.ndarray]:
    """Weights for RANDOM_MODEL, which knows nothing: its speed is that of a trained one."""
    return language_model.initial_weights(RANDOM_MODEL, RANDOM_VOCABULARY, seed=1)


def measure_decode(
    weights: Weights, options: LanguageModelOptions, length: int, repeats: int, seed: int = 1
) -> DecodeTiming:
    """Generate `length` tokens by turns on both sides, `repeats` times."""
    cell = options.recurrent_cell.name
    steps = [our_step(weights, options)]
    if cell in TORCH_LAYERS:
        steps.append(torch_step(weights, options))
    generator = np.random.default_rng(seed)
    seconds = median_seconds([partial(_generate, step, length, generator) for step in steps], repeats)
    rates = [length / one for one in seconds]
    return DecodeTiming(
        cell=cell,
        layers=options.layers,
        hidden_size=options.hidden_size or 0,
        vocabulary_size=len(weights["output.bias"]),
        ours_tokens_per_second=rates[0],
        torch_tokens_per_second=rates[1] if len(rates) == 2 else None,
    )


def _generate(step: Step, length: int, generator: np.random.Generator) -> None:
    token = NEWLINE
    for _ in range(length):
        cumulative = np.exp(step(token)).cumsum()
        token = min(int(cumulative.searchsorted(generator.random() * cumulative[-1])), len(cumulative) - 1)


def our_step(weights: Weights, options: LanguageModelOptions) -> Step:
    """A step as `nlpseq generate` takes it."""
    stepper = Stepper(weights, options)

    def step(token: int) -> np.ndarray:
        stepper.advance([token])
        predicted: np.ndarray = stepper.predict()[0]
        return predicted

    return step


def torch_step(weights: Weights, options: LanguageModelOptions) -> Step:
    """A step with the recurrent layers as a module of torch.nn."""
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
