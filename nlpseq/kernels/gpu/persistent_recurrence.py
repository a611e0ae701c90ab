"""A layer over time by the persistent kernels: what they are given, their launch, and what autograd sees.

Gates of a unit are neighbours in memory, so one copy of each matrix is made in a call, in the operands' type, with
units of zeros up to a whole number of chunks; their states stay zero, which spares the kernels all masks over units.
The input's product with both biases, the saved gates and the gates' gradients are of the operands' type, too: they
are most of what a step moves. The price is rounding, of what the other ways keep in fp32. States, sums, the gradients
of weights and inputs, and everything that the caller sees are in fp32.

A batch that one launch cannot hold runs in pieces, one after another.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from nlpseq.cells.cell import Cell, LayerWeights, State
from nlpseq.kernels.gpu.persistent_tiles import GATES, RESETS, Fixed, Tiles, frame_of, most_sequences, padded, tiles_of
from nlpseq.kernels.gpu.products import multiply_in_full
from nlpseq.kernels.gpu.signals import raise_if_stuck, signal_for, watch
from nlpseq.kernels.gpu.ways import Request

LINE = 32  # counters, as in persistent_product
# For each block of the cell's weights its slot: of the input's, and of the hidden state's.
SLOTS: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = {
    "lstm": ((0, 1, 2, 3), (0, 1, 2, 3)),
    "gru": ((0, 1, 3), (0, 1, 2)),
    RESETS: ((0, 1, 2), (0, 1, 2)),
}
ONE_SLOT = (0,), (0,)

_kernels: dict[Any, Any] = {}


@dataclass(frozen=True)
class Layer:
    """How a layer runs, apart from its tensors."""

    cell: str
    steps: int
    batch: int
    inputs: int
    size: int
    operands: torch.dtype
    reverse: bool
    zoneout: float
    masked: bool  # whether zoneout has masks
    padded: bool  # whether lengths differ
    normalised: bool
    gradients: bool
    tiles: tuple[Tiles, Tiles]

    @property
    def slots(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """The slots of the input's blocks, and of the hidden state's."""
        return SLOTS.get(self.cell, ONE_SLOT)

    @property
    def gates(self) -> int:
        """Slots of a unit."""
        return GATES[self.cell]

    @property
    def resets(self) -> bool:
        """Whether a step has a second product, of r * h."""
        return self.cell == RESETS

    @property
    def whole(self) -> int:
        """Units, those of zeros included."""
        return padded(self.size)

    @property
    def width(self) -> int:
        """All slots of all units."""
        return self.gates * self.whole

    def saves(self, training: bool) -> bool:
        """Whether the slots' values are saved: an Elman cell's is its hidden state, unless zoneout has changed that."""
        return training and (self.gates > 1 or self.zoneout > 0 or self.normalised)

    def fixed(self, training: bool, *, backward: bool) -> Fixed:
        """What the kernel is compiled for."""
        zoneout = 0 if not self.zoneout else 2 if self.masked else 1
        tiles = self.tiles[backward]
        save = self.saves(training) and not backward
        return Fixed(self.cell, backward, self.size, tiles, self.reverse, zoneout, self.padded, save, self.normalised)


def interleave(blocks: Tensor, slots: tuple[int, ...], layer: Layer, depth: int, dtype: torch.dtype) -> Tensor:
    """A matrix [G*H, K] as [gates * whole, depth], row gates * unit + slot, zero where it has nothing."""
    old, width = blocks.shape[0] // len(slots), blocks.shape[1]
    parts = blocks.view(len(slots), old, width)
    full = len(slots) == layer.gates and old == layer.whole and width == depth
    make = torch.empty if full else torch.zeros
    out = make(layer.whole, layer.gates, depth, dtype=dtype, device=blocks.device)
    if slots == tuple(range(len(slots))):
        out[:old, : len(slots), :width].copy_(parts.transpose(0, 1))
    else:
        for slot, part in zip(slots, parts, strict=True):
            out[:old, slot, :width].copy_(part)
    return out.view(layer.width, depth)


def separate(grad: Tensor, slots: tuple[int, ...], layer: Layer, depth: int) -> Tensor:
    """What `interleave` undoes, of a gradient [gates * whole, K], in fp32."""
    parts = grad.view(layer.whole, layer.gates, -1)[: layer.size, :, :depth].transpose(0, 1)
    out = torch.empty(len(slots), layer.size, depth, dtype=torch.float32, device=grad.device)
    for to, slot in zip(out, slots, strict=True):  # a list as an index would be copied from the host
        to.copy_(parts[slot])
    return out.view(len(slots) * layer.size, depth)


def _input_product(layer: Layer, inputs: Tensor, weight: Tensor | None, bias: Tensor) -> Tensor:
    """from_input [T*B, gates * whole] of inputs [T*B, I] and the bias; without a weight they are a product already."""
    if weight is not None:
        return torch.addmm(bias, inputs, weight.t())
    out = bias.view(layer.whole, layer.gates).expand(len(inputs), -1, -1).float().contiguous()
    slots = layer.slots[0]
    for slot, block in zip(slots, inputs.view(len(inputs), len(slots), layer.size).unbind(1), strict=True):
        out[:, : layer.size, slot] += block
    return out.view(len(inputs), layer.width).to(layer.operands)


def _wide(layer: Layer, value: Tensor) -> Tensor:
    """A copy of a state [B, H] with units of zeros, [B, whole]."""
    if layer.whole == layer.size:
        return value.clone(memory_format=torch.contiguous_format)
    out = value.new_zeros(layer.batch, layer.whole)
    out[:, : layer.size].copy_(value)
    return out


def _narrow(layer: Layer, value: Tensor) -> Tensor:
    """What `_wide` undoes."""
    return value[:, : layer.size].contiguous()


def _room_for_norms(
    layer: Layer, gain: Tensor | None, like: Tensor, *, training: bool
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """Gains as the kernels want them, and in training room for what is normalised and one over its deviation."""
    if gain is None:
        return None, None, None
    wide = interleave(gain[:, None], layer.slots[1], layer, 1, torch.float32)
    if not training:
        return wide, None, None
    return (
        wide,
        like.new_empty(layer.steps, layer.batch, layer.width),
        wide.new_empty(layer.steps, layer.batch),
    )


def _room_for_sums(layer: Layer, tiles: Tiles, like: Tensor) -> Tensor | None:
    """Room for what programs exchange to normalise: two numbers of each sequence from each."""
    if not layer.normalised:
        return None
    across, down = tiles.programs(layer.batch, layer.size)
    return like.new_empty(2 * across * down * tiles.rows)


class _Persistent(torch.autograd.Function):
    """Inputs [T, B, I] and a state to outputs [T, B, H] and the last state."""

    @staticmethod
    def forward(
        ctx: Any,
        layer: Layer,
        masks: Tensor | None,  # [T, B, H]
        lengths: Tensor | None,  # [B], int32
        inputs: Tensor,
        weight_ih: Tensor | None,
        bias_ih: Tensor | None,
        weight_hh: Tensor,
        bias_hh: Tensor,
        gain: Tensor | None,
        *state: Tensor,
    ) -> tuple[Tensor, ...]:
        training = layer.gradients and any(ctx.needs_input_grad)
        steps, batch, whole, (x_slots, h_slots) = layer.steps, layer.batch, layer.whole, layer.slots
        bias = interleave(bias_hh[:, None], h_slots, layer, 1, torch.float32)
        wx = None
        if weight_ih is not None and bias_ih is not None:
            bias = bias + interleave(bias_ih[:, None], x_slots, layer, 1, torch.float32)
            wx = interleave(weight_ih, x_slots, layer, layer.inputs, layer.operands)
        wh = interleave(weight_hh, h_slots, layer, whole, layer.operands)
        flat = inputs.reshape(steps * batch, -1)
        if wx is not None:
            flat = flat.to(layer.operands)
        from_input = _input_product(layer, flat, wx, bias[:, 0].to(layer.operands))
        last = [_wide(layer, value) for value in state]
        start = steps if layer.reverse else 0
        hiddens = wh.new_empty(steps + 1, batch, whole)
        hiddens[start].copy_(last[0])
        memories = None
        if training and len(last) > 1:
            memories = last[1].new_empty(steps + 1, batch, whole)
            memories[start].copy_(last[1])
        saved = wh.new_empty(steps, batch, layer.width) if layer.saves(training) else None
        outputs = last[0].new_empty(steps, batch, layer.size)
        norms = _room_for_norms(layer, gain, wh, training=training)
        parts = _room_for_sums(layer, layer.tiles[False], outputs)
        helds = wh.new_empty(steps, batch, whole) if layer.resets else None
        made = (hiddens, memories, saved, outputs, last[0], last[-1], helds)
        tensors = (from_input, wh, *made, *norms, parts, masks, lengths)
        run(layer, layer.fixed(training, backward=False), tensors)
        if training:
            ctx.layer = layer
            ctx.save_for_backward(flat, wx, helds, wh, hiddens, memories, saved, masks, lengths, *norms)
        return outputs, *(_narrow(layer, value) for value in last)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_outputs: Tensor, *grad_last: Tensor) -> tuple[Any, ...]:
        layer: Layer = ctx.layer
        _, _, _, wh, hiddens, memories, saved, masks, lengths, *norms = ctx.saved_tensors
        steps, batch = layer.steps, layer.batch
        if saved is None:
            saved = hiddens[:-1] if layer.reverse else hiddens[1:]
        sent = wh.new_empty(steps + 1, batch, layer.width)
        sent[0 if layer.reverse else steps].zero_()
        grads = [_wide(layer, value) for value in grad_last]
        tiles = layer.tiles[True]
        across, down = tiles.programs(batch, layer.size)
        bias = grads[0].new_empty(down, layer.width)
        exchanged = grads[0].new_empty(across * down * tiles.rows * tiles.units * tiles.split if tiles.split > 1 else 1)
        sent_input = torch.empty_like(sent) if layer.normalised or layer.resets else None
        parts = _room_for_sums(layer, tiles, bias)
        made = (sent, sent_input, grads[0], grads[-1], bias, exchanged, *norms, parts)
        tensors = (grad_outputs.contiguous(), wh, hiddens, memories, saved, *made, masks, lengths)
        run(layer, layer.fixed(True, backward=True), tensors)
        return (None, None, None, *_gradients(ctx, layer, sent, sent_input, bias, grads))


def _gradients(
    ctx: Any, layer: Layer, sent: Tensor, sent_input: Tensor | None, bias: Tensor, grads: list[Tensor]
) -> tuple[Tensor | None, ...]:
    """The gradients of everything from those of all steps' gates, [T+1, B, gates * whole], each by one product."""
    flat, wx, helds, wh, hiddens, *_, normalised, _ = ctx.saved_tensors
    (x_slots, h_slots), needs = layer.slots, ctx.needs_input_grad

    def rows(values: Tensor) -> Tensor:
        return (values[1:] if layer.reverse else values[:-1]).flatten(0, 1)

    gates = rows(sent)
    gates_input = gates if sent_input is None else rows(sent_input)
    grad_wx = grad_bx = grad_gain = None
    if layer.resets:
        grad_wh = separate(multiply_in_full(gates.t(), rows(hiddens)), h_slots[:2], layer, layer.size)
        last = separate(multiply_in_full(gates_input.t(), helds.flatten(0, 1)), h_slots[2:], layer, layer.size)
        grad_wh = torch.cat([grad_wh, last])
        gates_input = gates + gates_input  # no slot is in both
    else:
        grad_wh = separate(multiply_in_full(gates.t(), rows(hiddens)), h_slots, layer, layer.size)
    total = (gates_input.float() if layer.normalised or layer.resets else bias).sum(0)[:, None]
    grad_inputs = _input_gradient(layer, gates_input, wx) if needs[3] else None
    if wx is not None:
        grad_wx = separate(multiply_in_full(gates_input.t(), flat), x_slots, layer, layer.inputs)
        grad_bx = separate(total, x_slots, layer, 1)[:, 0]
    grad_bh = separate(total, h_slots, layer, 1)[:, 0]
    if layer.normalised:
        shares = (gates_input.float() * normalised.flatten(0, 1)).sum(0)
        grad_gain = separate(shares[:, None], h_slots, layer, 1)[:, 0]
    if needs[9]:
        grads[0] += multiply_in_full(sent[layer.steps if layer.reverse else 0], wh)
    return grad_inputs, grad_wx, grad_bx, grad_wh, grad_bh, grad_gain, *(_narrow(layer, grad) for grad in grads)


def _input_gradient(layer: Layer, gates: Tensor, weight: Tensor | None) -> Tensor:
    """The gradient of the inputs [T, B, I] from those of the gates [T*B, gates * whole]."""
    if weight is not None:
        return multiply_in_full(gates, weight).view(layer.steps, layer.batch, -1)
    parts = gates.view(len(gates), layer.whole, layer.gates)[:, : layer.size]
    blocks = [parts[:, :, slot].float() for slot in layer.slots[0]]
    return torch.cat(blocks, 1).view(layer.steps, layer.batch, -1)


def run(layer: Layer, fixed: Fixed, tensors: tuple[Tensor | None, ...]) -> None:
    """Launch the kernel for `fixed`. Raises BackendError if a launch before this failed."""
    raise_if_stuck()
    across, down = fixed.tiles.programs(layer.batch, layer.size)
    weight = tensors[1]
    assert weight is not None
    signal = signal_for(weight.device, LINE * (2 * down + across * down))
    given = (*(weight if one is None else one for one in tensors), *signal)  # what is not used is anything
    launch(fixed, (across, down, 1), given, (layer.steps, layer.batch, float(layer.zoneout)))
    watch(signal)


def launch(fixed: Fixed, programs: tuple[int, int, int], tensors: tuple[Tensor, ...], numbers: tuple[Any, ...]) -> None:
    """Run one kernel: compiled once for each kind of its arguments, and launched past Triton's own look-up.

    That look-up compares all layouts at each launch, for longer than the kernel runs.
    """
    types = tuple((one.dtype, one.data_ptr() % 16 == 0) for one in tensors)
    key = fixed, types, tensors[0].device
    compiled = _kernels.get(key)
    if compiled is None:
        compiled = _kernels[key] = compile_kernel(fixed, programs, (*tensors, *numbers))
    compiled[programs](*tensors, *numbers, frame_of(fixed))


def compile_kernel(fixed: Fixed, programs: tuple[int, int, int], arguments: tuple[Any, ...]) -> Any:
    """The kernel for arguments like these, as Triton compiled it; some seconds, or from its cache on disk."""
    from nlpseq.kernels.gpu.persistent import persistent_backward, persistent_forward

    kernel = persistent_backward if fixed.backward else persistent_forward
    return kernel.warmup(
        *arguments,
        frame_of(fixed),
        grid=programs,
        num_warps=fixed.tiles.warps,
        launch_cooperative_grid=True,  # only that promises that all programs run at once
        enable_fp_fusion=True,
    )


def unroll(
    cell: Cell,
    weights: LayerWeights,
    inputs: Tensor,
    state: State,
    lengths: Tensor | None,
    masks: Tensor | None,
    zoneout: float,
    request: Request,
    processors: int,
) -> tuple[Tensor, State]:
    """As `nlpseq.cells.unroll`, for what `request` says and the persistent way can run, on so many multiprocessors.

    Where the input's product is normalised it has to be given.
    """
    if lengths is not None:
        lengths = lengths.to(torch.int32)
    if masks is not None and masks.dtype == torch.bool:
        masks = masks.view(torch.uint8)
    most = most_sequences(cell.name, request.steps, request.batch, request.size, processors)
    pieces = []
    for begin in range(0, request.batch, _even(request.batch, most)):
        rows = slice(begin, min(begin + _even(request.batch, most), request.batch))
        whole = rows.stop - rows.start == request.batch
        layer = _layer(request, rows.stop - rows.start, inputs.shape[2], zoneout, masks is not None, processors)
        tensors = (
            None if masks is None else masks if whole else masks[:, rows],
            None if lengths is None else lengths[rows],
            inputs if whole else inputs[:, rows],
            weights.weight_ih,
            weights.bias_ih if weights.weight_ih is not None else None,
            weights.weight_hh,
            weights.bias_hh,
            weights.gain_hh,
            *(value[rows] for value in state),
        )
        made = _Persistent.apply(  # type: ignore[no-untyped-call]
            layer, *(None if one is None else one.contiguous() for one in tensors)
        )
        pieces.append(made)
    if len(pieces) == 1:
        outputs, *last = pieces[0]
    else:
        parts = list(zip(*pieces, strict=True))
        outputs, last = torch.cat(parts[0], 1), [torch.cat(part) for part in parts[1:]]
    return outputs, cell.state(*last)


def _even(batch: int, most: int) -> int:
    """How many sequences a piece has, so that all are alike: whole tiles of 64 where there are several."""
    pieces = -(-batch // most)
    return batch if pieces == 1 else min(most, padded(-(-batch // pieces)))


def _layer(request: Request, batch: int, inputs: int, zoneout: float, masked: bool, processors: int) -> Layer:
    tiles = tiles_of(request.cell, batch, request.size, processors)
    assert tiles is not None, "most_sequences has found tiles for more"
    return Layer(
        cell=request.cell,
        steps=request.steps,
        batch=batch,
        inputs=inputs,
        size=request.size,
        operands=request.operands,
        reverse=request.settings.reverse,
        zoneout=zoneout,
        masked=masked,
        padded=request.settings.padded,
        normalised=request.settings.normalised,
        gradients=torch.is_grad_enabled(),
        tiles=tiles,
    )
