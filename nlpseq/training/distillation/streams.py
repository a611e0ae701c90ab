"""Teachers of a language model: they read what the student reads, in the same steps.

The states of the teachers are carried from batch to batch as the student's is, and saved with it. Their kernels are
chosen for their own cells, on the student's device and with its precision.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nlpseq import arrays
from nlpseq.kernels.choice import Choice
from nlpseq.kernels.soft_loss import Predictor
from nlpseq.models import language_model
from nlpseq.models.language_model import LanguageModelOptions, LanguageModelState
from nlpseq.models.model_file import Model, read_options
from nlpseq.training.data.feed import Feed
from nlpseq.training.data.seal import check_ids
from nlpseq.training.options import TrainingOptions
from nlpseq.training.tasks.starting import choose_kernel

Whole = Callable[[np.ndarray, int], np.ndarray]  # from a process's streams and their axis to those of all processes
Own = Callable[[np.ndarray, int], np.ndarray]  # the opposite


class _Stream:
    """One teacher and its state."""

    def __init__(self, model: Model, training: TrainingOptions, choice: Choice, streams: int) -> None:
        self.options = read_options(model, LanguageModelOptions)
        wanted = replace(training, backend="auto", device=choice.device.type)
        self.run_layer = choose_kernel(wanted, self.options).run_layer
        self.place = Feed(choice.device).place
        self.weights = {name: self.place(np.array(value)) for name, value in model.weights.items()}
        self.state = self.begin(streams)
        self.after = self.state

    def begin(self, streams: int) -> LanguageModelState:
        """The state before the first token."""
        return language_model.begin(self.weights, self.options, streams)

    def read(self, inputs: Tensor) -> Predictor:
        """What the next tokens are predicted from."""
        features, self.after = language_model.forward(
            self.weights, self.options, inputs, self.state, run_layer=self.run_layer
        )
        return Predictor(features.flatten(0, 1), *language_model.output_layer(self.weights))

    def carry(self, state: LanguageModelState) -> None:
        """Take over a state, in the same memory, as graphs need it."""
        language_model.map_state(Tensor.copy_, self.state, state)


class TeacherStreams:
    """The teachers of one run, each with the state of the student's streams."""

    def __init__(self, models: Sequence[Model], training: TrainingOptions, choice: Choice, streams: int) -> None:
        """Raises BackendError if a teacher's cell cannot run here, and ModelFileError for unknown options."""
        self._streams = [_Stream(model, training, choice, streams) for model in models]

    @torch.no_grad()
    def read(self, inputs: Tensor) -> list[Predictor]:
        """What each teacher predicts the tokens after `inputs` [T, B] from; `settle` carries the states on."""
        return [stream.read(inputs) for stream in self._streams]

    @torch.no_grad()
    def settle(self) -> None:
        """Carry the states after the last batch into the next one."""
        for stream in self._streams:
            stream.carry(stream.after)

    @contextmanager
    def held(self, count: int) -> Iterator[None]:
        """Inside, there are only `count` streams, which start from zeros."""
        states = [stream.state for stream in self._streams]
        for stream in self._streams:
            stream.state = stream.begin(count)
        try:
            yield
        finally:
            for stream, state in zip(self._streams, states, strict=True):
                stream.state = state

    def arrays(self, whole: Whole) -> dict[str, np.ndarray]:
        """The states of all streams of all processes, which `whole` joins."""
        return {
            f"teacher/{number}/{name}": whole(arrays.to_numpy(value).copy(), language_model.streams_axis(name))
            for number, stream in enumerate(self._streams)
            for name, value in language_model.flatten_state(stream.state).items()
        }

    @torch.no_grad()
    def restore(self, saved: Mapping[str, Any], own: Own) -> None:
        """Restore what `arrays` returned; `own` takes this process's streams."""
        for number, stream in enumerate(self._streams):
            prefix = f"teacher/{number}/"
            named = {
                name: stream.place(own(value, language_model.streams_axis(name)))
                for name, value in ((key.removeprefix(prefix), saved[key]) for key in saved if key.startswith(prefix))
            }
            check_ids(
                "a teacher's carried state",
                arrays.to_numpy(named["recent"]).ravel(),
                len(stream.weights["embedding.weight"]),
            )
            stream.carry(language_model.restore_state(named, stream.state))
