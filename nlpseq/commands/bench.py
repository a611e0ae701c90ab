"""`nlpseq bench`: how fast this machine runs the cells and a model. What is timed, and how, is in `nlpseq.kernels`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from nlpseq.cells import CELLS
from nlpseq.commands import output
from nlpseq.commands.flags import Json, Precision, Quiet, application, command
from nlpseq.errors import OptionError

if TYPE_CHECKING:
    from nlpseq.kernels.timing import LayerTiming, Shape

DEFAULT_CELLS = ("rnn", "lstm", "gru")
DEFAULT_SHAPES = ("35x20x200", "35x20x650", "64x32x512", "100x64x256", "64x64x1024")
LARGEST = 1 << 26  # values in a layer's inputs: 256 MB in fp32
WIDEST = 8192

HEADINGS = ("cell", "type", "T x B x H", "ours ms", "torch ms", "products ms", "torch / ours")
COLUMNS = "{:16}  {:4}  {:14}  {:>9}  {:>9}  {:>11}  {:>12}"

app = application("How fast the recurrent cells are here.")

Cells = Annotated[
    list[str] | None,
    typer.Option("--cell", metavar="NAME", help=f"Cell; may be repeated. [default: {' '.join(DEFAULT_CELLS)}]"),
]
Shapes = Annotated[
    list[str] | None,
    typer.Option(
        "--shape",
        metavar="TxBxH",
        help=f"Steps, sequences and units; may be repeated. [default: {' '.join(DEFAULT_SHAPES)}]",
    ),
]
Types = Annotated[
    list[str] | None,
    typer.Option(
        "--dtype",
        metavar="fp32|bf16",
        help="Type of the products; may be repeated. [default: fp32, and bf16 if the processor has it]",
    ),
]
Direction = Annotated[
    Literal["forward", "both"], typer.Option("--direction", help="both: forward, and every gradient.")
]
Repeats = Annotated[int, typer.Option("--repeats", metavar="N", min=1, help="Turns, of which the median is shown.")]
SomeModel = Annotated[
    Path | None,
    typer.Option("--model", "-m", metavar="PATH", help="Run folder or model file. [default: a random LSTM of 2x512]"),
]
Length = Annotated[int, typer.Option("--length", metavar="N", min=1, help="Tokens generated in one turn.")]


@app.callback()
def bench() -> None:
    """How fast the recurrent cells are here."""


@command(app)
def cells(
    cell: Cells = None,
    shape: Shapes = None,
    dtype: Types = None,
    direction: Direction = "both",
    repeats: Repeats = 7,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Time recurrent layers, beside torch.nn's.

    Each row times our layer, torch.nn's and the layer's matrix products alone, in turns, and shows the medians.
    """
    names = _each_of("--cell", cell or DEFAULT_CELLS, tuple(CELLS))
    shapes = [_shape(text) for text in shape or DEFAULT_SHAPES]
    _each_of("--dtype", dtype or (), ("fp32", "bf16"))
    from nlpseq.kernels.memory import keep_freed_memory
    from nlpseq.kernels.timing import measure_layers

    keep_freed_memory()
    timings = measure_layers(names, shapes, _types(dtype, quiet), direction, repeats)
    if json:
        output.write_json([timing.as_json() for timing in timings])
        return
    output.write_text(COLUMNS.format(*HEADINGS) + "\n")
    for timing in timings:
        output.write_text(_row(timing))


@command(app)
def decode(
    model: SomeModel = None,
    length: Length = 200,
    repeats: Repeats = 7,
    precision: Precision = "fp32",
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Time the generation of one stream of text.

    The model is run as `nlpseq generate` runs it, in turns with the same model stepped with torch.nn in fp32.
    """
    from nlpseq.kernels import decode_timing
    from nlpseq.models import language_model
    from nlpseq.models.language_model import LanguageModelOptions
    from nlpseq.models.model_file import load_model
    from nlpseq.native.library import describe

    if model is None:
        options, weights = decode_timing.RANDOM_MODEL, decode_timing.random_weights()
    else:
        loaded = load_model(model, "language-model")
        options, weights = LanguageModelOptions(**loaded.options), loaded.weights
    weights = language_model.rounded(weights, precision)
    output.note(f"{_conditions()}; ours: {describe()}", quiet=quiet)
    timing = decode_timing.measure_decode(weights, options, length, repeats)
    if json:
        output.write_json(timing.as_json())
        return
    kind = f"{timing.cell} {timing.layers}x{timing.hidden_size}, vocabulary of {timing.vocabulary_size:,}"
    theirs, ratio = timing.torch_tokens_per_second, timing.ratio
    output.write_table(
        [
            ("model", kind),
            ("ours", f"{timing.ours_tokens_per_second:.0f} tokens a second"),
            ("torch.nn", "has no such cell" if theirs is None else f"{theirs:.0f} tokens a second"),
            ("ours / torch", "-" if ratio is None else f"{ratio:.2f}"),
        ]
    )


def _types(asked: list[str] | None, quiet: bool) -> list[str]:
    """The types to time: those asked for, else those that the processor has; tells which and why."""
    from nlpseq.kernels.choice import has_fast_bf16

    fast = has_fast_bf16()
    types = asked or (["fp32", "bf16"] if fast else ["fp32"])
    if fast:
        remark = "bf16 products in hardware (AMX)"
    elif "bf16" in types:
        remark = "no AMX: bf16 products are emulated"
    else:
        remark = "fp32 only: no AMX for bf16 products"
    output.note(f"{_conditions()} | {remark}", quiet=quiet)
    return types


def _conditions() -> str:
    import torch

    return f"torch {torch.__version__} on {torch.get_num_threads()} threads"


def _each_of(name: str, values: list[str] | tuple[str, ...], choices: tuple[str, ...]) -> list[str]:
    for value in values:
        if value not in choices:
            raise OptionError(name, f"must be one of {', '.join(choices)}, was {value!r}")
    return list(values)


def _shape(text: str) -> Shape:
    """`35x20x200` as a shape. Raises OptionError for what is none, or would not fit into memory."""
    from nlpseq.kernels.timing import Shape

    found = re.fullmatch(r"([1-9]\d{0,8})x([1-9]\d{0,8})x([1-9]\d{0,8})", text, re.ASCII)
    if not found:
        raise OptionError("--shape", f"must be steps x sequences x units, was {text!r}", "--shape 35x20x200")
    shape = Shape(*(int(number) for number in found.groups()))
    if shape.time * shape.batch * shape.hidden_size > LARGEST or shape.hidden_size > WIDEST:
        limits = f"at most {LARGEST:,} values and {WIDEST:,} units"
        raise OptionError("--shape", f"must be of {limits}, was {text}", "--shape 64x64x1024")
    return shape


def _row(timing: LayerTiming) -> str:
    theirs = "-" if timing.torch_ms is None else f"{timing.torch_ms:.2f}"
    ratio = "-" if timing.ratio is None else f"{timing.ratio:.2f}"
    ours, products = f"{timing.ours_ms:.2f}", f"{timing.gemm_ms:.2f}"
    shape = "x".join(str(size) for size in timing.shape)
    return COLUMNS.format(timing.cell, timing.dtype, shape, ours, theirs, products, ratio) + "\n"
