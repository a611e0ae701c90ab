"""A layer over time by the persistent kernels: what they are given, their launch, and what autograd sees.

The input's product with both biases, the saved gates and the gates' gradients are of the operands' type, because they
are most of what a step moves. The price is rounding, of what the other ways keep in fp32. States, sums, the gradients
of weights and inputs, and everything that the caller sees are in fp32.

Both directions of a layer may be one launch (see `directions`), with one product for their inputs. A batch
that one launch cannot hold runs in pieces, one after another.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from nlpseq.cells.cell import Cell, LayerWeights, State
from nlpseq.kernels.gpu.persistent.arrays import (
    Layer,
    empty_norms,
    empty_sums,
    interleave,
    narrow,
    states_over_time,
    wide,
)
from nlpseq.kernels.gpu.persistent.gradients import gradients_of
from nlpseq.kernels.gpu.persistent.tiles import Fixed, frame_of, most_sequences, padded, tiles_of
from nlpseq.kernels.gpu.signals import raise_if_stuck, signal_for, watch
from nlpseq.kernels.gpu.ways import Request

LINE = 32  # counters, as in `product`
_kernels: dict[Any, Any] = {}


def _input_product(layer: Layer, inputs: Tensor, weight: Tensor | None, bias: Tensor) -> Tensor:
    """from_input [T*B, directions * gates * whole] of inputs [T*B, I] and the bias; without a weight they are a product
    already.
    """
    if weight is not None:
        return torch.addmm(bias, inputs, weight.t())
    count, slots = len(inputs), layer.slots[0]
    out = bias.view(layer.directions, layer.whole, layer.gates).expand(count, -1, -1, -1).float().contiguous()
    blocks = inputs.view(count, layer.directions, len(slots), layer.size).unbind(2)
    for slot, block in zip(slots, blocks, strict=True):
        out[:, :, : layer.size, slot] += block
    return out.view(count, layer.directions * layer.width).to(layer.operands)


class _Persistent(torch.autograd.Function):
    """Inputs [T, B, I] and a state of each direction to outputs [T, B, directions * H] and the last states."""

    @staticmethod
    def forward(
        ctx: Any,
        layer: Layer,
        masks: Tensor | None,  # [T, B, directions * H]
        lengths: Tensor | None,  # [B], int32
        inputs: Tensor,
        *values: Any,  # of each direction: weight and bias of inputs, the same of hidden states, gain, state
    ) -> tuple[Tensor, ...]:
        training = layer.gradients and any(ctx.needs_input_grad)
        steps, batch, whole, (x_slots, h_slots) = layer.steps, layer.batch, layer.whole, layer.slots
        each = len(values) // layer.directions
        weights_ih, biases_ih, weights_hh, biases_hh, gains, *states = (values[field::each] for field in range(each))
        bias = interleave([value[:, None] for value in biases_hh], h_slots, layer, 1, torch.float32)
        wx = None
        if weights_ih[0] is not None:
            bias = bias + interleave([value[:, None] for value in biases_ih], x_slots, layer, 1, torch.float32)
            wx = interleave(weights_ih, x_slots, layer, layer.inputs, layer.operands)
        wh = interleave(weights_hh, h_slots, layer, whole, layer.operands)
        flat = inputs.reshape(steps * batch, -1)
        if wx is not None:
            flat = flat.to(layer.operands)
        from_input = _input_product(layer, flat, wx, bias[:, 0].to(layer.operands))
        last = [wide(layer, value) for value in states]
        hiddens = states_over_time(layer, last[0], layer.operands)
        memories = states_over_time(layer, last[1], torch.float32) if training and len(last) > 1 else None
        sizes = layer.directions, steps, batch
        saved = wh.new_empty(*sizes, layer.width) if layer.saves(training) else None
        outputs = last[0].new_empty(steps, batch, layer.directions * layer.size)
        norms = empty_norms(layer, gains, wh, training=training)
        parts = empty_sums(layer, layer.tiles[False], outputs)
        helds = wh.new_empty(*sizes, whole) if layer.resets else None
        made = (hiddens, memories, saved, outputs, last[0], last[-1], helds)
        tensors = (from_input, wh, *made, *norms, parts, masks, lengths)
        run(layer, layer.fixed(training, backward=False), tensors)
        if training:
            ctx.layer = layer
            ctx.save_for_backward(flat, wx, helds, wh, hiddens, memories, saved, masks, lengths, *norms)
        return outputs, *(value for value in last for value in narrow(layer, value))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_outputs: Tensor, *grad_last: Tensor) -> tuple[Any, ...]:
        layer: Layer = ctx.layer
        _, _, _, wh, hiddens, memories, saved, masks, lengths, *norms = ctx.saved_tensors
        batch, count = layer.batch, layer.directions
        if saved is None:  # the states after all steps; of both directions, too, they lie one after the other
            saved = hiddens if layer.reversed[0] else hiddens.flatten()[batch * layer.whole :]
        sent = wh.new_empty(layer.steps + count, batch, count * layer.width)
        for reverse in layer.reversed:
            sent[0 if reverse else -1].zero_()
        grads = [wide(layer, grad_last[begin : begin + count]) for begin in range(0, len(grad_last), count)]
        tiles = layer.tiles[True]
        across, down = tiles.programs(batch, layer.size)
        bias = grads[0].new_empty(count * down, layer.width)
        shared = count * across * down * tiles.rows * tiles.units * tiles.split
        exchanged = grads[0].new_empty(shared if tiles.split > 1 else 1)
        sent_input = torch.empty_like(sent) if layer.normalised or layer.resets else None
        parts = empty_sums(layer, tiles, bias)
        made = (sent, sent_input, grads[0], grads[-1], bias, exchanged, *norms, parts)
        tensors = (grad_outputs.contiguous(), wh, hiddens, memories, saved, *made, masks, lengths)
        run(layer, layer.fixed(True, backward=True), tensors)
        return (None, None, None, *gradients_of(ctx, layer, sent, sent_input, bias, grads))


def run(layer: Layer, fixed: Fixed, tensors: tuple[Tensor | None, ...]) -> None:
    """Launch the kernel for `fixed`. Raises BackendError if a launch before this failed."""
    raise_if_stuck()
    across, down = fixed.tiles.programs(layer.batch, layer.size)
    weight = tensors[1]
    assert weight is not None
    signal = signal_for(weight.device, LINE * layer.directions * (2 * down + across * down))
    given = (*(weight if value is None else value for value in tensors), *signal)  # what is not used is anything
    launch(fixed, (across, down, layer.directions), given, (layer.steps, layer.batch, float(layer.zoneout)))
    watch(signal)


def launch(fixed: Fixed, programs: tuple[int, int, int], tensors: tuple[Tensor, ...], numbers: tuple[Any, ...]) -> None:
    """Run one kernel: compiled once for each kind of its arguments, and launched past Triton's own look-up.

    That look-up compares all layouts at each launch, for longer than the kernel runs.
    """
    types = tuple((value.dtype, value.data_ptr() % 16 == 0) for value in tensors)
    device = tensors[0].device
    key = fixed, types, device
    with torch.cuda.device(device) if device.type == "cuda" else nullcontext():  # Triton launches on the current one
        compiled = _kernels.get(key)
        if compiled is None:
            compiled = _kernels[key] = compile_kernel(fixed, programs, (*tensors, *numbers))
        compiled[programs](*tensors, *numbers, frame_of(fixed))


def kernel_for(fixed: Fixed) -> Any:
    """The kernel that is compiled for `fixed`. Imports Triton."""
    from nlpseq.kernels.gpu.persistent import kernel as persistent

    if fixed.directions == 2:
        return persistent.both_backward if fixed.backward else persistent.both_forward
    return persistent.persistent_backward if fixed.backward else persistent.persistent_forward


def compile_kernel(fixed: Fixed, programs: tuple[int, int, int], arguments: tuple[Any, ...]) -> Any:
    """The kernel for arguments like these, as Triton compiled it; some seconds, or from its cache on disk."""
    return kernel_for(fixed).warmup(
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
    """As `nlpseq.cells.unroll`, for a request that the persistent way can run on `processors` multiprocessors.

    Where the input's product is normalised it has to be given.
    """
    most = most_sequences(cell.name, request.steps, request.batch, request.size, processors)
    pieces = []
    for begin in range(0, request.batch, _even(request.batch, most)):
        rows = slice(begin, min(begin + _even(request.batch, most), request.batch))
        whole = rows.stop - rows.start == request.batch
        made = _apply(
            _layer(request, rows.stop - rows.start, inputs, zoneout, masks, processors),
            masks if whole or masks is None else masks[:, rows],
            lengths if whole or lengths is None else lengths[rows],
            inputs if whole else inputs[:, rows],
            [(weights, state if whole else cell.state(*(value[rows] for value in state)))],
        )
        pieces.append(made)
    if len(pieces) == 1:
        outputs, *last = pieces[0]
    else:
        parts = list(zip(*pieces, strict=True))
        outputs, last = torch.cat(parts[0], 1), [torch.cat(part) for part in parts[1:]]
    return outputs, cell.state(*last)


def unroll_both(
    cell: Cell,
    weights: Sequence[LayerWeights],
    inputs: Tensor,
    states: Sequence[State],
    lengths: Tensor | None,
    masks: Tensor | None,
    zoneout: float,
    request: Request,
    processors: int,
) -> tuple[Tensor, list[State]]:
    """Both directions of a layer in one launch that holds them: outputs and masks are [T, B, 2H], and an input's
    product that is given is [T, B, 2 * G*H].
    """
    layer = replace(_layer(request, request.batch, inputs, zoneout, masks, processors // 2), reversed=(False, True))
    outputs, *last = _apply(layer, masks, lengths, inputs, list(zip(weights, states, strict=True)))
    return outputs, [cell.state(*last[number::2]) for number in range(2)]


def _apply(
    layer: Layer,
    masks: Tensor | None,
    lengths: Tensor | None,
    inputs: Tensor,
    directions: Sequence[tuple[LayerWeights, State]],
) -> tuple[Tensor, ...]:
    """Outputs, and the last state's values, each of all directions."""
    if lengths is not None:
        lengths = lengths.to(torch.int32)
    if masks is not None and masks.dtype == torch.bool:
        masks = masks.view(torch.uint8)
    values: list[Tensor | None] = [masks, lengths, inputs]
    for weights, state in directions:
        bias = weights.bias_ih if weights.weight_ih is not None else None
        values += [weights.weight_ih, bias, weights.weight_hh, weights.bias_hh, weights.gain_hh, *state]
    made: tuple[Tensor, ...] = _Persistent.apply(  # type: ignore[no-untyped-call]
        layer, *(None if value is None else value.contiguous() for value in values)
    )
    return made


def _even(batch: int, most: int) -> int:
    """How many sequences a piece has, so that all are alike: whole tiles of 64 where there are several."""
    pieces = -(-batch // most)
    return batch if pieces == 1 else min(most, padded(-(-batch // pieces)))


def _layer(
    request: Request, batch: int, inputs: Tensor, zoneout: float, masks: Tensor | None, processors: int
) -> Layer:
    """One direction of some sequences."""
    tiles = tiles_of(request.cell, batch, request.size, processors, normalised=request.settings.normalised)
    assert tiles is not None, "most_sequences has found tiles for more"
    return Layer(
        cell=request.cell,
        steps=request.steps,
        batch=batch,
        inputs=inputs.shape[2],
        size=request.size,
        operands=request.operands,
        reversed=(request.settings.reverse,),
        zoneout=zoneout,
        masked=masks is not None,
        padded=request.settings.padded,
        normalised=request.settings.normalised,
        gradients=torch.is_grad_enabled(),
        tiles=tiles,
    )
