"""`nlpseq bench`: how fast this machine runs the cells and a model. The measurements are in `nlpseq.timing`."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from nlpseq import __version__
from nlpseq.commands import output
from nlpseq.commands.flags import Json, Precision, Quiet, application, command
from nlpseq.native.memory import keep_freed_memory
from nlpseq.timing import plot as bench_plot
from nlpseq.timing.plan import BACKENDS, DEFAULT_CELLS, NO_OPTION, Plan, default_dtypes, why_dtypes
from nlpseq.timing.shapes import (
    LARGE_LAYER_SHAPES,
    LAYER_SHAPES,
    PRODUCT_SHAPES,
    default_shapes,
    parse_product_shape,
    parse_shape,
    shape_text,
)
from nlpseq.timing.table import LayerTable, ProductTable, Row, Table

if TYPE_CHECKING:
    from nlpseq.timing.decode import DecodeTiming
    from nlpseq.timing.throughput import Throughput

app = application("How fast this machine runs the cells and a model.")

Cells = Annotated[
    list[str] | None,
    typer.Option("--cell", metavar="NAME", help=f"Cell; may be repeated. [default: {' '.join(DEFAULT_CELLS)}]"),
]
Shapes = Annotated[
    list[str] | None,
    typer.Option(
        "--shape",
        metavar="TxBxH",
        help=f"Steps, sequences and units; may be repeated. [default: {' '.join(map(shape_text, LAYER_SHAPES))}; "
        f"on a GPU also {' '.join(map(shape_text, LARGE_LAYER_SHAPES))}]",
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
    Literal["forward", "both", "each"],
    typer.Option("--direction", help="both: forward and every gradient; each: a row for forward and a row for both."),
]
Options = Annotated[
    list[str] | None,
    typer.Option(
        "--with",
        metavar="OPTION",
        help="Option of the layer, timed beside the same layer without it: lengths (uniform), layer-normalisation, "
        "zoneout, weight-drop, locked-dropout, or none; may be repeated. [default: none]",
    ),
]
Backend = Annotated[
    str, typer.Option("--backend", metavar="NAME", help=f"Which of our backends is timed: {', '.join(BACKENDS)}.")
]
Device = Annotated[Literal["cpu", "cuda"], typer.Option("--device", help="The device that is timed.")]
Plot = Annotated[Path | None, typer.Option("--plot", metavar="FILE.svg", help="Also draw the rows into a file.")]
Repeats = Annotated[int, typer.Option("--repeats", metavar="N", min=1, help="Rounds, whose median is shown.")]
DecodedModel = Annotated[
    Path | None,
    typer.Option("--model", "-m", metavar="PATH", help="Run folder or model file. [default: a random LSTM of 2x512]"),
]
ProductShapes = Annotated[
    list[str] | None,
    typer.Option(
        "--shape",
        metavar="RxIxO",
        help=f"Rows, inputs and outputs; may be repeated. [default: {len(PRODUCT_SHAPES)} of them]",
    ),
]
TimedModel = Annotated[
    Path | None, typer.Option("--model", "-m", metavar="PATH", help="Run folder or model file. [default: a random one]")
]
Lines = Annotated[
    Path | None, typer.Argument(metavar="[FILE]", help="Lines to read. [default: some of a bundled corpus]")
]
Length = Annotated[int, typer.Option("--length", metavar="N", min=1, help="Tokens generated in each round.")]


@app.callback()
def bench() -> None:
    """How fast this machine runs the cells and a model, beside torch.nn or NumPy in the same run."""


@command(app)
def cells(
    cell: Cells = None,
    shape: Shapes = None,
    dtype: Types = None,
    direction: Direction = "both",
    options: Options = None,
    backend: Backend = "auto",
    device: Device = "cpu",
    repeats: Repeats = 7,
    plot: Plot = None,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Time recurrent layers, beside torch.nn's.

    Each row times our layer, torch.nn's layer and the layer's matrix products alone, one after the other in each round,
    and shows the medians. On a GPU torch.nn runs cuDNN, and the columns named `graph` are the same work replayed as
    CUDA graphs.
    """
    if plot is not None:
        output.check_target(plot, "--plot", (".svg",), "times")
    plan = Plan(
        cells=cell or DEFAULT_CELLS,
        shapes=[parse_shape(text) for text in shape] if shape else default_shapes(device),
        dtypes=dtype or default_dtypes(backend, device),
        direction=direction,
        options=options or (NO_OPTION,),
        repeats=repeats,
        backend=backend,
        device=device,
    )
    from nlpseq.timing.conditions import layer_conditions
    from nlpseq.timing.layers import measure_layers

    machine, *kernels = layer_conditions(plan)
    output.note(" | ".join([machine, *kernels, why_dtypes(plan)]), quiet=quiet)
    keep_freed_memory()
    timings = _show_timings(measure_layers(plan), LayerTable(plan), json=json)
    if plot is not None:
        bench_plot.write_plot(plot, timings, [f"nlpseq {__version__} on {machine}", *kernels])


@command(app)
def decode(
    model: DecodedModel = None,
    length: Length = 200,
    repeats: Repeats = 7,
    precision: Precision = "fp32",
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Time the generation of one stream of text.

    The model runs as in `nlpseq generate`, and alternates with the same model stepped by torch.nn in fp32.
    """
    from nlpseq.timing.decode import load_weights, measure_decode

    weights, options = load_weights(model, precision)
    _note_conditions(quiet=quiet)
    _show_rates(measure_decode(weights, options, length, repeats), json=json)


@command(app)
def products(shape: ProductShapes = None, repeats: Repeats = 5, quiet: Quiet = False, json: Json = False) -> None:
    """Time products of matrices, beside NumPy's and torch's.

    Each line shows one product: R rows of I numbers, times a packed matrix of I x O. The limit is the rate of a loop
    that only multiplies and adds. Figures are in GFLOP/s, 10^9 operations a second. The ratio compares ours with the
    faster of NumPy and torch.
    """
    shapes = [parse_product_shape(text) for text in shape] if shape else PRODUCT_SHAPES
    from nlpseq.timing.products import measure_products

    _note_conditions(quiet=quiet)
    keep_freed_memory()
    _show_timings(measure_products(shapes, repeats), ProductTable(), json=json)


@command(app)
def translate(
    model: TimedModel = None, file: Lines = None, repeats: Repeats = 3, quiet: Quiet = False, json: Json = False
) -> None:
    """Time translation, beside the same search with the model on torch."""
    _time_filter("translate", model, file, repeats, quiet=quiet, json=json)


@command(app)
def score(
    model: TimedModel = None, file: Lines = None, repeats: Repeats = 3, quiet: Quiet = False, json: Json = False
) -> None:
    """Time scoring, beside training steps of the same model."""
    _time_filter("score", model, file, repeats, quiet=quiet, json=json)


@command(app)
def classify(
    model: TimedModel = None, file: Lines = None, repeats: Repeats = 3, quiet: Quiet = False, json: Json = False
) -> None:
    """Time classification, beside the same model on torch's operators."""
    _time_filter("classify", model, file, repeats, quiet=quiet, json=json)


def _time_filter(name: str, model: Path | None, file: Path | None, repeats: int, *, quiet: bool, json: bool) -> None:
    """Time a filter on the lines of a file, or by default of a bundled corpus, and show both rates."""
    from nlpseq.timing.filters import FILTERS, read_lines

    timed = FILTERS[name]
    lines = timed.bundled_lines() if file is None else read_lines(file)
    keep_freed_memory()
    throughput = timed.measure(model, lines, repeats)
    _note_conditions(f"{len(lines):,} lines", quiet=quiet)
    _show_rates(throughput, json=json)


def _note_conditions(*further: str, quiet: bool) -> None:
    """Write the machine, the versions and our kernels to standard error."""
    from nlpseq.timing.conditions import running_conditions

    output.note(" | ".join([*running_conditions(), *further]), quiet=quiet)


def _show_timings(timings: Iterable[Row], table: Table[Row], *, json: bool) -> list[Row]:
    """Write each timing as a row at once, then the summary; or all timings as JSON at the end. Returns them."""
    if json:
        shown = list(timings)
        output.write_json([timing.as_json() for timing in shown])
        return shown
    output.write_text(table.heading)
    shown = []
    for timing in timings:
        shown.append(timing)
        output.write_text(table.line(timing))
    output.write_text("\n")
    output.write_table(table.summary(shown))
    return shown


def _show_rates(rates: DecodeTiming | Throughput, *, json: bool) -> None:
    """Write our rate, the other's and their ratio."""
    if json:
        output.write_json(rates.as_json())
    else:
        output.write_table(rates.rows())
