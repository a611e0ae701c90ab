"""Random masks for the dropouts of training.

torch draws on the CPU one number after another on one thread, some 15 ns each, which for zoneout was a quarter of a
layer's time. Here torch's generator gives a seed, so that a resumed run draws the same, and NumPy's fastest generator
the bits, 16 for each decision: rates are rounded to multiples of 1/65536.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

LEVELS = 1 << 16


def draw_mask(shape: tuple[int, ...], rate: float, generator: torch.Generator) -> Tensor:
    """True with probability `rate`, each place on its own."""
    seed = int(torch.randint(1 << 62, (), generator=generator))
    bits = np.random.Generator(np.random.SFC64(seed)).integers(0, LEVELS, shape, np.uint16)
    return torch.from_numpy(bits < round(rate * LEVELS))
