"""Every instruction set gives what the others and NumPy give, and all C files compile for other processors, too."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from nlpseq.evaluation.line_scores import LineScorer
from nlpseq.models import language_model
from nlpseq.models.stepper import Stepper
from nlpseq.native import extension
from tests.native.conftest import SETS

SOURCES = Path(extension.__file__).parent / "c"
FLAGS = [
    "-std=gnu11",
    "-O2",
    "-fno-trapping-math",
    "-fno-math-errno",
    "-Wno-psabi",
    "-Wall",
    "-Wextra",
    "-Werror",
    "-fPIC",
]
LINES = ["the cat sat on the mat", "", "où es-tu?", "the dog " * 30]


def _results(path: Path) -> np.ndarray:
    """Scores of lines, and what a generated text's next token may be."""
    model, options = language_model.load(path)
    nats = [one.nats for one in LineScorer(model, options).score(LINES)]
    stepper = Stepper(model.weights, options)
    for token in (72, 101, 10):
        stepper.advance([token])
    return np.concatenate([nats, stepper.predict()[0]])


@pytest.mark.skipif(not SETS, reason="nothing is compiled")
@pytest.mark.parametrize("cell", ["lstm", "gru", "gru, reset before", "rnn", "minlstm"])
def test_all_sets_and_numpy_agree(cell: str, make_model: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    name, _, before = cell.partition(",")
    path = make_model("byte", cell=name, reset_before=bool(before), hidden_size=40)
    found = {}
    for name in SETS:
        monkeypatch.setenv(extension.SETTING, name)
        found[name] = _results(path)
    monkeypatch.delenv(extension.SETTING)

    def missing() -> None:
        raise extension.Unavailable("not wanted")

    monkeypatch.setattr(extension, "load_library", missing)
    monkeypatch.setattr(extension, "available_sets", missing)
    plain = _results(path)
    for name, one in found.items():
        assert (abs(one - plain) / (1 + abs(plain))).max() < 1e-5, name


def _compiler(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"there is no {name} here")
    return path


@pytest.mark.parametrize(
    ("compiler", "depth"), [("gcc", "-fsyntax-only"), ("clang", "-fsyntax-only"), ("aarch64-linux-gnu-gcc", "-O1")]
)
@pytest.mark.parametrize("source", sorted(path.name for path in SOURCES.glob("*.c")))
def test_every_file_compiles_without_a_warning(source: str, compiler: str, depth: str, tmp_path: Path) -> None:
    command = [_compiler(compiler), *FLAGS, depth, "-c", str(SOURCES / source), "-o", str(tmp_path / "made.o")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_on_aarch64_products_are_multiplied_and_summed_in_one_instruction(tmp_path: Path) -> None:
    assembly = tmp_path / "products.s"
    compiler = _compiler("aarch64-linux-gnu-gcc")
    subprocess.run([compiler, *FLAGS, "-S", str(SOURCES / "products.c"), "-o", str(assembly)], check=True)
    text = assembly.read_text(encoding="utf-8")
    assert text.count("fmla\tv") > 100
    assert text.count("fmla\tv") > 5 * text.count("fmul\tv")


@pytest.mark.skipif("avx2" not in SETS, reason="the library has no code for AVX2, or the processor lacks it")
def test_tiles_of_avx2_stay_in_registers(tmp_path: Path) -> None:
    """What a tile sums up is in the 16 registers: no vector goes to the stack and back."""
    assembly = tmp_path / "products.s"
    command = [_compiler("gcc"), *FLAGS, "-O3", "-S", str(SOURCES / "products.c"), "-o", str(assembly)]
    subprocess.run(command, check=True)
    body = assembly.read_text(encoding="utf-8").partition("\nmultiply_float_v3")[2].partition(".size")[0]
    assert body.count("vfmadd") > 50
    assert not [line for line in body.splitlines() if "ymm" in line and "(%rsp)" in line]


def test_the_build_names_every_header() -> None:
    """What a build depends on is listed by hand: a header that is forgotten leaves an old library behind."""
    listed = (Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8")
    assert not [path.name for path in SOURCES.iterdir() if f"nlpseq/native/c/{path.name}" not in listed]
