"""`nlpseq bench`: how fast this machine runs the cells and a model. What is timed, and how, is in `nlpseq.kernels`."""

from __future__ import annotations

import platform
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from statistics import geometric_mean
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from nlpseq import __version__
from nlpseq.cells import CELLS
from nlpseq.commands import output, timing_plot
from nlpseq.commands.flags import Json, Precision, Quiet, application, command
from nlpseq.errors import BackendError, OptionError

if TYPE_CHECKING:
    from nlpseq.kernels.timing import LayerTiming, Shape

DEFAULT_CELLS = ("rnn", "lstm", "gru")
DEFAULT_SHAPES = ("35x20x200", "35x20x650", "64x32x512", "100x64x256", "64x64x1024")
LARGEST = 1 << 26  # values in a layer's inputs: 256 MB in fp32
WIDEST = 8192

HEADINGS = ("cell", "direction", "type", "T x B x H", "option", "ours ms", "torch ms", "products ms")
RATIOS = ("torch / ours", "ours / products", "ours / plain")
COLUMNS = "{:16}  {:9}  {:4}  {:14}  {:19}  {:>9}  {:>9}  {:>11}  {:>12}  {:>15}  {:>12}"

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
    Literal["forward", "both", "each"],
    typer.Option("--direction", help="both: forward, and every gradient; each: a row of either."),
]
With = Annotated[
    list[str] | None,
    typer.Option(
        "--with",
        metavar="OPTION",
        help="Beside the plain layer one with an option; may be repeated: lengths (uniform, torch's packed), "
        "layer-normalisation, zoneout, weight-drop, locked-dropout.",
    ),
]
Backend = Annotated[
    Literal["auto", "native", "eager", "torch", "plain"], typer.Option("--backend", help="What runs our layers.")
]
OnDevice = Annotated[Literal["auto", "cpu", "cuda"], typer.Option("--device", help="Where both sides run.")]
Plot = Annotated[Path | None, typer.Option("--plot", metavar="FILE.svg", help="Draw the rows into a file.")]
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
    option: With = None,
    repeats: Repeats = 7,
    backend: Backend = "auto",
    device: OnDevice = "auto",
    plot: Plot = None,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Time recurrent layers, beside torch.nn's.

    Each row times our layer, torch.nn's and the layer's matrix products alone, in turns, and shows the medians. A layer
    with an option is timed beside the same layer without it.
    """
    names = _each_of("--cell", cell or DEFAULT_CELLS, tuple(CELLS))
    shapes = [_shape(text) for text in shape or DEFAULT_SHAPES]
    _each_of("--dtype", dtype or (), ("fp32", "bf16"))
    from nlpseq.kernels.choice import Needs, choose
    from nlpseq.kernels.memory import keep_freed_memory
    from nlpseq.kernels.timing import OPTIONS, lacks, measure_layers

    options = _each_of("--with", option or (), OPTIONS)
    lacking = [(name, one) for name in names for one in options if lacks(name, one)]
    if lacking:
        raise OptionError("--with", f"{lacking[0][1]} needs recurrent weights, and {lacking[0][0]} has none")
    if plot is not None:
        timing_plot.check_target(plot)
    place = _device(device)
    needs = [Needs(name, "layer-normalisation" in options, float("zoneout" in options)) for name in names]
    reasons = {choose(backend, one, place, need).reason for one in dtype or ("fp32",) for need in needs}
    keep_freed_memory()
    output.note(f"{_conditions()} | ours: {'; '.join(sorted(reasons))}", quiet=quiet)
    directions = ("forward", "both") if direction == "each" else (direction,)
    timings = measure_layers(
        names,
        shapes,
        _types(dtype, quiet),
        directions,
        [None, *options],
        repeats=repeats,
        backend=backend,
        device=place,
    )
    _show(timings, plot, json)


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
        remark = "no AMX: ours multiplies bf16 in 32 bits, torch emulates it"
    else:
        remark = "fp32 only: no AMX for bf16 products"
    output.note(f"types: {remark}", quiet=quiet)
    return types


def _conditions() -> str:
    import torch

    return f"torch {torch.__version__} on {torch.get_num_threads()} threads of {_processor()}"


def _processor() -> str:
    """The processor's name as the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


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


def _device(asked: str) -> str:
    """Where to time. Raises BackendError where there is no GPU that was asked for."""
    import torch

    if asked == "cuda" and not torch.cuda.is_available():
        raise BackendError("--device", "there is no GPU that torch can use", "--device cpu")
    return "cuda" if asked == "auto" and torch.cuda.is_available() else "cpu" if asked == "auto" else asked


def _show(timings: Iterable[LayerTiming], plot: Path | None, json: bool) -> None:
    """Write each row as soon as it is known, or all of them as JSON, and draw them where that is asked for."""
    rows = []
    if not json:
        output.write_text(COLUMNS.format(*HEADINGS, *RATIOS) + "\n")
    for timing in timings:
        rows.append(timing)
        if not json:
            output.write_text(_row(timing))
    if json:
        output.write_json([timing.as_json() for timing in rows])
    else:
        for line in _summary(rows):
            output.write_text(line + "\n")
    if plot is not None:
        timing_plot.write(plot, timing_plot.draw(rows, f"nlpseq {__version__}: {_conditions()}"))


def _row(timing: LayerTiming) -> str:
    def number(value: float | None) -> str:
        return "-" if value is None else f"{value:.2f}"

    shape = "x".join(str(size) for size in timing.shape)
    named = (timing.cell, timing.direction, timing.dtype, shape, timing.option or "-")
    times = (timing.ours_ms, timing.torch_ms, timing.gemm_ms)
    ratios = (timing.ratio, timing.over_products, timing.over_plain)
    return COLUMNS.format(*named, *map(number, times + ratios)) + "\n"


def _summary(rows: Sequence[LayerTiming]) -> Iterator[str]:
    """What the rows come to: for each direction, type and option the slowest ratio and the geometric means."""
    groups = dict.fromkeys((row.direction, row.dtype, row.option) for row in rows)
    for direction, dtype, option in groups:
        some = [row for row in rows if (row.direction, row.dtype, row.option) == (direction, dtype, option)]
        ratios = [row.ratio for row in some if row.ratio is not None]
        full = [row.torch_fp32_ms / row.ours_ms for row in some if row.torch_fp32_ms is not None]
        facts = []
        if ratios:
            facts.append(f"torch / ours at least {min(ratios):.2f}, geometric mean {geometric_mean(ratios):.2f}")
        if full:
            facts.append(f"torch in fp32 / ours at least {min(full):.2f}, geometric mean {geometric_mean(full):.2f}")
        facts.append(f"ours / products, geometric mean {geometric_mean([row.over_products for row in some]):.2f}")
        plain = [row.over_plain for row in some if row.over_plain is not None]
        if plain:
            facts.append(f"ours / plain at most {max(plain):.2f}, geometric mean {geometric_mean(plain):.2f}")
        yield f"{direction}, {dtype}{', ' + option if option else ''}: {'; '.join(facts)}"
