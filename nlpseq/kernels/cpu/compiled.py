"""A layer over time by the compiled loop of `nlpseq.native`, under autograd.

The input's product is computed before the loop, for all steps at once, by autograd's own linear map. Each weight's
gradient is one product over all steps after the backward loop. In between a call into C does everything: no time is
spent on calls of torch, temporary arrays and waiting for threads, and the recurrent weights are packed once for all
steps. Sequences of unequal length are sorted and their real steps packed, so nothing is computed for padding. The price
is a second definition of each cell, in C; the tests compare it with `nlpseq.cells`.

In bf16 the products' operands are rounded, and the state stays in fp32. A processor without instructions for bf16 (AMX
or AVX512-BF16) multiplies the rounded numbers in fp32, which is four times faster than torch's emulation of bf16;
gradients are then not rounded.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from nlpseq.cells.cell import Cell, LayerWeights, State
from nlpseq.kernels.cpu.packing import Packing, packing_of
from nlpseq.kernels.products import Multiply, multiply_in, multiply_rounded, project_inputs, weight_gradient
from nlpseq.native import extension
from nlpseq.native import recurrence as native
from nlpseq.native.extension import Unavailable

APART = ("gru",)  # the two products of these cells have different gradients


@cache
def unavailable() -> str | None:
    """The reason why the compiled loop cannot run here, or None."""
    try:
        extension.load_library()
    except Unavailable as reason:
        return str(reason)
    return None


def describe() -> str:
    """The instructions and the number of threads of the compiled loop, in words."""
    count = threads().wanted
    return f"compiled loop ({extension.instructions()}, {count} thread{'s' * (count > 1)})"


def threads() -> native.Threads:
    """The threads that run a layer: torch's number of threads, in the OpenMP runtime that torch has loaded."""
    return native.openmp_threads(_openmp_library(), torch.get_num_threads())


@cache
def _openmp_library() -> str | None:
    """The path of the OpenMP runtime that torch has brought along, or None."""
    libraries = sorted((Path(torch.__file__).parent / "lib").glob("libgomp*"))
    return str(libraries[0]) if libraries else None


@dataclass(frozen=True, eq=False)
class Loop:
    """How a recurrence runs: everything except its tensors."""

    cell: Cell
    packing: Packing
    reverse: bool
    zoneout: float
    half: int  # native.FULL, ROUNDED and so on
    gradients: bool  # whether gradients are switched on
    overwrite: bool  # whether from_input may be overwritten
    kind: int | None  # the kind of instructions
    share: int  # native.AUTOMATIC, UNITS or SEQUENCES

    def run(
        self, tensors: dict[str, Tensor | None], *, training: bool, backward: bool, want_first: bool = False
    ) -> None:
        """Call the compiled loop; all tensors are contiguous and have the same type."""
        like = tensors["hidden"]
        assert like is not None
        arguments = {name: None if value is None else value.data_ptr() for name, value in tensors.items()}
        sizes = {name: _size(value, like) for name, value in tensors.items() if value is not None}
        shape = {
            "gates": self.cell.gates,
            "steps": self.packing.steps,
            "batch": self.packing.batch,
            "size": like.shape[2],
            "training": training,
        }
        native.check_sizes(sizes, shape, self.packing.real)
        native.run(
            {
                **arguments,
                **shape,
                "cell": native.CELLS.index(self.cell.name),
                "reverse": self.reverse,
                "half": native.FULL if backward and self.half == native.ROUNDED else self.half,
                "share": self.share,
                "want_first": want_first,
                "zoneout": self.zoneout,
                "rows": self.packing.rows.data_ptr(),
                "offsets": self.packing.offsets.data_ptr(),
            },
            backward=backward,
            doubles=like.dtype == torch.float64,
            threads=threads(),
            kind=self.kind,
        )


def _size(tensor: Tensor, like: Tensor) -> int:
    """How many numbers a tensor has. Raises ValueError unless they have the type of `like` and are contiguous."""
    if tensor.dtype != like.dtype or not tensor.is_contiguous():
        raise ValueError(f"the compiled loop needs contiguous {like.dtype}, was {tensor.dtype} {tensor.stride()}")
    return tensor.numel()


class _Recurrence(torch.autograd.Function):
    """The loop over time: from_input [N, G*H] and a state to hidden states [N, H] and the last state."""

    @staticmethod
    def forward(
        ctx: Any,
        loop: Loop,
        masks: Tensor | None,  # [N, H]
        from_input: Tensor,
        input_bias: Tensor | None,
        weight: Tensor | None,
        bias: Tensor | None,
        gain: Tensor | None,
        *state: Tensor,
    ) -> tuple[Tensor, ...]:
        packing = loop.packing
        training = loop.gradients and any(ctx.needs_input_grad)
        tensors: dict[str, Tensor | None] = {"weight": weight, "bias": bias, "gain": gain, "masks": masks}
        tensors |= _buffers(loop, from_input, gain, state, training=training)
        inputs_read = {"from_input": from_input, "input_bias": input_bias}
        loop.run({**tensors, **inputs_read}, training=training, backward=False)
        hidden, memory = tensors["hidden"], tensors.get("memory")
        assert hidden is not None
        last = [_last(loop, hidden)]
        if memory is not None:
            last.append(_last(loop, memory) if training else memory)
        if training:
            names = [name for name, value in tensors.items() if value is not None]
            ctx.loop, ctx.names = loop, names
            ctx.save_for_backward(*(tensors[name] for name in names))
        after = hidden[:-1] if loop.reverse else hidden[1:]
        outputs = after.flatten(0, 1)
        return (outputs if packing.slots is None else outputs.index_select(0, packing.slots), *last)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grad_results: Tensor) -> tuple[Any, ...]:
        loop: Loop = ctx.loop
        tensors: dict[str, Tensor | None] = dict(zip(ctx.names, ctx.saved_tensors, strict=True))
        activations, hidden = tensors["activations"], tensors["hidden"]
        assert activations is not None and hidden is not None
        grad_outputs, *grad_last = grad_results
        grads = [grad.clone(memory_format=torch.contiguous_format) for grad in grad_last]
        grad_gates = torch.empty_like(activations)
        grad_product = grad_gates if loop.cell.name not in APART else torch.empty_like(activations)
        bare = grad_product if tensors.get("gain") is None else torch.empty_like(activations)
        written = {"grad_gates": grad_gates, "grad_product": grad_product, "grad_bare": bare}
        carried = dict(zip(("grad_hidden", "grad_memory"), grads, strict=False))
        loop.run(
            {**tensors, **written, **carried, "grad_outputs": grad_outputs.contiguous()},
            training=True,
            backward=True,
            want_first=ctx.needs_input_grad[7],
        )
        has_input_bias = ctx.needs_input_grad[3]
        grad_bias = grad_product.sum(0) if has_input_bias or not loop.cell.parallel else None
        grad_input_bias = None if not has_input_bias else grad_bias if grad_product is grad_gates else grad_gates.sum(0)
        if loop.cell.parallel:
            return (None, None, grad_gates, grad_input_bias, None, None, None, *grads)
        slots = loop.packing.slots
        before = (hidden[1:] if loop.reverse else hidden[:-1]).flatten(0, 1)
        before = before if slots is None else before.index_select(0, slots)
        reset = tensors.get("held") if loop.cell.reset is not None else None
        multiply = multiply_in(torch.bfloat16 if loop.half >= native.TILES_IN_HARDWARE else bare.dtype)
        grad_weight = weight_gradient(bare, before, reset, multiply)
        normalised = tensors.get("normalised")
        grad_gain = None if normalised is None else (grad_product * normalised).sum(0)
        return (None, None, grad_gates, grad_input_bias, grad_weight, grad_bias, grad_gain, *grads)


def _buffers(
    loop: Loop, from_input: Tensor, gain: Tensor | None, state: tuple[Tensor, ...], *, training: bool
) -> dict[str, Tensor | None]:
    """The arrays that the loop writes: states, and values for the backward pass; without training those of one step."""
    packing, (batch, size) = loop.packing, state[0].shape
    start = -1 if loop.reverse else 0
    kept = from_input.shape[0] if training else batch
    resets = loop.cell.reset is not None
    buffers: dict[str, Tensor | None] = {}
    for name, value in zip(("hidden", "memory"), state, strict=False):
        if name == "memory" and not training:
            buffers[name] = value.clone(memory_format=torch.contiguous_format)
            continue
        slots = from_input.new_empty(packing.steps + 1, batch, size)
        slots[start] = value
        buffers[name] = slots
    if training and loop.overwrite:
        buffers["activations"] = from_input
    elif training or resets:
        buffers["activations"] = from_input.new_empty(kept, from_input.shape[1])
    if resets or (training and loop.cell.name in APART):
        buffers["held"] = from_input.new_empty(kept, size)
    if training and gain is not None:
        buffers["normalised"] = torch.empty_like(from_input)
        buffers["deviation"] = from_input.new_empty(kept, 2)
    return buffers


def _last(loop: Loop, states: Tensor) -> Tensor:
    """The state after each sequence's last step, from the states in all slots [T + 1, B, H]."""
    lengths = loop.packing.lengths
    if loop.reverse:
        return states[0].clone()
    if lengths is None:
        return states[-1].clone()
    return states[lengths, torch.arange(states.shape[1])]


def unroll(
    cell: Cell,
    weights: LayerWeights,
    inputs: Tensor,
    state: State,
    lengths: Tensor | None = None,
    *,
    reverse: bool = False,
    zoneout: float = 0.0,
    masks: Tensor | None = None,
    operands: torch.dtype | None = None,
    kind: int | None = None,
    share: int = native.AUTOMATIC,
    half: int | None = None,
) -> tuple[Tensor, State]:
    """As `nlpseq.cells.unroll`, faster; `operands` is the type of the products' operands, by default the state's.

    The processor decides `kind` (an index of `nlpseq.native.extension.available_sets`), `share` and `half`; tests set
    them.
    """
    if half is None:
        is_rounded = operands not in (None, state.hidden.dtype)
        half = native.bf16_products() if is_rounded else native.FULL
    steps, batch = inputs.shape[:2]
    packing = packing_of(steps, batch, lengths)
    from_input = project_inputs(weights, packing.gather(inputs), _multiply(half, inputs.dtype))
    masks = None if masks is None else packing.gather(masks.to(from_input.dtype)).contiguous()
    has_weights = weights.weight_ih is not None
    loop = Loop(cell, packing, reverse, zoneout, half, torch.is_grad_enabled(), has_weights, kind, share)
    input_bias = weights.bias_ih if has_weights else None
    tensors = (from_input, input_bias, weights.weight_hh, weights.bias_hh, weights.gain_hh)
    outputs, *last = _Recurrence.apply(  # type: ignore[no-untyped-call]
        loop, masks, *(None if value is None else value.contiguous() for value in tensors), *packing.sort(state)
    )
    return packing.scatter(outputs), packing.unsort(cell.state(*last))


def _multiply(half: int, operands: torch.dtype) -> Multiply:
    """The product of inputs and weights, with the same rounding as the loop's own products."""
    if half == native.ROUNDED:
        return multiply_rounded
    return multiply_in(operands if half == native.FULL else torch.bfloat16)
