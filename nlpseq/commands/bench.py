"""`nlpseq bench`: how fast this machine runs the cells and a model. What is timed, and how, is in `nlpseq.timing`."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from pathlib import Path
from statistics import geometric_mean
from typing import TYPE_CHECKING, Annotated, Literal, NamedTuple

import typer

from nlpseq import __version__
from nlpseq.cells import CELLS
from nlpseq.commands import output
from nlpseq.commands.flags import Json, Precision, Quiet, application, command
from nlpseq.errors import BackendError, CorpusError, OptionError
from nlpseq.text.bundled import BUNDLED
from nlpseq.text.formats import read_text, split_lines
from nlpseq.timing import plot as bench_plot
from nlpseq.training.options import LanguageModelTraining

if TYPE_CHECKING:
    from nlpseq.timing.filters import Throughput
    from nlpseq.timing.layers import LayerTiming, Plan, Shape

DEFAULT_CELLS = ("rnn", "lstm", "gru")
DEFAULT_SHAPES = ("35x20x200", "35x20x650", "64x32x512", "100x64x256", "64x64x1024")
LARGE_SHAPES = ("128x128x1024", "128x128x2048", "128x256x512")  # on a GPU, too
DEFAULT_PRODUCTS = tuple(
    f"{rows}x{inputs}x{outputs}"
    for rows in (20, 64, 160, 320, 640)
    for inputs, outputs in ((128, 512), (256, 1024), (512, 2048), (1024, 4096), (256, 4096), (512, 8192), (1024, 8192))
)
PRODUCT_ROW = "{:24}" + 5 * "{:>9}" + "\n"
SOME_LINES = 256  # of a bundled corpus
LARGEST = 1 << 26  # values in a layer's inputs: 256 MB in fp32
WIDEST = 8192

BACKENDS = next(
    one.metadata["choices"] for one in dataclasses.fields(LanguageModelTraining) if one.name == "backend"
)  # as a training run takes them

app = application("How fast things are here.")

Cells = Annotated[
    list[str] | None,
    typer.Option("--cell", metavar="NAME", help=f"Cell; may be repeated. [default: {' '.join(DEFAULT_CELLS)}]"),
]
Shapes = Annotated[
    list[str] | None,
    typer.Option(
        "--shape",
        metavar="TxBxH",
        help=f"Steps, sequences and units; may be repeated. [default: {' '.join(DEFAULT_SHAPES)}; "
        f"on a GPU also {' '.join(LARGE_SHAPES)}]",
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
    typer.Option("--direction", help="both: forward, and every gradient; each: a row for either."),
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
    str, typer.Option("--backend", metavar="NAME", help=f"Which of ours is timed: {', '.join(BACKENDS)}.")
]
Device = Annotated[Literal["cpu", "cuda"], typer.Option("--device", help="Where it is timed.")]
Plot = Annotated[Path | None, typer.Option("--plot", metavar="FILE.svg", help="Draw the rows into a file, too.")]
Repeats = Annotated[int, typer.Option("--repeats", metavar="N", min=1, help="Turns, of which the median is shown.")]
SomeModel = Annotated[
    Path | None,
    typer.Option("--model", "-m", metavar="PATH", help="Run folder or model file. [default: a random LSTM of 2x512]"),
]
ProductShapes = Annotated[
    list[str] | None,
    typer.Option("--shape", metavar="RxIxO", help="Rows, inputs and outputs; may be repeated. [default: 35 of them]"),
]
TimedModel = Annotated[
    Path | None, typer.Option("--model", "-m", metavar="PATH", help="Run folder or model file. [default: a random one]")
]
Lines = Annotated[
    Path | None, typer.Argument(metavar="[FILE]", help="Lines to read. [default: some of a bundled corpus]")
]
Length = Annotated[int, typer.Option("--length", metavar="N", min=1, help="Tokens generated in one turn.")]


@app.callback()
def bench() -> None:
    """How fast things are here, each beside what else would do the same, in one run."""


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

    Each row times our layer, torch.nn's and the layer's matrix products alone, in turns, and shows the medians. On a
    GPU torch.nn's is cuDNN, and the columns named `graph` are the same turns replayed as CUDA graphs.
    """
    names = _each_of("--cell", cell or DEFAULT_CELLS, tuple(CELLS))
    usual = (*DEFAULT_SHAPES, *LARGE_SHAPES) if device == "cuda" else DEFAULT_SHAPES
    shapes = [_shape(text) for text in shape or usual]
    _each_of("--dtype", dtype or (), ("fp32", "bf16"))
    _each_of("--backend", (backend,), BACKENDS)
    if plot is not None:
        output.check_target(plot, "--plot", (".svg",))
    from nlpseq.native.memory import keep_freed_memory
    from nlpseq.timing.layers import OPTIONS, Plan, measure_layers

    plan = Plan(
        cells=names,
        shapes=shapes,
        dtypes=_once(dtype or _types(backend, device)),
        direction=direction,
        options=_each_of("--with", options or ("none",), OPTIONS),
        repeats=repeats,
        backend=backend,
        device=device,
    )
    conditions = _conditions(plan)
    output.note(" | ".join([*conditions, _why_types(plan)]), quiet=quiet)
    keep_freed_memory()
    table = None if json else _Table(plan)
    timings = []
    for timing in measure_layers(plan):
        timings.append(timing)
        if table is not None:
            table.write(timing)
    if json:
        output.write_json([timing.as_json() for timing in timings])
    else:
        _summarise(timings)
    if plot is not None:
        bench_plot.write_plot(plot, timings, [f"nlpseq {__version__} on {conditions[0]}", *conditions[1:]])


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
    from nlpseq.kernels.machine import describe_machine
    from nlpseq.models import language_model
    from nlpseq.models.language_model import LanguageModelOptions
    from nlpseq.models.model_file import load_model
    from nlpseq.native.extension import describe
    from nlpseq.timing import decode as decode_timing

    if model is None:
        options, weights = decode_timing.RANDOM_MODEL, decode_timing.random_weights()
    else:
        loaded = load_model(model, "language-model")
        options, weights = LanguageModelOptions(**loaded.options), loaded.weights
    weights = language_model.rounded(weights, precision)
    output.note(f"{describe_machine()} | ours: {describe()}", quiet=quiet)
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


@command(app)
def products(shape: ProductShapes = None, repeats: Repeats = 5, quiet: Quiet = False, json: Json = False) -> None:
    """Time products of matrices, beside NumPy's and torch's.

    Each line shows one product: R rows of I numbers, times a matrix of I x O that was packed before. The limit is what
    a loop of nothing but multiplications and additions reaches. Figures are GFLOP/s, 10^9 operations a second; the
    ratio is ours against the better of NumPy and torch.
    """
    shapes = [_sizes(text) for text in shape or DEFAULT_PRODUCTS]
    from nlpseq.kernels.machine import describe_machine
    from nlpseq.native.extension import Unavailable, describe
    from nlpseq.native.memory import keep_freed_memory
    from nlpseq.timing.products import Sizes, measure_products

    output.note(f"{describe_machine()} | ours: {describe()}", quiet=quiet)
    keep_freed_memory()
    timings = []
    try:
        for timing in measure_products([Sizes(*one) for one in shapes], repeats):
            timings.append(timing)
            if json:
                continue
            if len(timings) == 1:
                output.write_text(
                    PRODUCT_ROW.format("rows x inputs x outputs", "ours", "NumPy", "torch", "limit", "ratio")
                )
            rates = (f"{one:.3g}" for one in (timing.ours, timing.numpy, timing.torch, timing.limit))
            output.write_text(PRODUCT_ROW.format("x".join(map(str, timing.sizes)), *rates, f"{timing.ratio:.2f}"))
    except Unavailable as reason:
        raise BackendError(
            "products", f"nothing compiled can run: {reason}", "pip install --force-reinstall nlpseq"
        ) from None
    if json:
        output.write_json([timing.as_json() for timing in timings])
        return
    ratios = [timing.ratio for timing in timings]
    summary = f"slowest {min(ratios):.2f}, geometric mean {geometric_mean(ratios):.2f}"
    output.write_text(f"\nours against the better of NumPy and torch: {summary}\n")


@command(app)
def translate(
    model: TimedModel = None, file: Lines = None, repeats: Repeats = 3, quiet: Quiet = False, json: Json = False
) -> None:
    """Time translating, beside the same search with the model on torch."""
    from nlpseq.timing import filters

    _time_filter(filters.measure_translate, model, file, "english-german", repeats, quiet=quiet, as_json=json)


@command(app)
def score(
    model: TimedModel = None, file: Lines = None, repeats: Repeats = 3, quiet: Quiet = False, json: Json = False
) -> None:
    """Time scoring, beside training steps of the same model."""
    from nlpseq.timing import filters

    _time_filter(filters.measure_score, model, file, "stories", repeats, quiet=quiet, as_json=json)


@command(app)
def classify(
    model: TimedModel = None, file: Lines = None, repeats: Repeats = 3, quiet: Quiet = False, json: Json = False
) -> None:
    """Time classifying, beside the same model on torch's operators."""
    from nlpseq.timing import filters

    _time_filter(filters.measure_classify, model, file, "reviews", repeats, quiet=quiet, as_json=json)


def _time_filter(
    measure: Callable[[Path | None, Sequence[str], int], Throughput],
    model: Path | None,
    file: Path | None,
    corpus: str,
    repeats: int,
    *,
    quiet: bool,
    as_json: bool,
) -> None:
    """Time a filter on the lines of a file or, by default, the first of a bundled corpus, and show it."""
    from nlpseq.kernels.machine import describe_machine
    from nlpseq.native.extension import describe
    from nlpseq.native.memory import keep_freed_memory

    lines = _lines(file, corpus)
    keep_freed_memory()
    found = measure(model, lines, repeats)
    output.note(f"{describe_machine()} | ours: {describe()} | {len(lines):,} lines", quiet=quiet)
    if as_json:
        output.write_json(found.as_json())
        return
    theirs, ratio = found.neighbour_per_second, found.ratio
    output.write_table(
        [
            ("ours", f"{found.ours_per_second:,.0f} {found.unit} a second"),
            (found.neighbour, "has no such cell" if theirs is None else f"{theirs:,.0f} {found.unit} a second"),
            ("ratio", "-" if ratio is None else f"{ratio:.2f}"),
        ]
    )


def _lines(file: Path | None, corpus: str) -> list[str]:
    """The lines that are not blank; of a bundled table its texts. Raises CorpusError where there are none."""
    if file is not None:
        lines = [line for line in split_lines(read_text(file)) if line.strip()]
        if not lines:
            raise CorpusError(str(file), "there is no text in it")
        return lines
    text = [line for line in split_lines(BUNDLED[corpus].read()) if line.strip()][:SOME_LINES]
    column = {"english-german": 0, "reviews": 1}.get(corpus)
    return text if column is None else [line.split("\t")[column] for line in text]


def _types(backend: str, device: str) -> list[str]:
    """The types to time where none was asked for: bf16 where it is fast and the backend has it."""
    from nlpseq.kernels.choice import has_fast_bf16

    return ["fp32", "bf16"] if backend != "plain" and (device == "cuda" or has_fast_bf16()) else ["fp32"]


def _why_types(plan: Plan) -> str:
    from nlpseq.kernels.choice import has_fast_bf16

    if plan.device == "cuda":
        return "types of the GPU"
    if plan.backend == "plain":
        return "the plain loop runs in fp32 only"
    if has_fast_bf16():
        return "bf16 products in hardware (AMX)"
    return "no AMX: bf16 products are emulated" if "bf16" in plan.dtypes else "fp32 only: no AMX for bf16 products"


def _conditions(plan: Plan) -> list[str]:
    """Machine and versions, then each kernel that runs and why."""
    from nlpseq.kernels.machine import describe_machine

    return [describe_machine(plan.device), *_once([choice.reason for choice in plan.choices.values()])]


def _once(values: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(values))


def _each_of(name: str, values: Sequence[str], choices: tuple[str, ...]) -> list[str]:
    for value in values:
        if value not in choices:
            near = get_close_matches(value, choices, 1) or choices
            raise OptionError(name, f"must be one of {', '.join(choices)}, was {value!r}", f"{name} {near[0]}")
    return _once(values)


def _three(text: str, named: str, example: str) -> tuple[int, int, int]:
    """`35x20x200` as numbers. Raises OptionError for what is not three of them."""
    found = re.fullmatch(r"([1-9]\d{0,8})x([1-9]\d{0,8})x([1-9]\d{0,8})", text, re.ASCII)
    if not found:
        raise OptionError("--shape", f"must be {named}, was {text!r}", f"--shape {example}")
    first, second, third = (int(number) for number in found.groups())
    return first, second, third


def _sizes(text: str) -> tuple[int, int, int]:
    """`64x512x2048` as the sizes of a product. Raises OptionError where it is malformed, or too large for memory."""
    rows, inputs, outputs = _three(text, "rows x inputs x outputs", "64x512x2048")
    if max(rows * inputs, inputs * outputs, rows * outputs) > LARGEST:
        raise OptionError(
            "--shape", f"must be of at most {LARGEST:,} values a matrix, was {text}", "--shape 64x512x2048"
        )
    return rows, inputs, outputs


def _shape(text: str) -> Shape:
    """`35x20x200` as a shape. Raises OptionError for what is none, or would not fit into memory."""
    from nlpseq.timing.layers import Shape

    shape = Shape(*_three(text, "steps x sequences x units", "35x20x200"))
    if shape.time * shape.batch * shape.hidden_size > LARGEST or shape.hidden_size > WIDEST:
        limits = f"at most {LARGEST:,} values and {WIDEST:,} units"
        raise OptionError("--shape", f"must be of {limits}, was {text}", "--shape 64x64x1024")
    return shape


class _Column(NamedTuple):
    """A column of numbers, or a figure of the summary: its heading, its value, and which value is the slowest."""

    heading: str
    value: Callable[[LayerTiming], float | None]
    slowest: Callable[[Sequence[float]], float] | None = None  # of a time nothing is summed up


def _columns(plan: Plan) -> list[_Column]:
    """The columns of numbers that have any: milliseconds, then ratios."""
    torch = any(option in ("none", "lengths") for option in plan.options)
    fp32 = torch and "bf16" in plan.dtypes
    plain = any(option != "none" for option in plan.options)
    graph = plan.device == "cuda"
    columns = [
        (True, _Column("ours ms", lambda timing: timing.ours_ms)),
        (torch, _Column("torch ms", lambda timing: timing.torch_ms)),
        (fp32, _Column("torch fp32 ms", lambda timing: timing.torch_fp32_ms)),
        (plain, _Column("plain ms", lambda timing: timing.plain_ms)),
        (True, _Column("products ms", lambda timing: timing.gemm_ms)),
        (graph, _Column("ours graph ms", lambda timing: timing.graph_of("ours_ms"))),
        (graph and torch, _Column("torch graph ms", lambda timing: timing.graph_of("torch_ms"))),
        *((shown, column) for shown, column in zip((torch, fp32, plain, True, graph and torch), RATIOS, strict=True)),
    ]
    return [column for shown, column in columns if shown]


RATIOS = (
    _Column("torch / ours", lambda timing: timing.ratio, min),
    _Column("torch fp32 / ours", lambda timing: timing.fp32_ratio, min),
    _Column("ours / plain", lambda timing: timing.option_ratio, max),
    _Column("ours / products", lambda timing: timing.products_ratio, max),
    _Column("torch / ours, graphs", lambda timing: timing.graph_ratio, min),
)


class _Table:
    """Rows as they come; a column's width is that of its heading, or of the longest name it can hold."""

    def __init__(self, plan: Plan) -> None:
        self.columns = _columns(plan)
        self.named = {"cell": 16, "type": 4, "direction": 9, "T x B x H": 14}
        if any(option != "none" for option in plan.options):
            self.named["option"] = 19
        self._write([*self.named], [column.heading for column in self.columns])

    def write(self, timing: LayerTiming) -> None:
        """Write one row."""
        named = [timing.cell, timing.dtype, timing.direction, _shape_text(timing), timing.option]
        self._write(named[: len(self.named)], [_number(column.value(timing)) for column in self.columns])

    def _write(self, named: Sequence[str], numbers: Sequence[str]) -> None:
        left = [text.ljust(width) for text, width in zip(named, self.named.values(), strict=True)]
        right = [text.rjust(max(9, len(column.heading))) for text, column in zip(numbers, self.columns, strict=True)]
        output.write_text("  ".join([*left, *right]) + "\n")


def _summarise(timings: Sequence[LayerTiming]) -> None:
    """For each type, direction and option: every ratio's slowest row and geometric mean."""
    groups: dict[str, list[LayerTiming]] = {}
    for timing in timings:
        option = "" if timing.option == "none" else f" {timing.option}"
        groups.setdefault(f"{timing.dtype} {timing.direction}{option}", []).append(timing)
    lines: list[tuple[str, ...]] = []
    for name, rows in groups.items():
        for ratio in RATIOS:
            found = [(value, row) for row in rows if (value := ratio.value(row)) is not None]
            if not found or ratio.slowest is None:
                continue
            values = [value for value, _ in found]
            slowest = ratio.slowest(values)
            row = found[values.index(slowest)][1]
            where = f"slowest {slowest:.2f} ({row.cell} {_shape_text(row)})"
            lines.append((name, ratio.heading, where, f"geometric mean {geometric_mean(values):.2f}"))
    output.write_text("\n")
    output.write_table(lines)


def _shape_text(timing: LayerTiming) -> str:
    return "x".join(str(size) for size in timing.shape)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
