"""Chooses the way that runs a recurrence, with the reasons why others cannot.

There are five ways. One persistent launch with all weights in the shared memory of all multiprocessors (`persistent`)
was 1.3 to 2.3 times faster than cuDNN in all measurements, but needs Hopper and 16-bit operands. The others are chosen
by size. If the weights and the state of some sequences fit one multiprocessor (`column`), no step waits for another
program. If they do not, and few programs divide the units (`grid`), one launch runs all steps with one wait in each
step. Otherwise each step is its own launch (`steps`). If a step needs whole rows, for layer normalisation or a reset
before the product, it is several launches (`rows`).

Measured on an H100 in bf16: from 512 units on a launch for each step is faster than a wait in each step; from 256 units
on an Elman cell is fastest by `rows`. The bound of `column` follows from the memory of a multiprocessor and from what
compiles without spilling registers. A requested way runs or is refused with the reason, before anything is launched.

This file imports Triton only to look for Gluon's names on a device that can use them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import torch

from nlpseq.errors import BackendError
from nlpseq.kernels.gpu.arguments import Settings
from nlpseq.kernels.gpu.persistent import gluon_names
from nlpseq.kernels.gpu.persistent import tiles as persistent_tiles

WAYS = ("persistent", "column", "grid", "steps", "rows")

WEIGHT_BYTES = 128 * 1024  # in a multiprocessor, of the 163 KB that a program may have on any GPU since 8.0
MOST_WAITING = 96  # programs that wait for each other: no data centre GPU since 8.0 has fewer multiprocessors
FEW_STEPS = 4  # for fewer steps, arranging the weights for the persistent way takes too long; not yet measured
TILE = 16  # sequences, and units, of a program of `grid`
HALF = (torch.bfloat16, torch.float16)


@dataclass(frozen=True)
class Device:
    """The properties of a device on which the choice depends."""

    processors: int
    capability: tuple[int, int]
    without_gluon: str | None  # why Gluon cannot be used, or None


@dataclass(frozen=True)
class Request:
    """A recurrence to run: T = `steps`, B = `batch`, H = `size`, products of `operands`."""

    cell: str
    settings: Settings
    steps: int
    batch: int
    size: int
    operands: torch.dtype


def device_of(device: torch.device) -> Device:
    """The device of a tensor; the CPU counts as a GPU with the least that every GPU has."""
    if device.type != "cuda":
        return Device(MOST_WAITING, (0, 0), "the tensors are not on a GPU")
    return _gpu(torch.cuda.current_device() if device.index is None else device.index)


@cache
def _gpu(index: int) -> Device:
    properties = torch.cuda.get_device_properties(index)
    capability = properties.major, properties.minor
    without = gluon_names.unavailable() if capability == (9, 0) else "it is for compute capability 9.0"
    return Device(properties.multi_processor_count, capability, without)


def ceiling(number: int, divisor: int) -> int:
    """The quotient, rounded up."""
    return -(-number // divisor)


def power_of_two(number: int) -> int:
    """The smallest power of two that is at least `number`, and at least 16, the smallest side of a product's tile."""
    return max(16, 1 << (number - 1).bit_length())


def choose(request: Request, device: Device) -> str:
    """The fastest of the ways that can run a request."""
    settings, whole = request.settings, power_of_two(request.size)
    elman = settings.gates == 1 and whole >= 256
    possible = [way for way in WAYS if reason_against(way, request, device) is None]
    if "persistent" in possible and (settings.training or request.steps >= FEW_STEPS):
        return "persistent"
    if "column" in possible and not elman:
        return "column"
    if elman or settings.resets or settings.normalised:
        return "rows"
    return "grid" if whole <= 256 and "grid" in possible else "steps"


def both_at_once(request: Request, device: Device) -> bool:
    """Whether one launch can run both directions of a layer; `request` is one of them. The persistent way can, if there
    is a multiprocessor for each program of both.
    """
    if choose(request, device) != "persistent":
        return False
    return persistent_tiles.holds_both(request.cell, request.steps, request.batch, request.size, device.processors)


def chosen(way: str | None, request: Request, device: Device) -> str:
    """`way`, or by default the fastest. Raises BackendError if a requested way cannot run this."""
    if way is None:
        return choose(request, device)
    reason = reason_against(way, request, device)
    if reason:
        raise BackendError("triton", f"the way {way!r} cannot run this: {reason}", f'way="{choose(request, device)}"')
    return way


def reason_against(way: str, request: Request, device: Device) -> str | None:
    """The reason why a way cannot run a request, or None. Raises BackendError for an unknown way."""
    settings = request.settings
    if way not in WAYS:
        raise BackendError("triton", f"there is no way {way!r}, but {', '.join(WAYS)}", "")
    if way in ("grid", "steps") and (settings.resets or settings.normalised):
        return "it has no reset before a product and no layer normalisation"
    if way == "persistent":
        return _against_persistent(request, device)
    if way == "column" and _column_bytes(request) > WEIGHT_BYTES:
        return f"one multiprocessor cannot hold the weights of {request.size} units"
    if way == "grid":
        waiting = ceiling(request.size, TILE) * ceiling(request.batch, TILE)
        if waiting > device.processors:
            return f"its {waiting} programs cannot all run at once on {device.processors} multiprocessors"
    return None


def _column_bytes(request: Request) -> int:
    """The bytes of the weights in one program of `column`."""
    settings, whole, element = request.settings, power_of_two(request.size), request.operands.itemsize
    copies = 1
    if settings.precision == "tf32x3" and element == 4:  # fp32 is held as two numbers of less precision
        copies = 4 if settings.normalised else 2  # the backward pass of normalisation doubles the registers
    return settings.gates * whole * whole * element * copies


def _against_persistent(request: Request, device: Device) -> str | None:
    if request.cell not in persistent_tiles.GATES:
        return f"it has no cell {request.cell}"
    if request.settings.resets and request.settings.normalised:
        return "it has no layer normalisation with a reset before a product"
    if request.operands not in HALF:
        return "its products are of 16-bit operands"
    if device.without_gluon:
        return device.without_gluon
    if device.capability != (9, 0):
        return "it is for compute capability 9.0"
    if not persistent_tiles.most_sequences(request.cell, request.steps, request.batch, request.size, device.processors):
        return (
            f"one launch on {device.processors} multiprocessors does not hold {request.size} units over "
            f"{request.steps} steps"
        )
    return None
