"""The forward equations of RNN, LSTM and GRU worked by hand, one number at a time, against the library.

Nothing here is vectorised: every unit of every step is computed in plain Python from the equation in its docstring.
`x` is the input and `h` the last hidden state of one sequence; W, U, b and c stand for `weight_ih`, `weight_hh`,
`bias_ih` and `bias_hh`. Gate k of unit j is row k * H + j of them, the gates being in the order of the docstring.
"""

from __future__ import annotations

from math import exp, tanh

import numpy as np
import torch

from nlpseq import cells
from nlpseq.cells import CELLS, LayerWeights
from nlpseq.cells.initial import layer_values
from nlpseq.kernels.cpu import recurrence

TIME, INPUT_SIZE, HIDDEN_SIZE = 7, 3, 5


def sigmoid(value: float) -> float:
    """The logistic function."""
    return 1 / (1 + exp(-value))


def row(matrix: np.ndarray, bias: np.ndarray, index: int, vector: np.ndarray) -> float:
    """One row of a product: sum over i of M[index, i] v[i], plus b[index]."""
    return sum(float(m) * float(v) for m, v in zip(matrix[index], vector, strict=True)) + float(bias[index])


def rnn(weights: LayerWeights, x: np.ndarray, h: np.ndarray, memory: np.ndarray) -> None:
    """h_j = tanh(W_j x + b_j + U_j h + c_j)"""
    W, U, b, c = weights[:4]
    h[:] = [tanh(row(W, b, j, x) + row(U, c, j, h)) for j in range(len(h))]


def lstm(weights: LayerWeights, x: np.ndarray, h: np.ndarray, memory: np.ndarray) -> None:
    """i, f, o = sigmoid(..), g = tanh(..) of W x + b + U h + c;  m = f m + i g;  h = o tanh(m); gates i f g o"""
    W, U, b, c = weights[:4]
    size = len(h)
    total = [row(W, b, k, x) + row(U, c, k, h) for k in range(4 * size)]
    for j in range(size):
        i, f, o = sigmoid(total[j]), sigmoid(total[size + j]), sigmoid(total[3 * size + j])
        memory[j] = f * memory[j] + i * tanh(total[2 * size + j])
        h[j] = o * tanh(memory[j])


def gru(weights: LayerWeights, x: np.ndarray, h: np.ndarray, memory: np.ndarray) -> None:
    """r, z = sigmoid(W x + b + U h + c);  n = tanh(W x + b + r (U h + c));  h = (1 - z) n + z h; gates r z n"""
    W, U, b, c = weights[:4]
    size = len(h)
    from_x = [row(W, b, k, x) for k in range(3 * size)]
    from_h = [row(U, c, k, h) for k in range(3 * size)]
    for j in range(size):
        r, z = sigmoid(from_x[j] + from_h[j]), sigmoid(from_x[size + j] + from_h[size + j])
        n = tanh(from_x[2 * size + j] + r * from_h[2 * size + j])
        h[j] = (1 - z) * n + z * h[j]


def main() -> None:
    """Run each cell by hand, on the plain loop with NumPy and on the fast kernel with torch, in double precision."""
    generator = np.random.default_rng(1)
    inputs = generator.standard_normal((TIME, 1, INPUT_SIZE))
    print("largest difference from the equations worked by hand")
    for name, by_hand in {"rnn": rnn, "lstm": lstm, "gru": gru}.items():
        cell = CELLS[name]
        drawn = layer_values(cell, INPUT_SIZE, HIDDEN_SIZE, generator)
        weights = LayerWeights(**{key: generator.standard_normal(value.shape) for key, value in drawn.items()})
        state = cell.state(*(generator.standard_normal((1, HIDDEN_SIZE)) for _ in cell.state._fields))
        tensors = LayerWeights(*(value if value is None else torch.from_numpy(value) for value in weights))
        plain, _ = cells.unroll(cell, weights, inputs, state)
        start = cell.state(*(torch.from_numpy(value) for value in state))
        fast, _ = recurrence.unroll(cell, tensors, torch.from_numpy(inputs), start)
        h, memory, outputs = state[0][0].copy(), state[-1][0].copy(), []
        for x in inputs[:, 0]:
            by_hand(weights, x, h, memory)
            outputs.append(h.copy())
        differences = [np.abs(np.array(outputs) - found[:, 0]).max() for found in (plain, fast.numpy())]
        print(f"{name:5s} plain loop on NumPy {differences[0]:.1e}   fast kernel on torch {differences[1]:.1e}")


if __name__ == "__main__":
    main()
