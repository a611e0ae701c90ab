"""What the tasks have in common: parameters, and the file that they are kept in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from nlpseq import arrays
from nlpseq.evaluation.scores import Score
from nlpseq.kernels.choice import Choice
from nlpseq.kernels.masks import make_generator, start_step
from nlpseq.models.model_file import save_model
from nlpseq.models.options import RecurrentOptions
from nlpseq.training.data.feed import Feed
from nlpseq.training.noise import Dropouts
from nlpseq.training.options import TrainingOptions


class ModelTask:
    """A model in training: its parameters as tensors, from weights [..] by name."""

    name: ClassVar[str]  # as in the model's file
    unit: str = "token"  # what losses are counted in
    criterion: str = ""  # what selection scores are called
    most_passes: float | None = None  # over the corpus, in a budget of minutes
    depths: dict[str, int] = {}  # noqa: RUF012  # of parameters below the output; none: all learn at one rate

    def __init__(
        self,
        options: RecurrentOptions,
        training: TrainingOptions,
        corpus: Any,
        choice: Choice,
        weights: Mapping[str, np.ndarray],
    ) -> None:
        self.options: Any = options
        self.training: Any = training
        self.corpus: Any = corpus
        self.choice = choice
        self.feed = Feed(choice.device)
        self.parameters = {name: self.feed.place(np.array(value)).requires_grad_() for name, value in weights.items()}
        self.generator = make_generator(choice.device, training.random_seed)
        self.noise = Dropouts(
            training,
            options.zoneout,
            self.generator,
            vocabulary_size=len(self.parameters["embedding.weight"]),
            device=choice.device,
        )

    def weights(self) -> dict[str, np.ndarray]:
        """The parameters as they are now, as NumPy arrays; those of a CPU on the same memory."""
        return {name: arrays.to_numpy(value) for name, value in self.parameters.items()}

    def start_step(self, step: int) -> None:
        """Get ready for a step: on a GPU its noise is a function of the random seed and its number."""
        start_step(self.generator, self.training.random_seed, step)

    def batch_loss(self, *batch: Tensor) -> Tensor:
        """The loss of a batch, the total in nats."""
        raise NotImplementedError

    def loss_of_first(self, count: int, *batch: Tensor) -> Tensor:
        """The loss of the first `count` sequences of a batch, to see if they fit the device's memory."""
        return self.batch_loss(*(one[..., :count] for one in batch))

    def settle(self) -> None:
        """What is to be done after a backward pass: nothing, unless a task carries a state on."""

    def running_weights(self) -> dict[str, Any]:
        """The parameters to run the model with as it is now: NumPy arrays, or tensors if they are on a GPU."""
        if self.choice.device.type == "cpu":
            return self.weights()
        return {name: value.detach() for name, value in self.parameters.items()}

    def selection_score(self) -> float | None:
        """The best model is that of the smallest loss, unless a task knows better."""
        return None

    def rate_scales(self, share: float) -> Sequence[float]:
        """What the rate is multiplied by at each depth, when `share` of the run is over."""
        return (1.0,)

    def details(self) -> dict[str, Any]:
        """What stands in the model's file beside what is in every model's."""
        return {}

    @torch.no_grad()
    def load(self, weights: Mapping[str, np.ndarray]) -> None:
        """Take the weights of a model file."""
        for name, value in self.parameters.items():
            value.copy_(torch.from_numpy(weights[name]))

    def save(self, path: Path, step: int, loss: float, scores: list[Score] | None = None) -> None:
        """Write the model with its scores so far."""
        save_model(
            path,
            self.name,
            asdict(self.options),
            self.weights(),
            self.corpus.tokeniser,
            scores=[score.as_json() for score in scores or ()],
            data=self.corpus.facts,
            training={"step": step, "quick_valid_loss": loss, **asdict(self.training)},
            **self.details(),
        )
