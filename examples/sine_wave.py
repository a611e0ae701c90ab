"""Next-value prediction: a GRU learns a sine wave, then draws it alone, fed with nothing but its own predictions.

The cells take any real-valued sequence. Training differentiates through the fast kernel on torch; running free is the
plain loop on NumPy, with the very same weights.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from nlpseq import cells
from nlpseq.cells import CELLS, LayerWeights
from nlpseq.cells.initial import layer_values
from nlpseq.cells.unroll import zero_state
from nlpseq.kernels.cpu import recurrence

CELL = CELLS["gru"]
PERIOD = 20  # values in one turn of the wave
HIDDEN_SIZE = 24
STEPS = 160
HEARD, FREE = 40, 100  # values that are given before running free, and values drawn alone

Arrays = dict[str, np.ndarray]


def wave(length: int, phase: float | np.ndarray) -> np.ndarray:
    """The sine wave from a phase in radians: [length] for one phase, [length, B] for many."""
    return np.sin(2 * np.pi * np.arange(length)[:, None] / PERIOD + phase).squeeze().astype(np.float32)


def train() -> tuple[Arrays, Arrays]:
    """The weights of the layer, and the linear read-out of its hidden state."""
    generator = np.random.default_rng(1)
    start = layer_values(CELL, 1, HIDDEN_SIZE, generator)
    layer = {name: torch.from_numpy(value).requires_grad_() for name, value in start.items()}
    read_out = {"weight": torch.zeros(1, HIDDEN_SIZE).requires_grad_(), "bias": torch.zeros(1).requires_grad_()}
    optimiser = torch.optim.Adam([*layer.values(), *read_out.values()], lr=0.02)
    annealing = torch.optim.lr_scheduler.LinearLR(optimiser, 1.0, 0.02, STEPS)
    for _ in range(STEPS):
        values = torch.from_numpy(wave(2 * PERIOD, generator.uniform(0, 2 * np.pi, 16)))[:, :, None]  # [T, B, 1]
        inputs, targets = values[:-1], values[1:]
        state = zero_state(CELL, inputs.shape[1], HIDDEN_SIZE, inputs)
        outputs, _ = recurrence.unroll(CELL, LayerWeights(**layer), inputs, state)
        predicted = torch.nn.functional.linear(outputs, **read_out)
        loss = (predicted - targets).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        annealing.step()
    return _numpy(layer), _numpy(read_out)


def _numpy(tensors: dict[str, Tensor]) -> Arrays:
    return {name: value.detach().numpy() for name, value in tensors.items()}


def run_free(layer: Arrays, read_out: Arrays, heard: np.ndarray) -> np.ndarray:
    """Listen to the values `heard`, then go on alone for FREE values."""
    weights, state = LayerWeights(**layer), zero_state(CELL, 1, HIDDEN_SIZE, heard)
    inputs, drawn = heard[:, None, None], []
    for _ in range(FREE):
        outputs, state = cells.unroll(CELL, weights, inputs, state)
        inputs = outputs[-1:] @ read_out["weight"].T + read_out["bias"]
        drawn.append(inputs.item())
    return np.array(drawn)


def main() -> None:
    """Train, run free, draw one value in five, and print the error."""
    true = wave(HEARD + FREE, phase=0.3)
    drawn = run_free(*train(), true[:HEARD])
    for value, right in zip(drawn[::5], true[HEARD::5], strict=True):
        print(f"{value:+.2f}  {right:+.2f}  {' ' * round(20 + 20 * value)}*")
    error = np.sqrt(np.mean((drawn - true[HEARD:]) ** 2))
    print(f"root mean square error over {FREE} values drawn alone: {error:.3f}")


if __name__ == "__main__":
    main()
