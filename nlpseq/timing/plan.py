"""Plans: which recurrent layers are timed, in which types, and with which kernels.

A plan is checked when it is made, names first. torch is imported only after that, so that the command line can read
the names, and refuse a wrong one, at once.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from itertools import product
from typing import TYPE_CHECKING

from nlpseq.cells import CELLS
from nlpseq.device import need_gpu
from nlpseq.errors import BackendError, OptionError
from nlpseq.timing.shapes import Shape
from nlpseq.training.options import TrainingOptions

if TYPE_CHECKING:
    from nlpseq.kernels.choice import Choice

DEFAULT_CELLS = ("rnn", "lstm", "gru")
DTYPE_NAMES = ("fp32", "bf16")
NO_OPTION = "none"
OPTIONS = (NO_OPTION, "lengths", "layer-normalisation", "zoneout", "weight-drop", "locked-dropout")
DIRECTIONS = {"forward": ("forward",), "both": ("both",), "each": ("forward", "both")}
DEVICES = ("cpu", "cuda")
BACKENDS: tuple[str, ...] = next(
    option.metadata["choices"] for option in dataclasses.fields(TrainingOptions) if option.name == "backend"
)
ZONEOUT = 0.1  # share of units that keep their last state


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is timed: every combination of cells, shapes, types, directions and options.

    A name that is listed twice counts once. Raises OptionError for an unknown name, and BackendError if the backend, a
    type or the device cannot run here, or if the backend has no kernel for a cell or an option.
    """

    cells: Sequence[str]
    shapes: Sequence[Shape]
    dtypes: Sequence[str] = ("fp32",)
    direction: str = (
        "both"  # of DIRECTIONS: `forward` computes no gradient, `both` every gradient, `each` is a row each
    )
    options: Sequence[str] = (NO_OPTION,)
    repeats: int = 7
    backend: str = "auto"
    device: str = "cpu"
    choices: Mapping[tuple[str, str], Choice] = field(init=False)  # by type and cell: what runs our side

    def __post_init__(self) -> None:
        self._check_names()
        for name in ("cells", "dtypes", "options"):
            object.__setattr__(self, name, tuple(dict.fromkeys(getattr(self, name))))
        if self.device == "cuda":
            need_gpu()
        pairs = product(self.dtypes, self.cells)
        choices = {(dtype, cell): _choose(self.backend, dtype, self.device, cell) for dtype, cell in pairs}
        for cell, option in product(self.cells, self.options):
            _refuse(self.backend, cell, option)
        object.__setattr__(self, "choices", choices)

    def _check_names(self) -> None:
        _check("cell", self.cells, CELLS)
        _check("dtype", self.dtypes, DTYPE_NAMES)
        _check("direction", [self.direction], DIRECTIONS)
        _check("with", self.options, OPTIONS)
        _check("backend", [self.backend], BACKENDS)
        _check("device", [self.device], DEVICES)


def default_dtypes(backend: str, device: str) -> tuple[str, ...]:
    """The types that are timed by default: fp32, and bf16 if the hardware multiplies it and the backend has it."""
    if backend == "plain":
        return ("fp32",)
    return DTYPE_NAMES if device == "cuda" or _has_fast_bf16() else ("fp32",)


def why_dtypes(plan: Plan) -> str:
    """Why a plan's types are fast or slow here, in words."""
    if plan.device == "cuda":
        return "types of the GPU"
    if plan.backend == "plain":
        return "the plain loop runs in fp32 only"
    if _has_fast_bf16():
        return "bf16 products in hardware"
    return "no bf16 in hardware: emulated" if "bf16" in plan.dtypes else "fp32 only: no bf16 products in hardware"


def _has_fast_bf16() -> bool:
    from nlpseq.kernels.choice import has_fast_bf16

    return has_fast_bf16()


def _check(parameter: str, names: Iterable[str], choices: Iterable[str]) -> None:
    """Raises OptionError for a name that is not among the choices, with the nearest one that is."""
    allowed = list(choices)
    for name in names:
        if name not in allowed:
            nearest = (get_close_matches(name, allowed, 1) or allowed)[0]
            raise OptionError(
                parameter, f"must be one of {', '.join(allowed)}, was {name!r}", f"--{parameter} {nearest}"
            )


def _choose(backend: str, dtype: str, device: str, cell: str) -> Choice:
    """What runs a cell. Raises BackendError, which calls the type `dtype`: a training run calls it `precision`."""
    from nlpseq.kernels.choice import choose

    try:
        return choose(backend, dtype, device, cell)
    except BackendError as error:
        if error.where != "precision":
            raise
        raise BackendError("dtype", error.what, "--dtype fp32") from None


def _refuse(backend: str, cell: str, option: str) -> None:
    """Raises BackendError if the backend has no kernel for a cell with an option, OptionError if the cell has none."""
    from nlpseq.kernels.choice import refuse

    zoneout = ZONEOUT if option == "zoneout" else 0.0
    refuse(backend, cell, layer_normalisation=option == "layer-normalisation", zoneout=zoneout)
    if option == "weight-drop" and CELLS[cell].parallel:
        raise OptionError("with", f"weight-drop needs recurrent weights, and {cell} has none", "--with zoneout")
