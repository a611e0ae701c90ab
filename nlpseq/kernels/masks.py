"""Random masks for the dropouts of training.

torch draws on the CPU one number after another on one thread, some 15 ns each, which for zoneout was a quarter of a
layer's time. Here torch's generator gives a seed, so that a resumed run draws the same, and NumPy's fastest generator
the bits, 16 for each decision: rates are rounded to multiples of 1/65536.

On a GPU a mask is drawn there, by a generator of the device, and no array is made on the host. That generator is seeded
anew for each step, from the run's seed and the step's number, so a resumed run draws the same there too. The price is
that the two devices draw different masks.
"""

from __future__ import annotations

import hashlib

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

LEVELS = 1 << 16


def make_generator(device: torch.device, seed: int) -> torch.Generator:
    """A generator of all noise on a device. torch has none for some devices; they draw from the CPU's."""
    source = device if device.type == "cuda" else torch.device("cpu")
    return torch.Generator(source).manual_seed(seed)


def start_step(generator: torch.Generator, seed: int, step: int) -> None:
    """Seed a GPU's generator for a step. The CPU's goes on from where it is."""
    if generator.device.type != "cpu":
        digest = hashlib.blake2b(f"{seed}/{step}".encode(), digest_size=8).digest()
        generator.manual_seed(int.from_bytes(digest, "big") >> 1)


def restore_generator(generator: torch.Generator, state: NDArray[np.uint8]) -> None:
    """Set a generator to a state that `get_state` gave; the state of another kind of device is left out."""
    found = torch.from_numpy(state.copy())
    if found.shape == generator.get_state().shape:
        generator.set_state(found)


def draw_mask(
    shape: tuple[int, ...], rate: float, generator: torch.Generator, device: torch.device | None = None
) -> Tensor:
    """True with probability `rate`, each place on its own; on `device`, by default the generator's."""
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
