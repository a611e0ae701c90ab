"""`nlpseq bench`: what it prints. How fast anything is, no test says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import torch
from typer.testing import CliRunner

from nlpseq.commands.cli import app
from nlpseq.kernels.machine import processor_name
from nlpseq.models.language_model import LanguageModelOptions, initial_weights
from nlpseq.models.model_file import save_model
from nlpseq.text.tokenisers import train_tokeniser
from nlpseq.timing import plot as bench_plot
from nlpseq.timing.layers import LayerTiming
from nlpseq.timing.shapes import Shape

FIELDS = ["cell", "direction", "dtype", "option", "T", "B", "H"]
FIELDS += ["ours_ms", "torch_ms", "gemm_ms", "ratio", "plain_ms", "torch_fp32_ms"]
SVG = "{http://www.w3.org/2000/svg}"


def _run(*arguments: str) -> Any:
    return CliRunner().invoke(app, ["bench", *arguments])


def _model(folder: Path, **options: Any) -> Path:
    chosen = LanguageModelOptions(hidden_size=6, embedding_size=5, **options)
    tokeniser = train_tokeniser("char", ["hello"], 256)
    fields = {name: getattr(chosen, name) for name in chosen.__dataclass_fields__}
    path = folder / "model.safetensors"
    save_model(path, "language-model", fields, initial_weights(chosen, tokeniser.size, 1), tokeniser)
    return path


@pytest.mark.parametrize("direction", ["forward", "both"])
def test_cells_as_json_list_every_cell_in_every_shape_and_type(direction: str) -> None:
    shapes, dtypes = ["--shape", "3x2x5", "--shape", "1x1x4"], ["--dtype", "fp32", "--dtype", "bf16"]
    done = _run("cells", *shapes, *dtypes, "--repeats", "1", "--direction", direction, "--json")
    assert done.exit_code == 0, done.stderr
    rows = json.loads(done.stdout)
    assert [(r["cell"], r["T"], r["dtype"]) for r in rows] == [
        (cell, steps, dtype) for dtype in ("fp32", "bf16") for steps in (3, 1) for cell in ("rnn", "lstm", "gru")
    ]
    for row in rows:
        assert list(row) == FIELDS
        assert row["direction"] == direction
        assert row["option"] == "none"
        assert all(0 < row[name] < 1e6 for name in ("ours_ms", "torch_ms", "gemm_ms"))
        assert row["ratio"] == pytest.approx(row["torch_ms"] / row["ours_ms"])
        assert row["plain_ms"] is None
        assert (row["torch_fp32_ms"] is None) == (row["dtype"] == "fp32")


def test_options_and_directions_as_json() -> None:
    options = ["--with", "none", "--with", "lengths", "--with", "weight-drop", "--with", "lengths"]
    done = _run(
        "cells", "--cell", "gru", "--shape", "3x2x5", "--repeats", "1", "--direction", "each", *options, "--json"
    )
    assert done.exit_code == 0, done.stderr
    rows = json.loads(done.stdout, parse_constant=pytest.fail)
    wanted = [(direction, one) for direction in ("forward", "both") for one in ("none", "lengths", "weight-drop")]
    assert [(row["direction"], row["option"]) for row in rows if row["dtype"] == "fp32"] == wanted
    for row in rows:
        assert (row["plain_ms"] is None) == (row["option"] == "none")
        assert (row["torch_ms"] is None) == (row["option"] == "weight-drop")
        assert row["ours_ms"] > 0


def test_a_cell_that_torch_has_not_is_timed_alone() -> None:
    done = _run("cells", "--cell", "gru-reset-before", "--shape", "3x2x5", "--repeats", "1", "--json", "-q")
    row = json.loads(done.stdout)[0]
    assert row["torch_ms"] is None
    assert row["ratio"] is None
    assert row["ours_ms"] > 0


def test_cells_as_a_table_is_aligned_and_says_its_conditions_on_standard_error() -> None:
    done = _run("cells", "--cell", "rnn", "--shape", "3x2x5", "--dtype", "bf16", "--repeats", "1")
    heading, row, empty, *summary = done.stdout.splitlines()
    assert len(heading) == len(row)
    assert heading.split()[:3] == ["cell", "type", "direction"]
    assert row.split()[:4] == ["rnn", "bf16", "both", "3x2x5"]
    assert empty == ""
    assert [line.split("  ")[1].strip() for line in summary] == ["torch / ours", "torch fp32 / ours", "ours / products"]
    (conditions,) = done.stderr.splitlines()
    for word in (processor_name(), f"torch {torch.__version__}", "core", "thread", "bf16 products"):
        assert word in conditions


def test_a_table_of_options_has_their_columns_and_torchs_only_where_it_has_an_equal() -> None:
    arguments = ["--cell", "rnn", "--shape", "3x2x5", "--dtype", "fp32", "--repeats", "1", "-q"]
    done = _run("cells", *arguments, "--with", "zoneout")
    heading, row, _, *summary = done.stdout.splitlines()
    assert "torch" not in done.stdout
    assert "plain ms" in heading
    assert row.split()[4] == "zoneout"
    assert [line.split("  ")[1].strip() for line in summary] == ["ours / plain", "ours / products"]
    assert done.stderr == ""


def test_the_summary_names_the_slowest_row_and_the_geometric_mean(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shape = Shape(3, 2, 5)
    rows = [
        LayerTiming("lstm", "both", "fp32", "none", shape, 2.0, 1.0, 8.0),
        LayerTiming("gru", "both", "fp32", "none", shape, 4.0, 1.0, 4.0),
        LayerTiming("gru", "both", "fp32", "zoneout", shape, 3.0, 1.0, None, 2.0),
    ]
    monkeypatch.setattr("nlpseq.timing.layers.measure_layers", lambda plan: iter(rows))
    lines = [" ".join(line.split()) for line in _run("cells", "--cell", "gru").stdout.splitlines()]
    assert lines[1 + len(rows) :] == [
        "",
        "fp32 both torch / ours slowest 1.00 (gru 3x2x5) geometric mean 2.00",
        "fp32 both ours / products slowest 4.00 (gru 3x2x5) geometric mean 2.83",
        "fp32 both zoneout ours / plain slowest 1.50 (gru 3x2x5) geometric mean 1.50",
        "fp32 both zoneout ours / products slowest 3.00 (gru 3x2x5) geometric mean 3.00",
    ]


def test_a_backend_is_timed_as_asked_for() -> None:
    for backend, word in (("plain", "plain loop"), ("torch", "torch's operators"), ("eager", "eager loop")):
        done = _run("cells", "--cell", "gru", "--shape", "3x2x5", "--repeats", "1", "--backend", backend)
        assert done.exit_code == 0, done.stderr
        assert word in done.stderr


def _plot(path: Path, *arguments: str) -> ElementTree.Element:
    done = _run("cells", "--repeats", "1", "--plot", str(path), *arguments)
    assert done.exit_code == 0, done.stderr
    return ElementTree.parse(path).getroot()


def test_a_plot_has_every_row_and_its_units(tmp_path: Path) -> None:
    path = tmp_path / "cells.svg"
    options = ["--with", "none", "--with", "lengths", "--with", "zoneout", "--dtype", "fp32", "--dtype", "bf16"]
    root = _plot(path, "--shape", "3x2x5", "--shape", "1x1x4", *options, "--json")
    titles = [title.text or "" for title in root.iter(f"{SVG}title")]
    assert len(titles) == 3 * 2 * 3 * 2
    assert sum(title.startswith("gru, 3 steps x 2 sequences x 5 units, bf16, forward") for title in titles) == 3
    assert all(" ms" in title and "products alone" in title for title in titles)
    text = [one.text or "" for one in root.iter(f"{SVG}text")]
    assert {"ours", "torch.nn", "torch.nn in fp32", "ours without the option", "products alone"} <= set(text)
    assert any(f"torch {torch.__version__}" in line for line in text)
    assert [one.name for one in tmp_path.iterdir()] == ["cells.svg"]


def test_a_plot_draws_nothing_outside_itself_and_no_two_texts_in_one_place(tmp_path: Path) -> None:
    root = _plot(tmp_path / "cells.svg", "--cell", "gru-reset-before", "--cell", "lstm", "--shape", "3x2x5")
    width, height = float(root.get("width", 0)), float(root.get("height", 0))
    texts = [(float(one.get("x", 0)), float(one.get("y", 0))) for one in root.iter(f"{SVG}text")]
    assert len(set(texts)) == len(texts)
    assert all(0 < x < width and 10 < y < height for x, y in texts)
    for bar in root.iter(f"{SVG}rect"):
        assert float(bar.get("x", 0)) + float(bar.get("width", 0)) <= width
        assert float(bar.get("y", 0)) + float(bar.get("height", 0)) <= height


@pytest.mark.parametrize("largest", [0.00123, 0.9, 1.0, 7.3, 99.9, 1234.5])
def test_an_axis_has_a_few_round_numbers_and_holds_the_longest_bar(largest: float) -> None:
    ticks = bench_plot.axis_ticks(largest)
    assert ticks[0] == 0
    assert ticks[-1] >= largest > ticks[-2]
    assert 4 <= len(ticks) - 1 <= 11


def test_a_plot_that_cannot_be_written_is_refused_before_anything_is_timed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nlpseq.timing.layers.median_seconds", lambda *_: pytest.fail("timed"))
    (tmp_path / "folder.svg").mkdir()
    for path, status, words in (
        (tmp_path / "none" / "a.svg", 1, "cannot be written: No such file or directory"),
        (tmp_path / "folder.svg", 1, "is a folder"),
        (tmp_path / "a.png", 2, "must be a name that ends in .svg"),
    ):
        done = _run("cells", "--plot", str(path))
        assert done.exit_code == status
        assert words in done.stderr
        assert "--plot" in done.stderr.splitlines()[-1]
        assert done.stdout == ""


def test_a_gpu_that_is_not_there_is_told_of_in_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    done = _run("cells", "--device", "cuda")
    assert done.exit_code == 1
    assert done.stderr.startswith("error: --device: cuda cannot be used: torch ")
    assert done.stderr.endswith("\nhint:  --device cpu\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--cell", "elman"], "--cell: must be one of rnn, "),
        (["--cell", "gru-reset"], "hint:  --cell gru-reset-before"),
        (["--backend", "torhc"], "hint:  --backend torch"),
        (["--with", "zoneuot"], "hint:  --with zoneout"),
        (["--direction", "backward"], "--direction: must be one of forward, both, each, was 'backward'"),
        (["--device", "tpu"], "--device: must be one of cpu, cuda, was 'tpu'"),
        (["--dtype", "fp8"], "--dtype: must be one of fp32, bf16, was 'fp8'"),
        (["--shape", "3x2"], "--shape: must be steps x sequences x units, was '3x2'"),
        (["--shape", "0x2x3"], "--shape: must be steps x sequences x units, was '0x2x3'"),
        (["--shape", "9999999x9999x99"], "--shape: must be of at most"),
        (["--shape", "1x1x99999"], "--shape: must be of at most"),
    ],
)
def test_values_that_make_no_sense_are_refused(arguments: list[str], message: str) -> None:
    done = _run("cells", *arguments)
    assert done.exit_code == 2
    assert message in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(
    "options", [{}, {"cell": "gru", "layers": 2, "tied": True}, {"ngrams": 3, "ngram_buckets": 16}]
)
def test_decode_times_a_model_beside_torch(tmp_path: Path, options: dict[str, Any]) -> None:
    path = _model(tmp_path, **options)
    done = _run("decode", "-m", str(path), "--length", "3", "--repeats", "1", "--json")
    assert done.exit_code == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["cell"], found["hidden_size"]) == (options.get("cell", "lstm"), 6)
    ours, theirs = found["ours_tokens_per_second"], found["torch_tokens_per_second"]
    assert 0 < ours < 1e9
    assert 0 < theirs < 1e9
    assert found["ratio"] == pytest.approx(ours / theirs)


def test_decode_of_a_cell_that_torch_has_not(tmp_path: Path) -> None:
    path = _model(tmp_path, cell="gru", reset_before=True)
    done = _run("decode", "-m", str(path), "--length", "3", "--repeats", "1", "--precision", "bf16", "-q")
    assert done.stdout.splitlines()[2].split(maxsplit=1) == ["torch.nn", "has no such cell"]
    assert done.stderr == ""


def test_decode_without_its_model_says_so(tmp_path: Path) -> None:
    done = _run("decode", "-m", str(tmp_path / "none"))
    assert done.exit_code == 1
    assert "no such model" in done.stderr


def test_products_as_json_and_as_a_table() -> None:
    shapes = ["--shape", "3x4x5", "--shape", "2x2x2"]
    done = _run("products", *shapes, "--repeats", "1", "--json")
    if "nothing compiled" in done.stderr:
        pytest.skip(done.stderr)
    assert done.exit_code == 0, done.stderr
    rows = json.loads(done.stdout)
    assert [(row["rows"], row["inputs"], row["outputs"]) for row in rows] == [(3, 4, 5), (2, 2, 2)]
    assert all(row[f"{side}_gflops"] > 0 for row in rows for side in ("ours", "numpy", "torch", "limit"))
    table = _run("products", *shapes[:2], "--repeats", "1").stdout.splitlines()
    assert table[0].split()[-5:] == ["ours", "NumPy", "torch", "limit", "ratio"]
    assert table[1].split()[0] == "3x4x5"
    assert table[-1].startswith("ours against the better of NumPy and torch: slowest")


@pytest.mark.parametrize("shape", ["3x4", "0x1x1", "100000x100000x2"])
def test_a_product_that_is_none_or_too_large_is_refused(shape: str) -> None:
    done = _run("products", "--shape", shape)
    assert done.exit_code == 2
    assert "--shape: must be" in done.stderr


def test_an_instruction_set_that_cannot_be_had_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NLPSEQ_INSTRUCTIONS", "avx3")
    done = _run("decode", "--length", "2", "--repeats", "1")
    assert done.exit_code == 1
    assert "error: NLPSEQ_INSTRUCTIONS: must be one of sse2, avx2" in done.stderr
    assert "export NLPSEQ_INSTRUCTIONS=avx2" in done.stderr
    assert _run("decode", "--help").exit_code == 0


@pytest.mark.parametrize("what", ["translate", "score", "classify"])
def test_a_filter_is_timed_on_a_file(what: str, tmp_path: Path) -> None:
    path = tmp_path / "lines.txt"
    path.write_text("the cat\n\na dog\n", encoding="utf-8")
    done = _run(what, str(path), "--repeats", "1", "--json")
    assert done.exit_code == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["what"] == what
    assert found["ratio"] == pytest.approx(found["ours_per_second"] / found["neighbour_per_second"])
    assert "2 lines" in done.stderr
    path.write_text("\n\n", encoding="utf-8")
    empty = _run(what, str(path))
    assert empty.exit_code == 1
    assert "there is no text in it" in empty.stderr
