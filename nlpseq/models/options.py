"""The options of the recurrent layers of any model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from nlpseq.cells import CELLS, Cell
from nlpseq.cells.initial import INITIAL_VALUES
from nlpseq.errors import OptionError
from nlpseq.options import check, option

VARIANTS: dict[str, dict[str, Any]] = {  # cells that are chosen by an option of another cell
    "rnn-relu": {"cell": "rnn", "activation": "relu"},
    "rnn-sigmoid": {"cell": "rnn", "activation": "sigmoid"},
    "gru-reset-before": {"cell": "gru", "reset_before": True},
}
CELL_CHOICES = tuple(name for name in CELLS if name not in VARIANTS)


def options_for(cell: str) -> dict[str, Any]:
    """The fields of RecurrentOptions that choose the cell with this name in CELLS."""
    return VARIANTS.get(cell, {"cell": cell})


@dataclass(frozen=True, kw_only=True)
class RecurrentOptions:
    """The cell, the layers and their sizes. Raises OptionError if two values contradict each other."""

    cell: str = option("lstm", "recurrent cell", choices=CELL_CHOICES, usual=True)
    activation: str = option("tanh", "activation of the rnn cell", choices=("tanh", "relu", "sigmoid"))
    reset_before: bool = option(False, "gru: reset before the product (Cho et al., 2014)")
    layers: int = option(1, "number of recurrent layers", minimum=1, maximum=16, usual=True)
    hidden_size: int | None = option(None, "units in each layer [default: by corpus and budget]", minimum=1, usual=True)
    embedding_size: int | None = option(None, "size of a token's vector [default: by vocabulary]", minimum=1)
    layer_normalisation: bool = option(False, "normalise the matrix products of each layer to mean 0 and variance 1")
    zoneout: float = option(0.0, "fraction of units that keep their old state", minimum=0, below=1)
    initial: str = option("orthogonal", "initial values of weights", choices=tuple(INITIAL_VALUES))

    def __post_init__(self) -> None:
        check(self)
        if self.cell != "rnn" and self.activation != "tanh":
            raise OptionError("activation", f"is an option of the rnn cell, but the cell is {self.cell}")
        if self.cell != "gru" and self.reset_before:
            raise OptionError("reset_before", f"is an option of the gru cell, but the cell is {self.cell}")

    @property
    def recurrent_cell(self) -> Cell:
        """The cell that `cell`, `activation` and `reset_before` choose together."""
        fields = {"cell": self.cell, "activation": self.activation, "reset_before": self.reset_before}
        variants = (name for name, chosen in VARIANTS.items() if chosen.items() <= fields.items())
        return CELLS[next(variants, self.cell)]


def sizes(options: RecurrentOptions) -> tuple[int, int]:
    """The hidden size and the embedding size. Raises OptionError if one is not set."""
    if options.hidden_size is None or options.embedding_size is None:
        raise OptionError("hidden_size", "must be set before weights are made, was None")
    return options.hidden_size, options.embedding_size
