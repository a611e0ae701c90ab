"""Vanishing and exploding gradients of the three cells side by side.

A loss is put on the last hidden state of a long sequence, and its gradient is followed back: how large is it so many
steps earlier, beside what it is at the end? The state is the hidden state, and for the LSTM its memory with it. The
recurrent weights are orthogonal, times a scale.

A simple recurrent network goes through its weights in every step: what it sends back goes with the scale to the power
of the distance, but for what its tanh takes away. An LSTM's memory goes through its forget gate and a GRU's state
through its update gate instead. These gates start half open, so the gradient fades, but they can learn to open: the
last table shows how far it reaches then, with recurrent weights that are nearly nothing.
"""

from __future__ import annotations

import numpy as np
import torch

from nlpseq import cells
from nlpseq.cells import CELLS, LayerWeights
from nlpseq.cells.initial import layer_values

CASES = ((0.5, None), (1.0, None), (1.5, None), (0.1, 4.0))  # scale of the weights, bias of the gate that keeps
DISTANCES = (1, 2, 5, 10, 20, 50, 100)
INPUT_SIZE, HIDDEN_SIZE, BATCH = 8, 32, 8
INPUT_SCALE = 0.1  # small inputs: tanh stays near its straight part


def gradient_norms(name: str, scale: float, open_gate: float | None) -> np.ndarray:
    """The norm of d loss / d state at each of DISTANCES steps before the end, over that at the end itself."""
    cell = CELLS[name]
    generator = np.random.default_rng(1)
    values = layer_values(cell, INPUT_SIZE, HIDDEN_SIZE, generator)
    values["weight_hh"] = values["weight_hh"] * np.float32(scale)
    if open_gate is not None and cell.gates > 1:  # the second block: forget gate of the lstm, update gate of the gru
        values["bias_ih"][HIDDEN_SIZE : 2 * HIDDEN_SIZE] = open_gate
    weights = LayerWeights(**{key: torch.from_numpy(value) for key, value in values.items()})
    steps = max(DISTANCES) + 1
    drawn = INPUT_SCALE * generator.standard_normal((steps, BATCH, INPUT_SIZE))
    inputs = torch.from_numpy(drawn.astype(np.float32))
    state = cell.state(*(torch.zeros(BATCH, HIDDEN_SIZE) for _ in cell.state._fields))
    states = []
    for time in range(steps):
        for value in state:
            value.requires_grad_()
        _, state = cells.unroll(cell, weights, inputs[time : time + 1], state)
        states.append(state)
    direction = torch.from_numpy(generator.standard_normal((BATCH, HIDDEN_SIZE)).astype(np.float32))
    loss = (states[-1].hidden * direction).sum()
    wanted = [states[-1 - distance] for distance in (0, *DISTANCES)]
    gradients = iter(torch.autograd.grad(loss, [v for one in wanted for v in one], materialize_grads=True))
    norms = [sum(next(gradients).square().sum().item() for _ in one) ** 0.5 for one in wanted]
    return np.array(norms[1:]) / norms[0]


def bar(norm: float) -> str:
    """A mark on a logarithmic scale from 1e-12 to 1e+6, with `|` where the gradient neither vanishes nor explodes."""
    marks = list("." * 12 + "|" + "." * 6)
    marks[int(np.clip(round(np.log10(max(norm, 1e-30))) + 12, 0, 18))] = "#"
    return "".join(marks)


def main() -> None:
    """One table for each case."""
    print("norm of d loss / d state, relative to the last step's")
    for scale, open_gate in CASES:
        norms = {name: gradient_norms(name, scale, open_gate) for name in ("rnn", "lstm", "gru")}
        gates = "as at the start" if open_gate is None else f"open (bias {open_gate:g})"
        print(f"\nrecurrent weights: orthogonal times {scale}; gates: {gates}")
        print("distance  " + "  ".join(f"{name:28s}" for name in norms).rstrip())
        for row, distance in enumerate(DISTANCES):
            columns = (f"{values[row]:8.1e} {bar(values[row])}" for values in norms.values())
            print(f"{distance:8d}  " + "  ".join(columns))


if __name__ == "__main__":
    main()
