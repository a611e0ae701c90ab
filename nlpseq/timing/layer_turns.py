"""What two contenders do in their turn: run one recurrent layer, ours or torch.nn's.

Both compute the same outputs from the same weights, and in the direction `both` the same gradients. In bf16 torch.nn
holds weights, state and input in bf16 (cuDNN may be faster in fp16); ours multiplies in bf16 and keeps its state in
fp32. cuDNN gets its weights as one flat buffer, or it would copy them in each call.

Noise for an option of the layer is drawn within the turn, as in training. torch.nn has one option only, sequences of
different lengths, which its turn packs and pads again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from nlpseq.cells import CELLS, Cell, LayerWeights
from nlpseq.cells.initial import layer_values
from nlpseq.cells.unroll import zero_state
from nlpseq.kernels.masks import draw_mask
from nlpseq.timing.clocks import Turn
from nlpseq.timing.plan import ZONEOUT, Plan
from nlpseq.timing.shapes import Shape

DROPPED = 0.5  # share of weights or units that are dropped
DTYPES: dict[str, torch.dtype] = {"fp32": torch.float32, "bf16": torch.bfloat16}
TORCH_LAYERS: dict[str, Callable[..., torch.nn.RNNBase]] = {
    "rnn": torch.nn.RNN,
    "rnn-relu": partial(torch.nn.RNN, nonlinearity="relu"),
    "lstm": torch.nn.LSTM,
    "gru": torch.nn.GRU,
}


class TimedLayer(NamedTuple):
    """One combination of a plan, which is one row of its table; and the arrays of its turns."""

    plan: Plan
    cell: Cell
    shape: Shape
    dtype: str
    direction: str
    option: str

    def lengths(self) -> Tensor | None:
        """Steps of each sequence [B], uniform from 1 to T and always the same; None if all have T."""
        if self.option != "lengths":
            return None
        drawn = np.random.default_rng(1).integers(1, self.shape.time + 1, self.shape.batch)
        return torch.from_numpy(drawn).to(self.plan.device)

    def values(self) -> dict[str, Tensor]:
        """Weights, by the names of LayerWeights."""
        drawn = _draw_values(self.cell.name, self.shape.hidden_size, self.option == "layer-normalisation")
        return {name: torch.from_numpy(value.copy()).to(self.plan.device) for name, value in drawn.items()}

    def random(self, dtype: str = "fp32") -> Tensor:
        """Random values [T, B, H]."""
        return torch.randn(*self.shape, dtype=DTYPES[dtype], device=self.plan.device)

    def generator(self) -> torch.Generator:
        """A generator of noise on the layer's device."""
        return torch.Generator(self.plan.device).manual_seed(1)


@lru_cache(maxsize=4)
def _draw_values(cell: str, size: int, normalised: bool) -> dict[str, np.ndarray]:
    """Normally distributed weights: orthogonal ones of 2,048 units would take seconds."""
    generator = np.random.default_rng(1)
    return layer_values(CELLS[cell], size, size, generator, initial="normal", layer_normalisation=normalised)


def our_turn(layer: TimedLayer, generator: torch.Generator | None = None) -> Turn:
    """A run of our layer, by the kernel that the plan chose; noise comes from `generator`."""
    run_layer, option = layer.plan.choices[layer.dtype, layer.cell.name].run_layer, layer.option
    inputs, upstream = layer.random(), layer.random()
    values, lengths = layer.values(), layer.lengths()
    weights = LayerWeights(*(values.get(name) for name in LayerWeights._fields))
    generator = generator or layer.generator()
    state = zero_state(layer.cell, layer.shape.batch, layer.shape.hidden_size, inputs)

    def run() -> Tensor:
        used, settings = weights, dict[str, Any]()
        if option == "zoneout":
            settings = {"zoneout": ZONEOUT, "masks": draw_mask(tuple(inputs.shape), ZONEOUT, generator).to(inputs)}
        elif option == "weight-drop":
            used = weights._replace(weight_hh=weights.weight_hh * _dropout_mask(weights.weight_hh, generator))
        outputs: Tensor = run_layer(layer.cell, used, inputs, state, lengths, **settings)[0]
        return outputs * _dropout_mask(outputs[0], generator) if option == "locked-dropout" else outputs

    leaves = [inputs, *(value for value in weights if value is not None)]
    return _turn(run, leaves, upstream, layer.direction)


def _dropout_mask(like: Tensor, generator: torch.Generator) -> Tensor:
    return draw_mask(tuple(like.shape), 1 - DROPPED, generator).to(like) / (1 - DROPPED)


def torch_turn(layer: TimedLayer, dtype: str) -> Turn:
    """A run of torch.nn's layer with our weights; packing and padding included if lengths differ."""
    inputs, upstream, lengths = layer.random(dtype), layer.random(dtype), layer.lengths()
    values = {name: value.cpu().numpy() for name, value in layer.values().items()}
    module = torch_layer(layer.cell.name, [values]).to(layer.plan.device, DTYPES[dtype])
    module.flatten_parameters()  # `to` leaves them in separate buffers
    leaves = [inputs, *module.parameters()]
    if lengths is None:
        return _turn(lambda: module(inputs)[0], leaves, upstream, layer.direction)
    on_host, steps = lengths.cpu(), layer.shape.time

    def run_packed() -> Tensor:
        packed, _ = module(pack_padded_sequence(inputs, on_host, enforce_sorted=False))
        return pad_packed_sequence(packed, total_length=steps)[0]

    return _turn(run_packed, leaves, upstream, layer.direction)


def torch_layer(cell: str, layers: Sequence[dict[str, np.ndarray]]) -> torch.nn.RNNBase:
    """torch.nn's module for a cell of TORCH_LAYERS, with our weights of each layer."""
    hidden_size = len(layers[0]["weight_hh"]) // CELLS[cell].gates
    module = TORCH_LAYERS[cell](layers[0]["weight_ih"].shape[1], hidden_size, num_layers=len(layers))
    fields = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    named = {f"{field}_l{depth}": values[field] for depth, values in enumerate(layers) for field in fields}
    module.load_state_dict({name: torch.from_numpy(np.array(value)) for name, value in named.items()})
    return module


def _turn(run: Callable[[], Tensor], leaves: Sequence[Tensor], upstream: Tensor, direction: str) -> Turn:
    """A run of a layer: its outputs, or in the direction `both` the gradient of each of `leaves`."""
    for leaf in leaves:
        leaf.requires_grad_(direction == "both")
    if direction == "both":
        return lambda: torch.autograd.grad(run(), leaves, upstream)
    return torch.no_grad()(run)
