"""The base class of tasks in training: parameters, noise and the model file."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
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
from nlpseq.training.distribution.processes import ALONE, Processes, Share
from nlpseq.training.noise import Dropouts
from nlpseq.training.options import TrainingOptions

EXACT_COST = 2.0  # the time of fp32 products in that of rounded ones


class ModelTask:
    """A model in training, with its parameters as tensors on the device."""

    name: ClassVar[str]  # of the task, as in the model file
    unit: str = "token"  # that losses are counted in
    criterion: str = ""  # name of the selection score
    most_passes: float | None = None  # over the corpus, with a budget in minutes
    loss_weight: float = 1.0  # of the batch: 0 in a process that has no text of its own in it
    teachers: Sequence[Mapping[str, str]] = ()  # path and checksum of each model that the task learned from
    depths: dict[str, int] = {}  # noqa: RUF012  # of parameters below the output; empty if all have one rate

    def __init__(
        self,
        options: RecurrentOptions,
        training: TrainingOptions,
        corpus: Any,
        choice: Choice,
        weights: Mapping[str, np.ndarray],
        processes: Processes = ALONE,
    ) -> None:
        """With several `processes`, each batch is shared among them."""
        self.options: Any = options
        self.processes = processes
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

    def share_of(self, total: int) -> Share:
        """This process's share of the next batch, of `total` texts or streams; its masks are drawn accordingly."""
        share = self.processes.share(total)
        if share.count > 1:
            self.noise.share, self.loss_weight = share, share.weight
        return share

    def weights(self) -> dict[str, np.ndarray]:
        """The current parameters as NumPy arrays, which share the memory of parameters on the CPU."""
        return {name: arrays.to_numpy(value) for name, value in self.parameters.items()}

    def start_step(self, step: int) -> None:
        """Prepare for a step; on a GPU its noise depends on the random seed and the step's number only."""
        start_step(self.generator, self.training.random_seed, step)

    def batch_loss(self, *batch: Tensor) -> Tensor:
        """The total loss of a batch in nats."""
        raise NotImplementedError

    def loss_of_first(self, count: int, *batch: Tensor) -> Tensor:
        """The loss of the first `count` sequences of a batch, to find out if they fit the device's memory."""
        return self.batch_loss(*(tensor[..., :count] for tensor in batch))

    def settle(self) -> None:
        """Called after each backward pass; a task that carries a state overrides it."""

    def running_weights(self) -> dict[str, Any]:
        """The current parameters for running the model: NumPy arrays, or tensors if they are on a GPU."""
        if self.choice.device.type == "cpu":
            return self.weights()
        return {name: value.detach() for name, value in self.parameters.items()}

    @property
    def worst_loss(self) -> float:
        """A validation loss of a run that has diverged: four times that of guessing among all tokens, in nats."""
        return 4 * math.log(len(self.parameters["embedding.weight"]))

    def plan(self, total: int, validations: int) -> None:
        """Called when the number of steps is known, of which `validations` are validated."""
        self.training = replace(self.training, steps=total, epochs=None, minutes=None, validations=validations)

    def exact_seconds(self, validation_seconds: float) -> float:
        """The time of a validation in full precision, from that of one with the products of training."""
        return validation_seconds * (1.0 if self.choice.operands == torch.float32 else EXACT_COST)

    def selection_score(self) -> float | None:
        """None: the best model is chosen by its loss, unless a task overrides this."""
        return None

    def rate_scales(self, fraction: float) -> Sequence[float]:
        """The factor of the learning rate at each depth, after this fraction of the run."""
        return (1.0,)

    def details(self) -> dict[str, Any]:
        """The task's own entries in the header of the model file."""
        return {}

    @torch.no_grad()
    def load(self, weights: Mapping[str, np.ndarray]) -> None:
        """Load the weights of a model file."""
        for name, value in self.parameters.items():
            value.copy_(torch.from_numpy(weights[name]))

    def save(self, path: Path, step: int, loss: float, scores: list[Score] | None = None) -> None:
        """Write the model with its scores, if there are any yet."""
        save_model(
            path,
            self.name,
            asdict(self.options),
            self.weights(),
            self.corpus.tokeniser,
            self.training.store,
            scores=[score.as_json() for score in scores or ()],
            data=self.corpus.facts,
            training={"step": step, "quick_valid_loss": loss if math.isfinite(loss) else None, **asdict(self.training)},
            **({"teachers": list(self.teachers)} if self.teachers else {}),
            **self.details(),
        )
