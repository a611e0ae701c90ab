"""Regression on short numeric sequences: a GRU reads pairs (value, weight) and gives their weighted mean.

The sequences differ in length. The answer is read from the state after each sequence's last real step, and what stands
in the padding has no influence.
"""

from __future__ import annotations

import numpy as np
import torch

from nlpseq import cells
from nlpseq.cells import CELLS, LayerWeights
from nlpseq.cells.initial import layer_values
from nlpseq.cells.unroll import zero_state
from nlpseq.kernels.cpu import recurrence

CELL = CELLS["gru"]
HIDDEN_SIZE = 24
LONGEST = 8
STEPS = 200

Arrays = dict[str, np.ndarray]


def draw(generator: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sequences [T, count, 2] of values and weights, their lengths [count], and their weighted means [count]."""
    lengths = generator.integers(2, LONGEST + 1, count)
    values = generator.uniform(-1, 1, (LONGEST, count))
    weights = generator.uniform(0.1, 1, (LONGEST, count))
    real = np.arange(LONGEST)[:, None] < lengths
    means = (values * weights * real).sum(0) / (weights * real).sum(0)
    return np.stack([values, weights], -1).astype(np.float32), lengths, means.astype(np.float32)


def train(generator: np.random.Generator) -> Arrays:
    """The layer's weights, and the read-out of its last hidden state under `read_out`."""
    start = layer_values(CELL, 2, HIDDEN_SIZE, generator)
    layer = {name: torch.from_numpy(value).requires_grad_() for name, value in start.items()}
    read_out = torch.zeros(HIDDEN_SIZE, requires_grad=True)
    optimiser = torch.optim.Adam([*layer.values(), read_out], lr=0.02)
    annealing = torch.optim.lr_scheduler.LinearLR(optimiser, 1.0, 0.02, STEPS)
    for _ in range(STEPS):
        inputs, lengths, means = (torch.from_numpy(array) for array in draw(generator, 64))
        state = zero_state(CELL, len(means), HIDDEN_SIZE, inputs)
        _, last = recurrence.unroll(CELL, LayerWeights(**layer), inputs, state, lengths)
        loss = (last.hidden @ read_out - means).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        annealing.step()
    return {name: value.detach().numpy() for name, value in {**layer, "read_out": read_out}.items()}


def predict(trained: Arrays, inputs: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """The weighted means [B] that the model finds, on NumPy."""
    layer = LayerWeights(**{name: value for name, value in trained.items() if name != "read_out"})
    state = zero_state(CELL, inputs.shape[1], HIDDEN_SIZE, inputs)
    _, last = cells.unroll(CELL, layer, inputs, state, lengths)
    return last.hidden @ trained["read_out"]  # type: ignore[no-any-return]


def main() -> None:
    """Train, then compare with the truth on sequences never seen."""
    trained = train(np.random.default_rng(1))
    inputs, lengths, means = draw(np.random.default_rng(2), 1000)
    predicted = predict(trained, inputs, lengths)
    print("length  true   predicted")
    for length, true, found in list(zip(lengths, means, predicted, strict=True))[:8]:
        print(f"{length:6d}  {true:+.3f} {found:+.3f}")
    print(f"mean absolute error of always guessing zero:      {np.abs(means).mean():.4f}")
    print(f"mean absolute error on {len(means)} unseen sequences: {np.abs(predicted - means).mean():.4f}")


if __name__ == "__main__":
    main()
