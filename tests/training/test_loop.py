"""The loop: it counts, averages, stops, and goes back where a loss is not finite."""

from __future__ import annotations

import json
import math
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from nlpseq.errors import Interrupted, OptionError, RunError
from nlpseq.training.loop import Run
from nlpseq.training.options import TrainingOptions
from nlpseq.training.progress import Progress
from nlpseq.training.run_folder import RunFolder
from nlpseq.training.signals import stopping_on_signals
from tests.kernels.replayed import StandInRecorder


class Bowl:
    """A task of one weight that shall become 3; `spoil` says at which batch the loss is what number."""

    def __init__(self, spoil: Callable[[int], float | None] = lambda batch: None) -> None:
        self.parameters: dict[str, Tensor] = {"weight": torch.zeros(2, 2, requires_grad=True)}
        self.generator = torch.Generator().manual_seed(1)
        self.depths: dict[str, int] = {}
        self.unit, self.criterion = "token", ""
        self.most_passes: float | None = None
        self.validation_cost = 1e-3  # steps
        self.worst_loss = 1e9
        self.loss_weight = 1.0
        self.planned = (0, 0)
        self.spoil = spoil
        self.batches = 0
        self.calls = 0
        self.settled = 0
        self.started: list[int] = []
        self.validations: list[float] = []

    def steps_in_epoch(self) -> int:
        return 7

    def rate_scales(self, fraction: float) -> tuple[float, ...]:
        return (1.0,)

    def start_step(self, step: int) -> None:
        self.started.append(step)

    def next_batch(self) -> tuple[tuple[Tensor, ...], int]:
        self.batches += 1
        self.calls += 1
        spoiled = self.spoil(self.calls)
        noise = torch.rand((), generator=self.generator)
        return (noise, torch.tensor(1.0 if spoiled is None else spoiled)), 4

    def batch_loss(self, *batch: Tensor) -> Tensor:
        noise, factor = batch
        loss = (self.parameters["weight"] - 3).square().sum() + 0.1 * noise * self.parameters["weight"].sum()
        return loss * factor

    def loss_of_first(self, count: int, *batch: Tensor) -> Tensor:
        return self.batch_loss(*batch)

    def settle(self) -> None:
        self.settled += 1

    def selection_score(self) -> float | None:
        return None

    def validate(self) -> float:
        self.validations.append(float((self.parameters["weight"].detach() - 3).square().sum()))
        return self.validations[-1]

    def final_seconds(self, validation_seconds: float) -> float:
        return 0.0

    def validation_steps(self, total: int) -> float:
        return self.validation_cost

    def plan(self, total: int, validations: int) -> None:
        self.planned = (total, validations)

    def save(self, path: Path, step: int, loss: float) -> None:
        path.write_text(f"{step} {loss}")

    def arrays(self) -> dict[str, np.ndarray]:
        return {"batches": np.array(self.batches)}

    def restore(self, arrays: Mapping[str, np.ndarray]) -> None:
        self.batches = int(arrays["batches"])


WAY: dict[str, Any] = {}


@pytest.fixture(params=[False, True], ids=["read at once", "read late"], autouse=True)
def _way(request: pytest.FixtureRequest) -> None:
    """Every test runs as on the CPU, and as on a GPU: numbers read a step late, steps replayed."""
    WAY.clear()
    WAY.update(late=request.param)


def _run(task: Bowl, path: Path, *, resume: bool = False, further: bool = False, **given: Any) -> Run:
    settings = {"optimiser": "sgd", "learning_rate": 0.1, "weight_decay": 0.0, "clip": 1e9, "warm_up": 0, **given}
    folder = RunFolder(path)
    folder.open(resume=resume, overwrite=False)
    recorder = StandInRecorder([(2,)]) if WAY["late"] else None
    run = Run(task, TrainingOptions(**settings), folder, recorder=recorder, **WAY)
    if resume:
        run.resume(further=further)
    return run


def test_a_run_goes_to_its_last_step_and_learns(tmp_path: Path) -> None:
    run = _run(Bowl(), tmp_path, steps=50, validations=5)
    records = list(run.progress())
    assert [record.step for record in records] == list(range(1, 51))
    assert [record.step for record in records if record.validation is not None] == [10, 20, 30, 40, 50]
    assert records[-1].loss < 0.1 * records[0].loss
    assert records[-1].seconds_left == 0


def test_epochs_are_passes_over_the_corpus(tmp_path: Path) -> None:
    assert len(list(_run(Bowl(), tmp_path / "a", epochs=3.0).progress())) == 21
    assert len(list(_run(Bowl(), tmp_path / "b", epochs=0.5).progress())) == 4
    assert len(list(_run(Bowl(), tmp_path / "c", epochs=3.0, accumulate=2).progress())) == 11


def test_minutes_become_a_number_of_steps(tmp_path: Path) -> None:
    run = _run(Bowl(), tmp_path, minutes=0.5 / 60, validations=2)
    records = list(run.progress())
    assert records[0].total is None
    assert records[-1].total == records[-1].step == run.counters.total
    assert records[-1].validation is not None
    assert records[-1].rate < 0.1 * max(record.rate for record in records), "it ends annealed"


def test_more_minutes_than_passes_leave_it_at_those(tmp_path: Path) -> None:
    task = Bowl()
    task.most_passes = 3.5
    records = list(_run(task, tmp_path, minutes=10, anneal=0.1).progress())
    late = int(WAY["late"])  # then the number of steps is known one record sooner
    assert [record.total for record in records[18 - late : 21 - late]] == [None, 25, 25]
    assert records[-1].step == 25


def test_steps_that_were_timed_at_the_wrong_rate_are_taken_again(tmp_path: Path) -> None:
    task, plain = Bowl(), Bowl()
    task.most_passes = 3.5
    records = list(_run(task, tmp_path / "minutes", minutes=10, anneal=0.9).progress())
    (back,) = [index for index, record in enumerate(records) if record.note]
    again = [(record.step, record.loss, record.rate) for record in records[back + 1 :]]
    expected = list(_run(plain, tmp_path / "steps", steps=25, anneal=0.9).progress())
    assert again == [(record.step, record.loss, record.rate) for record in expected]


def test_accumulated_batches_make_one_step_of_their_mean(tmp_path: Path) -> None:
    task = Bowl()
    run = _run(task, tmp_path, steps=1, accumulate=3, anneal=0.0)
    (record,) = run.progress()
    assert (task.batches, record.tokens) == (3, 12)
    generator = torch.Generator().manual_seed(1)
    noise = sum(float(torch.rand((), generator=generator)) for _ in range(3)) / 3
    grad = (2 * (0 - 3) + 0.1 * noise) / 4
    assert task.parameters["weight"][0, 0].item() == pytest.approx(-0.1 * grad, rel=1e-5)
    assert record.loss == pytest.approx(36 / 4), "the loss is per token"
    assert record.gradient_norm == pytest.approx(abs(2 * grad), rel=1e-5)


def test_validation_sees_the_average_and_training_the_weights(tmp_path: Path) -> None:
    task = Bowl()
    run = _run(task, tmp_path, steps=3, validations=3, average=0.9, anneal=0.0)
    average, decay = torch.zeros(2, 2), 0.0
    for record in run.progress():
        decay = min(0.9, record.step / (record.step + 10))
        average = decay * average + (1 - decay) * task.parameters["weight"].detach()
        assert task.validations[-1] == pytest.approx(float((average - 3).square().sum()), rel=1e-5)
    assert not torch.allclose(average, task.parameters["weight"])


def test_weights_are_averaged_once_validations_bring_no_better_model(tmp_path: Path) -> None:
    task, losses = Bowl(), iter([5.0, 3.0, 4.0, 4.0, 3.5, 3.4, 2.0, 1.0])
    seen: list[Tensor] = []
    task.validate = lambda: seen.append(task.parameters["weight"].detach().clone()) or next(losses)  # type: ignore[func-returns-value, method-assign]
    run = _run(task, tmp_path, steps=8, validations=8, average_after=2, anneal=0.0)
    weights, notes = [], []
    for record in run.progress():
        if record.note:
            notes.append((record.step, record.note))
            continue
        weights.append(task.parameters["weight"].detach().clone())
        averaged = weights[4:] or weights[-1:]
        assert torch.allclose(seen[-1], torch.stack(averaged).mean(0), rtol=1e-5)
    assert notes == [(4, "validations bring no better model: the weights are averaged from now on")]
    assert not torch.allclose(seen[-1], weights[-1])
    run.folder.release()
    again = _run(Bowl(), tmp_path, resume=True, steps=8, validations=8, average_after=2, anneal=0.0)
    assert again.counters.averaged_from == 4
    assert torch.equal(again.state.averages["weight"], run.state.averages["weight"])


def test_a_moving_average_and_one_of_all_steps_exclude_each_other() -> None:
    with pytest.raises(OptionError, match="average and average_after"):
        TrainingOptions(average=0.9, average_after=3)


@pytest.mark.parametrize(("validations", "after"), [(None, 8), (3, 8), (20, 20)])
def test_averaging_after_more_validations_than_there_are_is_refused(validations: int | None, after: int) -> None:
    with pytest.raises(OptionError, match=f"must be below the number of validations, .* was {after}"):
        TrainingOptions(validations=validations, average_after=after)
    TrainingOptions(validations=validations, average_after=after - 1)


def test_the_best_model_is_kept(tmp_path: Path) -> None:
    task = Bowl()
    values = iter([5.0, 3.0, 4.0, 2.5, 9.0])
    task.validate = lambda: next(values)  # type: ignore[method-assign]
    records = [r for r in _run(task, tmp_path, steps=5, validations=5).progress() if r.validation is not None]
    assert [record.best for record in records] == [True, True, False, True, False]
    assert (tmp_path / "model.safetensors").read_text() == "4 2.5"
    history = [json.loads(line) for line in (tmp_path / "history.jsonl").read_text().splitlines()]
    assert [row["valid_loss"] for row in history if "valid_loss" in row] == [record.validation for record in records]
    steps = [(row["step"], row["train_loss"], row["rate"]) for row in history if "train_loss" in row]
    assert steps == [(record.step, record.loss, record.rate) for record in records]


def test_whoever_has_a_model_can_go_on_from_it(tmp_path: Path) -> None:
    run = _run(Bowl(), tmp_path, steps=9, validations=3, save_every=100)
    for record in run.progress():
        assert (tmp_path / "resume.safetensors").exists() == (record.step > 3)


def test_the_best_model_may_be_chosen_by_another_score(tmp_path: Path) -> None:
    task = Bowl()
    losses, scores = iter([5.0, 3.0, 4.0, 2.5]), iter([10.0, 30.0, 40.0, 35.0])
    task.validate = lambda: next(losses)  # type: ignore[method-assign]
    task.selection_score = lambda: next(scores)  # type: ignore[method-assign]
    run = _run(task, tmp_path, steps=4, validations=4)
    records = [r for r in run.progress() if r.validation is not None]
    assert [(record.score, record.best) for record in records] == [(10, True), (30, True), (40, True), (35, False)]
    assert (tmp_path / "model.safetensors").read_text() == "3 4.0" and run.counters.best_loss == 4.0


def test_patience_ends_a_run_that_makes_no_progress(tmp_path: Path) -> None:
    task = Bowl()
    values = iter([5.0, 3.0, 4.0, 3.0, 9.0, 1.0])
    task.validate = lambda: next(values)  # type: ignore[method-assign]
    records = list(_run(task, tmp_path, steps=6, validations=6, patience=3).progress())
    assert records[-1].step == 5


def test_a_loss_that_is_not_finite_is_rolled_back_and_retried_at_half_the_rate(tmp_path: Path) -> None:
    task = Bowl(lambda call: math.nan if call == 8 else None)
    run = _run(task, tmp_path, steps=12, save_every=5, validations=1, anneal=0.0)
    records = list(run.progress())
    notes = [record for record in records if record.note]
    assert len(notes) == 1
    assert "step 7" in notes[0].note
    assert "back to step 5" in notes[0].note
    assert [r.step for r in records if not r.note] == [1, 2, 3, 4, 5, 6, 7, 6, 7, 8, 9, 10, 11, 12]
    assert [r.rate for r in records if not r.note] == pytest.approx([0.1] * 7 + [0.05] * 7)
    assert all(torch.isfinite(value).all() for value in task.parameters.values())
    assert task.batches == 12, "the place in the data went back, too"


def test_a_roll_back_does_not_depend_on_the_time(tmp_path: Path) -> None:
    task = Bowl(lambda call: math.nan if call == 8 else None)
    notes = [record.note for record in _run(task, tmp_path, steps=12, validations=4).progress() if record.note]
    assert "back to step 6" in notes[0], "the last validation"


def test_what_is_run_again_after_a_rollback_is_what_a_run_at_that_rate_does(tmp_path: Path) -> None:
    spoiled, plain = Bowl(lambda call: math.inf if call == 1 else None), Bowl()
    for task, rate, name in ((spoiled, 0.1, "a"), (plain, 0.05, "b")):
        list(_run(task, tmp_path / name, steps=9, learning_rate=rate).progress())
    assert torch.equal(spoiled.parameters["weight"], plain.parameters["weight"])


def test_a_gradient_that_is_not_finite_updates_nothing(tmp_path: Path) -> None:
    task = Bowl()
    seen: list[Tensor] = []
    plain = task.batch_loss

    def batch_loss(*batch: Tensor) -> Tensor:
        loss = plain(*batch)
        if task.calls == 3:
            loss = loss + 0 * (task.parameters["weight"] - task.parameters["weight"].detach()).sum().sqrt()
        seen.append(task.parameters["weight"].detach().clone())
        return loss

    task.batch_loss = batch_loss  # type: ignore[method-assign]
    notes = [record.note for record in _run(task, tmp_path, steps=5).progress() if record.note]
    assert len(notes) == 1
    assert all(torch.isfinite(value).all() for value in seen)


def test_a_run_whose_validation_is_far_worse_than_chance_has_diverged(tmp_path: Path) -> None:
    task = Bowl()
    task.worst_loss = 1.0
    run = _run(task, tmp_path, steps=1, learning_rate=1e-6)
    with pytest.raises(RunError, match="has diverged: the validation loss was 36 at step 1, 4 times") as refused:
        list(run.progress())
    assert refused.value.hint == "--resume --learning-rate 6.25e-08"
    assert not task.parameters["weight"].any(), "it is left as it was at the start"
    assert run.folder.load_resume()[0]["step"] == 0


def test_further_steps_that_diverge_leave_the_run_as_it_was(tmp_path: Path) -> None:
    task = Bowl()
    list(_run(task, tmp_path, steps=9).progress())
    before = task.parameters["weight"].clone()
    task.worst_loss = -1.0
    with pytest.raises(RunError, match="has diverged"):
        again = _run(task, tmp_path, resume=True, steps=12, further=True)
        list(again.progress())
    assert torch.equal(task.parameters["weight"], before)


def test_a_run_that_diverges_puts_back_the_run_that_it_replaced(tmp_path: Path) -> None:
    list(_run(Bowl(), tmp_path, steps=9).progress())
    old = RunFolder(tmp_path)
    old.open(resume=False, overwrite=True)
    old.begin({"asked": {}})
    task = Bowl(lambda call: math.nan)
    settings = TrainingOptions(optimiser="sgd", learning_rate=0.1, steps=3)
    with pytest.raises(RunError) as refused:
        list(Run(task, settings, old, recorder=StandInRecorder([(2,)]) if WAY["late"] else None, **WAY).progress())
    assert refused.value.hint.startswith("--overwrite --learning-rate ")
    assert old.load_resume()[0]["step"] == 9
    assert (tmp_path / "model.safetensors").read_text().startswith("9 ")


def test_a_loss_that_stays_not_finite_ends_the_run_and_says_so(tmp_path: Path) -> None:
    task = Bowl(lambda call: math.nan if call > 3 else None)
    records: list[Progress] = []
    with pytest.raises(RunError, match="non-finite at step 3, 4 times") as ended:
        records.extend(_run(task, tmp_path, steps=12, save_every=1).progress())
    assert ended.value.hint.startswith("--resume --learning-rate ")
    assert 0 < float(ended.value.hint.split()[-1]) <= 0.1 / 8


def test_a_validation_that_is_not_finite_is_rolled_back_and_saves_nothing(tmp_path: Path) -> None:
    task = Bowl()
    plain = task.validate
    task.validate = lambda: math.nan if len(task.validations) == 1 and plain() else plain()  # type: ignore[method-assign]
    records = list(_run(task, tmp_path, steps=6, validations=3, save_every=1).progress())
    notes = [record.note for record in records if record.note]
    assert len(notes) == 1 and "non-finite at step 4" in notes[0]
    assert records[-1].step == 6
    assert "nan" not in (tmp_path / "history.jsonl").read_text().lower()


def test_a_signal_between_accumulated_batches_drops_the_step(tmp_path: Path) -> None:
    task = Bowl()
    run = _run(task, tmp_path, steps=3, accumulate=5)
    plain = task.next_batch

    def next_batch() -> tuple[tuple[Tensor, ...], int]:
        if task.calls == 7:
            run.signal_number = signal.SIGTERM
        return plain()

    task.next_batch = next_batch  # type: ignore[method-assign]
    with pytest.raises(Interrupted):
        list(run.progress())
    assert task.calls == 8
    again = Bowl()
    list(_run(again, tmp_path, resume=True, steps=3, accumulate=5).progress())
    whole = Bowl()
    list(_run(whole, tmp_path / "whole", steps=3, accumulate=5).progress())
    assert torch.equal(again.parameters["weight"], whole.parameters["weight"])


def _interrupt(run: Run, at: int) -> None:
    with pytest.raises(Interrupted) as came:
        for record in run.progress():
            if record.step == at:
                run.signal_number = signal.SIGTERM
    assert came.value.signal_number == signal.SIGTERM


@pytest.mark.parametrize("optimiser", ["adamw", "adam", "sgd", "rmsprop"])
def test_a_run_in_two_halves_is_the_same_run(optimiser: str, tmp_path: Path) -> None:
    settings = {"optimiser": optimiser, "steps": 20, "average": 0.9, "learning_rate": 0.03}
    whole = Bowl()
    list(_run(whole, tmp_path / "whole", **settings).progress())
    first, second = Bowl(), Bowl()
    _interrupt(_run(first, tmp_path / "halves", **settings), 9)
    run = _run(second, tmp_path / "halves", resume=True, **settings)
    assert run.step == 9
    records = list(run.progress())
    assert records[0].step == 10
    assert torch.equal(second.parameters["weight"], whole.parameters["weight"])


def test_a_signal_lets_the_step_in_hand_end_and_a_second_one_does_not_wait(tmp_path: Path) -> None:
    run = _run(Bowl(), tmp_path, steps=20)
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(Interrupted), stopping_on_signals(run):
        for record in run.progress():
            if record.step == 3:
                signal.raise_signal(signal.SIGTERM)
    assert run.step == 3
    assert signal.getsignal(signal.SIGTERM) == before
    with pytest.raises(Interrupted), stopping_on_signals(run):
        signal.raise_signal(signal.SIGINT)


def test_a_step_that_cannot_be_recorded_is_said_once(tmp_path: Path) -> None:
    if not WAY["late"]:
        pytest.skip("nothing is recorded on the CPU")
    run = _run(Bowl(), tmp_path, steps=6)

    def refuse(body: Callable[[], tuple[Tensor, ...]]) -> Any:
        raise RuntimeError("operation not permitted")

    run.step_taker.replay.recorder.record = refuse  # type: ignore[attr-defined]
    notes = [record.note for record in run.progress() if record.note]
    assert notes == ["steps are launched kernel by kernel, which is slower: operation not permitted"]


@pytest.mark.parametrize(("fitting", "hint"), [(64, "--overwrite --batch-size 64"), (0, "--overwrite --hidden-size")])
def test_a_batch_that_does_not_fit_is_refused_with_one_that_does(fitting: int, hint: str, tmp_path: Path) -> None:
    task = Bowl()
    if not WAY["late"]:
        pytest.skip("the CPU's memory is virtual")

    def batch_loss(*batch: Tensor) -> Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory")

    def loss_of_first(count: int, *batch: Tensor) -> Tensor:
        if count > fitting:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return task.parameters["weight"].sum()

    task.next_batch = lambda: ((torch.zeros(3, 512),), 9)  # type: ignore[method-assign]
    task.batch_loss = batch_loss  # type: ignore[method-assign]
    task.loss_of_first = loss_of_first  # type: ignore[method-assign]
    with pytest.raises(RunError, match="a batch of 512 sequences does not fit the GPU's memory") as refused:
        list(_run(task, tmp_path, steps=2).progress())
    assert refused.value.hint.startswith(hint)


def test_a_lost_device_leaves_a_run_that_can_be_resumed(tmp_path: Path) -> None:
    task = Bowl()
    plain = task.next_batch

    def lost() -> tuple[tuple[Tensor, ...], int]:
        if task.calls == 5:
            raise torch.AcceleratorError("CUDA error: unspecified launch failure\nmore lines")
        return plain()

    task.next_batch = lost  # type: ignore[method-assign]
    with pytest.raises(RunError, match=r"the GPU failed: CUDA error: unspecified launch failure$"):
        list(_run(task, tmp_path, steps=9, save_every=2).progress())
    again, whole = Bowl(), Bowl()
    list(_run(again, tmp_path, resume=True, steps=9, save_every=2).progress())
    list(_run(whole, tmp_path / "whole", steps=9, save_every=2).progress())
    assert torch.equal(again.parameters["weight"], whole.parameters["weight"])
