"""Recurrent cells: each is one file with one pure step.

Legend of dimensions, for this folder and for `kernels`: B batch, T time, I input size, H hidden size, G number of gate
blocks (1 for rnn, 4 for lstm, 3 for gru and minlstm, 2 for mingru).

A cell knows nothing of time, layers, direction or padding. It takes two products [B, G*H], the input's and that of its
own last hidden state, and returns the next state. The caller computes both, so the input's product can be one large
matrix product over all time steps. Every loop over time uses the same definition of the cell. Block order, weight
shapes and biases are those of torch.nn, so weights move both ways unchanged.
"""

from nlpseq.cells.cell import Cell, LayerWeights
from nlpseq.cells.gru import GRU, GRU_RESET_BEFORE
from nlpseq.cells.lstm import LSTM
from nlpseq.cells.mingru import MINGRU
from nlpseq.cells.minlstm import MINLSTM
from nlpseq.cells.rnn import RNN_RELU, RNN_SIGMOID, RNN_TANH
from nlpseq.cells.unroll import Unroll, run_directions, unroll

CELLS: dict[str, Cell] = {
    cell.name: cell for cell in (RNN_TANH, RNN_RELU, RNN_SIGMOID, LSTM, GRU, GRU_RESET_BEFORE, MINGRU, MINLSTM)
}

__all__ = ["CELLS", "Cell", "LayerWeights", "Unroll", "run_directions", "unroll"]
