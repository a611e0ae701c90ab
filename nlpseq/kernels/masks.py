"""Random masks for the dropouts of training.

On the CPU torch draws numbers one after another on one thread, at about 15 ns each; for zoneout that was a quarter of a
layer's time. Here torch's generator draws a seed, so that a resumed run draws the same masks, and NumPy's fastest
generator draws the bits, 16 for each decision. So rates are rounded to multiples of 1/65536.

On a GPU the device's own generator draws masks, without an array on the host. It is seeded again for each step, from
the run's seed and the step's number, so a resumed run draws the same masks. The price is that the two devices draw
different masks.
"""

from __future__ import annotations

import hashlib

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

LEVELS = 1 << 16


def make_generator(device: torch.device, seed: int) -> torch.Generator:
    """A generator for all noise on a device; devices without a generator in torch use the CPU's."""
    source = device if device.type == "cuda" else torch.device("cpu")
    return torch.Generator(source).manual_seed(seed)


def start_step(generator: torch.Generator, seed: int, step: int) -> None:
    """Seed a GPU's generator for a step; the CPU's generator just continues."""
    if generator.device.type != "cpu":
        digest = hashlib.blake2b(f"{seed}/{step}".encode(), digest_size=8).digest()
        generator.manual_seed(int.from_bytes(digest, "big") >> 1)


def restore_generator(generator: torch.Generator, state: NDArray[np.uint8]) -> None:
    """Set a generator to a state from `get_state`; the state of another kind of device is ignored."""
    saved = torch.from_numpy(state.copy())
    if saved.shape == generator.get_state().shape:
        generator.set_state(saved)


def draw_mask(
    shape: tuple[int, ...], rate: float, generator: torch.Generator, device: torch.device | None = None
) -> Tensor:
    """A mask whose elements are True with probability `rate`, independently; `device` is by default the generator's."""
    device = device or generator.device
    if device.type == "cpu":
        return _draw_on_cpu(shape, rate, generator)
    own = generator if generator.device.type == device.type else None
    return torch.empty(shape, device=device).bernoulli_(rate, generator=own).bool()


def draw_normal(shape: tuple[int, ...], generator: torch.Generator, device: torch.device) -> Tensor:
    """Normal numbers on a device: mean zero, variance one."""
    own = generator if generator.device.type == device.type else None
    return torch.randn(shape, generator=own, device=device)


def _draw_on_cpu(shape: tuple[int, ...], rate: float, generator: torch.Generator) -> Tensor:
    seed = int(torch.randint(1 << 62, (), generator=generator))
    bits = np.random.Generator(np.random.SFC64(seed)).integers(0, LEVELS, shape, np.uint16)
    return torch.from_numpy(bits < round(rate * LEVELS))
