"""The record that a GPU is needed for, as far as it can be tested without one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "benchmarks"))

import gpu_cells  # noqa: E402
import gpu_check  # noqa: E402
import gpu_record  # noqa: E402
import gpu_runs  # noqa: E402
import gpu_steps  # noqa: E402

from nlpseq.cells import CELLS, unroll  # noqa: E402
from nlpseq.kernels.choice import choose  # noqa: E402
from nlpseq.models.model_file import write_tensors  # noqa: E402
from nlpseq.timing.layers import LayerTiming  # noqa: E402
from nlpseq.timing.shapes import Shape  # noqa: E402

WITHOUT = ("datasets", "pandas", "sklearn", "huggingface_hub", "polib", "scipy")
TRAIN_BARE = f"""
import sys
class Without:
    def __init__(self, finder): self.finder = finder
    def __getattr__(self, name): return getattr(self.finder, name)
    def find_spec(self, name, path=None, target=None):
        return None if name.split(".")[0] in {WITHOUT} else self.finder.find_spec(name, path, target)
sys.meta_path[:] = [Without(one) for one in sys.meta_path]
from nlpseq.commands.cli import app
trained = (("lm", "text.txt"), ("translation", "pairs.tsv"), ("sentiment", "labels.tsv", "--linear", "none"))
for task, *corpus in trained:
    words = ["train", task, *corpus, "--steps", "2", "--hidden-size", "8", "--out", task, "--device", "cpu", "-q"]
    app(words, standalone_mode=False)
print([name for name in {WITHOUT} if name in sys.modules])
"""
RUN_PARTS = """
import os, sys, time
sys.path.insert(0, "benchmarks")
import gpu_check, gpu_record
def good(deadline): yield {"table": "T", "n": 1}; yield {"note": "done"}
def wrong(deadline): yield {"n": 2}; raise ValueError("it broke")
def died(deadline): yield {"n": 3}; os._exit(7)
def slow(deadline): yield {"n": 4}; time.sleep(60)
gpu_record.GRACE = 0.2
for part in (good, wrong, died, slow):
    print(list(gpu_record.run_part(part, time.monotonic() + 0.8)))
def job(item):
    if item == 3: os._exit(1)
    return item * item
print(sorted(gpu_check.shared_out(job, range(8), 3, time.monotonic() + 20)))
"""


def test_without_a_gpu_it_says_so_in_one_sentence(tmp_path: Path) -> None:
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": "", "OUT": str(tmp_path)}
    words = [sys.executable, "benchmarks/gpu_record.py", "--only", "check"]
    done = subprocess.run(words, capture_output=True, text=True, cwd=ROOT, env=environment, check=False)
    assert done.returncode == 1
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("nothing was measured: ")
    assert list(tmp_path.iterdir()) == []


def test_parts_run_apart_and_each_end_is_told() -> None:
    done = subprocess.run([sys.executable, "-c", RUN_PARTS], capture_output=True, text=True, cwd=ROOT, check=True)
    good, wrong, died, slow, shared = done.stdout.splitlines()
    assert good == "[{'table': 'T', 'n': 1}, {'note': 'done'}]"
    assert wrong == "[{'n': 2}, {'failure': 'ValueError: it broke'}]"
    assert died == "[{'n': 3}, {'failure': 'the process ended with status 7'}]"
    assert slow == "[{'n': 4}, {'left out': 'the rest: it was stopped, for its time was over'}]"
    assert shared == "[0, 1, 4, 16, 25, 36, 49]", "a process that dies takes one item with it"


def test_time_that_a_part_leaves_goes_to_those_after_it() -> None:
    names = [*gpu_record.PARTS]
    ends = []
    now = 0.0
    for name in names:
        now = gpu_record.part_deadline(name, names, now, 240.0)
        ends.append(now)
    assert ends == sorted(ends)
    assert ends[-1] == pytest.approx(240.0)
    early = gpu_record.part_deadline("train", names, 50.0, 240.0) - 50.0
    assert early > ends[names.index("train")] - ends[names.index("train") - 1]
    assert gpu_record.part_deadline("check", ["check"], 10.0, 100.0) == 100.0
    assert gpu_record.part_deadline("check", ["check"], 110.0, 100.0) == 110.0


def test_a_record_holds_figures_failures_and_what_was_left_out(tmp_path: Path) -> None:
    rows = [
        {"table": "Layers", "cell": "lstm", "ms": 1.5, "graph": None},
        {"failure": "gru: it broke"},
        {"left out": "2 rows"},
        {"note": "a | b"},
        {"table": "Layers", "cell": "a|b", "same": True},
    ]
    record = gpu_record.Record({"card": "A Card", "date": "2026-01-02"}, {"kernels": rows}, {"kernels": 3.0})
    path = record.write(tmp_path / "deep")
    assert path.name == "2026-01-02-gpu.md"
    assert json.loads(path.with_suffix(".json").read_text()) == record.as_json()
    text = path.read_text()
    for line in (
        "# A GPU: A Card, 2026-01-02",
        "| card | A Card |",
        "- kernels: gru: it broke",
        "- kernels: 2 rows",
        "- a | b",
        "## kernels, 3 s",
        "### Layers",
        "| cell | ms | graph | same |",
        "| lstm | 1.5 | - | - |",
        "| a\\|b | - | - | yes |",
    ):
        assert line in text.splitlines()
    again = gpu_record.Record({**record.facts, "command": "c"}, {"kernels": []}, {"kernels": 1.0})
    again.add_earlier(path.parent)
    assert again.parts["kernels"] == rows, "a part that is measured in another call stays"
    other = gpu_record.Record({**record.facts, "card": "B"}, {}, {})
    other.add_earlier(path.parent)
    assert other.parts == {}
    empty = gpu_record.markdown(gpu_record.Record({}, {"check": []}))
    assert empty.count("None.") == 2


def test_the_facts_of_the_host_need_no_gpu_and_no_git(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    facts = gpu_record.host_facts(gpu_record.command_of(gpu_record.parse(["--only", "check", "--out", "x"])))
    assert facts["commit"] == facts["driver"] == "unknown"
    assert facts["torch"] == torch.__version__
    assert facts["command"] == "python benchmarks/gpu_record.py --only check --seconds 240"


def test_parts_are_chosen_and_the_folder_is_that_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OUT", "/tmp/there")
    given = gpu_record.parse(["--only", "check", "--only", "steps", "--seconds", "60"])
    assert (given.out, given.only, given.seconds) == (Path("/tmp/there"), ["check", "steps"], 60.0)
    monkeypatch.delenv("OUT")
    assert gpu_record.parse([]).out == ROOT / "benchmarks"
    with pytest.raises(SystemExit):
        gpu_record.parse(["--only", "nothing"])


def test_a_layers_work_is_counted() -> None:
    shape = Shape(2, 3, 5)
    assert gpu_cells.work("lstm", shape, "forward", "bf16") == (2 * 2 * 3 * 200, 2 * (2 * 30 + 200))
    assert gpu_cells.work("lstm", shape, "both", "fp32") == (3 * 2 * 2 * 3 * 200, 4 * (6 * 30 + 3 * 200))
    assert gpu_cells.work("mingru", shape, "forward", "fp32")[0] == 2 * 2 * 3 * 50


def test_rows_of_layers_and_options_say_what_was_timed() -> None:
    shape, graphs = Shape(64, 64, 512), {"ours_ms": 0.5, "torch_ms": 1.0, "plain_ms": 0.4}
    timing = LayerTiming("lstm", "both", "bf16", "zoneout", shape, 3.0, 1.0, 4.5, 2.0, graph_ms=graphs)
    row = gpu_cells.layer_row(timing, ["persistent"])
    assert (row["cuDNN / ours called"], row["cuDNN / ours graph"], row["way"]) == (1.5, 2.0, "persistent")
    assert row["ours TFLOP/s"] == round(3 * 2 * 64 * 64 * 8 * 512 * 512 / 0.5e-3 / 1e12, 1)
    row = gpu_cells.option_row(timing, ["rows", "steps"])
    assert (row["timed as"], row["with / without"], row["way"]) == ("graph", 1.25, "rows steps")
    bare = LayerTiming("lstm", "both", "bf16", "lengths", shape, 3.0, 1.0, 4.5, 2.0, graph_ms={})
    row = gpu_cells.option_row(bare, [])
    assert (row["timed as"], row["with / without"], row["cuDNN packed, called"]) == ("called", 1.5, 4.5)
    assert gpu_cells.layer_row(bare, [])["cuDNN / ours graph"] is None


def test_what_fails_or_is_late_is_a_row() -> None:
    def fail() -> dict[str, Any]:
        raise RuntimeError("too many blocks\nmore")

    def jobs() -> Iterator[tuple[str, Callable[[], dict[str, Any]]]]:
        yield "first", lambda: {"n": 1}
        yield "second", fail
        yield "third", lambda: time.sleep(0.3) or {"n": 3}  # type: ignore[func-returns-value]
        yield "fourth", lambda: {"n": 4}

    rows = list(gpu_cells.until(time.monotonic() + 0.2, jobs()))
    assert rows == [
        {"n": 1},
        {"failure": "second: too many blocks"},
        {"n": 3},
        {"left out": "1 rows for want of time: fourth"},
    ]


def test_turns_are_timed_on_the_processor_without_graphs() -> None:
    def fail() -> None:
        raise RuntimeError("cannot")

    called, graphs, reasons = gpu_cells.timings([lambda: None, fail], "cpu", repeats=1)
    assert called[0] is not None and called[0] >= 0
    assert (called[1], graphs, reasons) == (None, [None, None], ["cannot"])
    assert len(gpu_cells.ceilings("cpu", 8, 64)) == 3


def test_every_layer_is_warmed_at_few_steps_of_the_same_divisibility() -> None:
    jobs = gpu_cells.warm_jobs()
    assert {shape.time for _, shape, _, _ in jobs} == {5, 16}
    assert {shape[1:] for _, shape, _, _ in jobs} == {shape[1:] for shape in gpu_cells.SHAPES}


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
def test_both_directions_are_those_of_torch(cell: str, assert_close: Callable[..., None]) -> None:
    turns = gpu_cells.direction_turns(cell, Shape(5, 3, 8), choose("auto", "fp32", "cpu"), "fp32", "cpu")
    ours, theirs = turns["both"](), turns["torch.nn both"]()
    for left, right in zip(ours, theirs, strict=True):  # type: ignore[call-overload]
        assert_close(left, right, "float32")
    assert len(turns["backwards"]()) == len(turns["forwards"]()) == 5  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("task", "unequal"),
    [("language model", False), *((task, one) for task in ("translation", "classification") for one in (False, True))],
)
def test_both_sides_of_a_training_step_are_one_model(task: str, unequal: bool) -> None:
    sizes = gpu_steps.Sizes(8, 3, 6, 300, unequal)
    pair = gpu_steps.TASKS[task][0](sizes, choose("auto", "fp32", "cpu"), "cpu")
    ours, theirs = (sum(value.numel() for value in one) for one in (pair.our_parameters, pair.their_parameters))
    assert ours == theirs
    turns = pair.turns()
    losses = [[float(turn()) for _ in range(4)] for turn in turns]  # type: ignore[arg-type]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    assert losses[0][-1] < losses[0][0]


def test_a_row_of_steps_has_both_losses() -> None:
    row = gpu_steps.step_row("language model", gpu_steps.Sizes(8, 3, 5, 300), "cpu")
    assert row["first loss"] == row["torch.nn's"]
    assert row["ours called"] > 0
    assert row["ours graph"] is None


def test_every_cell_option_way_and_type_is_checked() -> None:
    cases = gpu_check.cases(("a", "b"))
    for kind in gpu_check.TYPES:
        for cell, made in CELLS.items():
            for option in gpu_check.OPTIONS:
                ways = [one.way for one in cases if (one.cell, one.option, one.kind) == (cell, option, kind)]
                assert sorted(ways) == (["scan"] if made.parallel else ["a", "b"])
    assert len({one.cell for one in cases[:40]}) == len(CELLS), "a short run is a sample"
    assert {one.kind for one in cases[-len(cases) // 3 :]} == {"fp16"}
    assert {(one.shape, one.reverse) for one in cases} == {
        (shape, reverse) for shape in gpu_check.SHAPES for reverse in (False, True)
    }


def test_a_layer_in_single_precision_is_near_and_a_wrong_one_is_not() -> None:
    case = gpu_check.Case("gru", "all", (4, 3, 5, 7), False, "any", "fp32")
    layer = gpu_check.draw_layer(case.cell, case.option, case.shape)
    expected = gpu_check.expected_of(case)
    found = gpu_check.results(unroll, "gru", layer, torch.float32)
    assert gpu_check.difference(found, expected, "fp32") < 1e-5
    found[0] = found[0] + 0.1
    assert gpu_check.difference(found, expected, "fp32") > 1e-2
    for kind in ("fp32", "bf16"):
        found[0][0, 0, 0] = float("nan")
        assert gpu_check.difference(found, expected, kind) == float("inf")


def in_single_precision(case: gpu_check.Case, spoil: Callable[[Any], None] = lambda layer: None) -> list[torch.Tensor]:
    """What a kernel without a fault might find: the loop that rounds, with sums in fp32."""
    drawn = gpu_check.draw_layer(case.cell, case.option, case.shape)
    layer = {**drawn, "inputs": drawn["inputs"].clone()}
    spoil(layer)
    loop = partial(gpu_check.rounded_module().rounded_unroll, operands=gpu_check.TYPES[case.kind], reverse=case.reverse)
    return gpu_check.results(partial(loop, rounds_gates=case.way == "persistent"), case.cell, layer, torch.float32)


@pytest.mark.parametrize("way", ["rows", "persistent"])
@pytest.mark.parametrize("kind", ["bf16", "fp16"])
@pytest.mark.parametrize(("cell", "option"), [("rnn", "plain"), ("lstm", "normalised"), ("rnn-relu", "masks")])
def test_sums_that_round_the_other_way_are_no_fault(cell: str, option: str, kind: str, way: str) -> None:
    case = gpu_check.Case(cell, option, gpu_check.SHAPES[1], True, way, kind)
    found, expected = in_single_precision(case), gpu_check.expected_of(case)
    assert gpu_check.difference(found, expected, "fp32") > 1e-4, "the largest difference would call it one"
    assert gpu_check.difference(found, expected, kind) < gpu_check.tolerance(case)


def read_another_step(layer: dict[str, Any]) -> None:
    layer["inputs"][2, 1] = layer["inputs"][3, 1]


def lose_the_bias(layer: dict[str, Any]) -> None:
    layer["weights"] = layer["weights"]._replace(bias_hh=0 * layer["weights"].bias_hh)


def swap_gates_of_a_tile(layer: dict[str, Any]) -> None:
    weight = layer["weights"].weight_hh.clone()
    size = weight.shape[1]
    weight[:16], weight[size : size + 16] = weight[size : size + 16].clone(), weight[:16].clone()
    layer["weights"] = layer["weights"]._replace(weight_hh=weight)


@pytest.mark.parametrize("spoil", [read_another_step, lose_the_bias, swap_gates_of_a_tile])
@pytest.mark.parametrize("kind", ["bf16", "fp16"])
@pytest.mark.parametrize(("cell", "option"), [("lstm", "plain"), ("gru", "all")])
def test_faults_in_16_bits_are_seen(cell: str, option: str, kind: str, spoil: Callable[[Any], None]) -> None:
    case = gpu_check.Case(cell, option, gpu_check.SHAPES[1], False, "rows", kind)
    found, expected = in_single_precision(case, spoil), gpu_check.expected_of(case)
    assert gpu_check.difference(found, expected, kind) > gpu_check.tolerance(case)


def test_the_check_is_summed_up_and_what_is_wrong_is_named() -> None:
    right, wrong, refused, failed, half, grown = (
        gpu_check.Case(cell, "plain", (1, 2, 3, 4), False, "rows", kind)
        for cell, kind in (
            *(("lstm", "fp32"), ("gru", "fp32"), ("rnn", "fp32")),
            *(("rnn", "bf16"), ("gru", "bf16"), ("rnn-relu", "bf16")),
        )
    )
    found = [
        gpu_check.Result(right, 1e-6),
        gpu_check.Result(wrong, 0.5),
        gpu_check.Result(refused, refused="it cannot"),
        gpu_check.Result(failed, failed="it broke"),
        gpu_check.Result(half, 0.02),
        gpu_check.Result(grown, 0.02),
    ]
    rows = list(gpu_check.summarise(found, 8, 1.0))
    tables = {(row["operands"], row["allowed"]): row for row in rows if "table" in row}
    single, plain, relu = (tables[key] for key in (("fp32", "1e-04"), ("bf16", "1e-02"), ("bf16", "5e-02")))
    assert (single["cases"], single["wrong"], single["refused"]) == (3, 1, 1)
    assert (single["worst"], single["of the"]) == ("5.0e-01", "largest value")
    assert (plain["cases"], plain["wrong"], plain["of the"]) == (2, 2, "norm")
    assert (relu["cases"], relu["wrong"]) == (1, 0)
    assert [row["failure"].split(":")[1] for row in rows if "failure" in row] == [
        " differs by 5.0e-01 of the largest value",
        " it broke",
        " differs by 2.0e-02 of the norm",
    ]
    assert {"left out": "2 of 8 cases for want of time"} in rows


def test_training_runs_are_left_out_with_the_reason(tmp_path: Path) -> None:
    rows = list(gpu_runs.train(time.monotonic() + 500, None, tmp_path))
    assert [row["left out"].rpartition(": ")[2] for row in rows] == 3 * ["there is no folder shared/data"]
    (row, *_) = gpu_runs.train(time.monotonic() + 500, tmp_path, tmp_path)
    assert row["left out"].endswith("lacks tinyshakespeare/input.txt")
    for training in gpu_runs.TRAININGS.values():
        for file in training.files:
            (tmp_path / file).parent.mkdir(exist_ok=True)
            (tmp_path / file).write_text("text\n")
    rows = list(gpu_runs.train(time.monotonic() + 10, tmp_path, tmp_path))
    assert all("seconds are left for it" in row["left out"] for row in rows)
    words = gpu_runs.training_words(gpu_runs.TRAININGS["multi30k"], tmp_path, tmp_path / "run", 30)
    assert words[:4] == ["train", "translation", "--source", str(tmp_path / "multi30k/train.en")]
    assert words[words.index("--minutes") + 1] == "0.500"


def test_what_commands_write_becomes_rows() -> None:
    valid = {"loss": 1.23456, "perplexity": None, "signature": "s"}
    written = json.dumps({"seconds": 1.0, "steps": 2, "tokens_per_second": 3.0, "valid": valid})
    row = gpu_runs.training_row("name", 45.0, written, "lstm 1x2 | random seed 1\nstep 1\n")
    assert (row["validation"], row["model"], row["tokens/s"]) == ("loss 1.2346", "lstm 1x2 | random seed 1", 3.0)
    (score,) = gpu_runs.score_rows("name", [{"name": "bleu", "unit": "corpus", "value": 30.0, "signature": "s"}])
    assert (score["score"], score["value"]) == ("bleu", 30.0)


def test_weights_are_compared_to_the_last_bit(tmp_path: Path) -> None:
    one = {"a": np.ones((2, 3), np.float32), "b": np.arange(3, dtype=np.uint8)}
    other = {**one, "a": one["a"] + np.float32(2**-23)}
    for name, tensors in (("one", one), ("same", one), ("other", other)):
        write_tensors(tmp_path / name, {"format": 1, "step": 7}, tensors)
    assert gpu_runs.compare(tmp_path / "one", tmp_path / "same") == {
        "tensors": 2,
        "same bits": True,
        "largest difference": 0.0,
    }
    found = gpu_runs.compare(tmp_path / "one", tmp_path / "other")
    assert (found["same bits"], found["largest difference"]) == (False, 2**-23)
    assert gpu_runs.saved_step(tmp_path / "one") == 7
    assert gpu_runs.saved_step(tmp_path / "none") is None


def test_a_run_is_waited_for_until_it_is_saved_or_has_ended(tmp_path: Path) -> None:
    write_tensors(tmp_path / "saved", {"format": 1, "step": 7}, {})
    waits = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], text=True)
    begun = time.monotonic()
    gpu_runs.wait_for_step(waits, tmp_path / "saved", 7, begun + 60)
    gpu_runs.wait_for_step(waits, tmp_path / "saved", 8, begun + 0.1)
    waits.kill()
    gpu_runs.wait_for_step(waits, tmp_path / "none", 1, begun + 60)
    assert waits.wait() and time.monotonic() - begun < 30


def test_a_command_that_fails_says_why() -> None:
    with pytest.raises(RuntimeError, match=r"exit status 1: error: .*no such model"):
        gpu_runs.finish(gpu_runs.start(["evaluate", "-m", "/nowhere/at/all"]), time.monotonic() + 60)


def test_texts_and_tables_are_trained_on_without_a_library_of_data_sets(tmp_path: Path) -> None:
    lines = [f"the cat number {number} sat on the mat" for number in range(60)]
    (tmp_path / "text.txt").write_text("\n".join(lines))
    (tmp_path / "pairs.tsv").write_text("".join(f"{line}\t{line[::-1]}\n" for line in lines))
    labels = (f"{'good' if place % 2 else 'bad'}\t{line}\n" for place, line in enumerate(lines))
    (tmp_path / "labels.tsv").write_text("label\ttext\n" + "".join(labels))
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    words = [sys.executable, "-c", TRAIN_BARE]
    done = subprocess.run(words, capture_output=True, text=True, cwd=tmp_path, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[]"
    for task in ("lm", "translation", "sentiment"):
        assert (tmp_path / task / "model.safetensors").exists()
