"""A layer over time by the persistent kernels: their arguments, their launch, and autograd.

The input's product with both biases, the saved gates and the gates' gradients have the operands' type, because they are
most of the memory traffic of a step. The price is that they are rounded; the other ways keep them in fp32. States,
sums, the gradients of weights and inputs, and everything that the caller sees are in fp32.

Both directions of a layer may run in one launch (see `directions`), with one product for their inputs. A batch that one
launch cannot hold runs in pieces, one after another.
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
    """from_input [T*B, directions * gates * whole] from inputs [T*B, I] and the bias; without a weight the inputs
    already are a product.
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
    """From inputs [T, B, I] and a state of each direction to outputs [T, B, directions * H] and the last states."""

    @staticmethod
    def forward(
        ctx: Any,
        layer: Layer,
        masks: Tensor | None,  # [T, B, directions * H]
        lengths: Tensor | None,  # [B], int32
        inputs: Tensor,
        *values: Any,  # for each direction: weight and bias of inputs, the same of hidden states, gain, state
    ) -> tuple[Tensor, ...]:
        training = layer.gradients and any(ctx.needs_input_grad)
        steps, batch, whole, (x_slots, h_slots) = layer.steps, layer.batch, layer.whole, layer.slots
        num_fields = len(values) // layer.directions
        fields = (values[field::num_fields] for field in range(num_fields))
        weights_ih, biases_ih, weights_hh, biases_hh, gains, *states = fields
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
        partial_sums = empty_sums(layer, layer.tiles[False], outputs)
        helds = wh.new_empty(*sizes, whole) if layer.resets else None
        results = (hiddens, memories, saved, outputs, last[0], last[-1], helds)
        tensors = (from_input, wh, *results, *norms, partial_sums, masks, lengths)
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
        if saved is None:  # the states after all steps, which are contiguous, also for both directions
            saved = hiddens if layer.reversed[0] else hiddens.flatten()[batch * layer.whole :]
        grad_product = wh.new_empty(layer.steps + count, batch, count * layer.width)
        for reverse in layer.reversed:
            grad_product[0 if reverse else -1].zero_()
        grads = [wide(layer, grad_last[start : start + count]) for start in range(0, len(grad_last), count)]
        tiles = layer.tiles[True]
        across, down = tiles.programs(batch, layer.size)
        bias = grads[0].new_empty(count * down, layer.width)
        shared = count * across * down * tiles.rows * tiles.units * tiles.split
        exchanged = grads[0].new_empty(shared if tiles.split > 1 else 1)
        grad_gates = torch.empty_like(grad_product) if layer.normalised or layer.resets else None
        partial_sums = empty_sums(layer, tiles, bias)
        results = (grad_product, grad_gates, grads[0], grads[-1], bias, exchanged, *norms, partial_sums)
        tensors = (grad_outputs.contiguous(), wh, hiddens, memories, saved, *results, masks, lengths)
        run(layer, layer.fixed(True, backward=True), tensors)
        return (None, None, None, *gradients_of(ctx, layer, grad_product, grad_gates, bias, grads))


def run(layer: Layer, fixed: Fixed, tensors: tuple[Tensor | None, ...]) -> None:
    """Launch the kernel for `fixed`. Raises BackendError if an earlier launch failed."""
    raise_if_stuck()
    across, down = fixed.tiles.programs(layer.batch, layer.size)
    weight = tensors[1]
    assert weight is not None
    signal = signal_for(weight.device, LINE * layer.directions * (2 * down + across * down))
    arguments = (*(weight if value is None else value for value in tensors), *signal)  # any, if unused
    launch(fixed, (across, down, layer.directions), arguments, (layer.steps, layer.batch, float(layer.zoneout)))
    watch(signal)


def launch(fixed: Fixed, programs: tuple[int, int, int], tensors: tuple[Tensor, ...], numbers: tuple[Any, ...]) -> None:
    """Run one kernel: compiled once for each combination of argument types, and launched without Triton's own look-up.

    That look-up compares all layouts at each launch, which takes longer than the kernel runs.
    """
    types = tuple((value.dtype, value.data_ptr() % 16 == 0) for value in tensors)
    device = tensors[0].device
    key = fixed, types, device
    with torch.cuda.device(device) if device.type == "cuda" else nullcontext():  # Triton launches on the current device
        compiled = _kernels.get(key)
        if compiled is None:
            compiled = _kernels[key] = compile_kernel(fixed, programs, (*tensors, *numbers))
        compiled[programs](*tensors, *numbers, frame_of(fixed))


def kernel_for(fixed: Fixed) -> Any:
    """The kernel to compile for `fixed`. Imports Triton."""
    from nlpseq.kernels.gpu.persistent import kernel as persistent

    if fixed.directions == 2:
        return persistent.both_backward if fixed.backward else persistent.both_forward
    return persistent.persistent_backward if fixed.backward else persistent.persistent_forward


def compile_kernel(fixed: Fixed, programs: tuple[int, int, int], arguments: tuple[Any, ...]) -> Any:
    """The compiled kernel for arguments of these types; takes some seconds, unless it is in Triton's cache."""
    return kernel_for(fixed).warmup(
        *arguments,
        frame_of(fixed),
        grid=programs,
        num_warps=fixed.tiles.warps,
        launch_cooperative_grid=True,  # only this guarantees that all programs run at once
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

    If the input's product is normalised, `inputs` must be that product.
    """
    most = most_sequences(cell.name, request.steps, request.batch, request.size, processors)
    pieces = []
    for start in range(0, request.batch, _even(request.batch, most)):
        rows = slice(start, min(start + _even(request.batch, most), request.batch))
        whole = rows.stop - rows.start == request.batch
        piece = _apply(
            _layer(request, rows.stop - rows.start, inputs, zoneout, masks, processors),
            masks if whole or masks is None else masks[:, rows],
            lengths if whole or lengths is None else lengths[rows],
            inputs if whole else inputs[:, rows],
            [(weights, state if whole else cell.state(*(value[rows] for value in state)))],
        )
        pieces.append(piece)
    if len(pieces) == 1:
        outputs, *last = pieces[0]
    else:
        columns = list(zip(*pieces, strict=True))
        outputs, last = torch.cat(columns[0], 1), [torch.cat(column) for column in columns[1:]]
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
    """Run both directions of a layer in one launch: outputs and masks are [T, B, 2H]; if the input's product is passed,
    it is [T, B, 2 * G*H].
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
    """Outputs, and the values of the last states of all directions."""
    if lengths is not None:
        lengths = lengths.to(torch.int32)
    if masks is not None and masks.dtype == torch.bool:
        masks = masks.view(torch.uint8)
    values: list[Tensor | None] = [masks, lengths, inputs]
    for weights, state in directions:
        bias = weights.bias_ih if weights.weight_ih is not None else None
        values += [weights.weight_ih, bias, weights.weight_hh, weights.bias_hh, weights.gain_hh, *state]
    results: tuple[Tensor, ...] = _Persistent.apply(  # type: ignore[no-untyped-call]
        layer, *(None if value is None else value.contiguous() for value in values)
    )
    return results


def _even(batch: int, most: int) -> int:
    """The number of sequences in a piece, so that pieces are equal: whole tiles of 64 if there are several."""
    pieces = -(-batch // most)
    return batch if pieces == 1 else min(most, padded(-(-batch // pieces)))


def _layer(
    request: Request, batch: int, inputs: Tensor, zoneout: float, masks: Tensor | None, processors: int
) -> Layer:
    """The record of one direction for `batch` sequences."""
    tiles = tiles_of(request.cell, batch, request.size, processors, normalised=request.settings.normalised)
    assert tiles is not None, "most_sequences has found tiles for more sequences"
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
