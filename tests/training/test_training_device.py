"""Training on a device that is not the CPU, without one.

A whole step is traced with parameters on torch's `meta` device: an operation that mixes them with a tensor of the host,
reads a value or has a shape that depends on data fails there. And runs on the CPU take the GPU's way: steps that are
recorded and replayed, read late, at fixed shapes; they must find the same losses as the usual way.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from nlpseq.cells import unroll as plain_unroll
from nlpseq.kernels.choice import Choice
from nlpseq.kernels.masks import draw_mask, draw_normal, make_generator, restore_generator, start_step
from nlpseq.models.model_file import load_model
from nlpseq.training.data.feed import Feed, rounded_up
from nlpseq.training.loop import Run
from nlpseq.training.optimisers import Updates
from nlpseq.training.step import DeviceStep, Plan
from nlpseq.training.tasks.classification import ClassificationRun
from nlpseq.training.tasks.language_model import LanguageModelRun
from nlpseq.training.tasks.translation import TranslationRun
from tests.kernels.replayed import StandInRecorder
from tests.training.tasks import test_classification_run, test_language_model_run, test_translation_run

META = Choice(plain_unroll, torch.float32, "a trace", torch.device("meta"), plain_unroll)
REQUESTS = {
    "language model": (LanguageModelRun, test_language_model_run.make_request),
    "classifier": (ClassificationRun, test_classification_run.make_request),
    "translator": (TranslationRun, test_translation_run.make_request),
}
NOISE = {"dropout": 0.2, "embedding_dropout": 0.1, "input_dropout": 0.1, "weight_drop": 0.1, "average": 0.9}
CASES: list[tuple[str, dict[str, Any]]] = [
    ("language model", {"model": {"cell": "lstm", "zoneout": 0.1, "layer_normalisation": True}}),
    (
        "language model",
        {"model": {"cell": "gru", "reset_before": True, "tied": True, "ngrams": 3}, "softmax": "sampled"},
    ),
    ("language model", {"model": {"cell": "minlstm", "zoneout": 0.0}, "weight_drop": 0.0}),
    ("classifier", {"model": {"pooling": "max,mean,last,attention", "evidence": 2, "ngrams": 2}}),
    ("classifier", {"adversarial": 1.0, "class_weights": "balanced", "label_smoothing": 0.1}),
    ("classifier", {"virtual_adversarial": 1.0, "model": {"cell": "rnn", "bidirectional": False}}),
    ("translator", {"model": {"attention": "additive", "tied": False, "encoder_layers": 2}}),
    ("translator", {"label_smoothing": 0.1, "model": {"cell": "lstm", "zoneout": 0.1}}),
]


class _OneDevice(TorchDispatchMode):
    """Fails where an operation is given a tensor of the host, but for single numbers."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        for value in tree_leaves((args, kwargs)):
            if isinstance(value, Tensor) and value.device.type == "cpu" and value.ndim:
                raise AssertionError(f"{func} is given a tensor of the host: {tuple(value.shape)}")
        made = func(*args, **(kwargs or {}))
        for value in tree_leaves(made):
            if isinstance(value, Tensor) and value.device.type == "cpu":
                raise AssertionError(f"{func} makes a tensor of the host: {tuple(value.shape)}")
        return made


def _prepared(kind: str, folder: Path, settings: dict[str, Any]) -> Any:
    make, request = REQUESTS[kind]
    return make(request(folder, **{**NOISE, "steps": 6, **settings}))


@pytest.mark.parametrize(("kind", "settings"), CASES)
def test_a_whole_step_stays_on_its_device(kind: str, settings: dict[str, Any], tmp_path: Path) -> None:
    run = _prepared(kind, tmp_path / "run", settings)
    run.choice = META
    task = run.make_task(None)
    updates = Updates("rmsprop", task.parameters, None, 0.1, 1.0, task.depths)
    averages = {name: value.detach().clone() for name, value in task.parameters.items()}
    taker = DeviceStep(task, updates, averages, 1, task.feed.place)
    task.start_step(0)
    batch, count = task.next_batch()
    settings = taker.settings(Plan(0, 1.0, task.rate_scales(0.0), 0.9), count, count)
    assert all(value.is_meta for value in (*batch, settings))
    with _OneDevice():
        (numbers,) = taker.replay(*batch, settings)
        task.loss_of_first(2, *batch)
    assert numbers.is_meta and numbers.shape == (2,)
    assert all(value.grad is not None and value.grad.is_meta for value in task.parameters.values())
    assert not any(value.grad.is_sparse for value in task.parameters.values()), "their sizes would depend on data"


@pytest.mark.parametrize(("kind", "settings"), CASES)
def test_the_way_of_a_gpu_finds_the_same_losses(
    kind: str, settings: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    losses, weights = [], []
    for name, late in (("host", False), ("device", True)):
        run = _prepared(kind, tmp_path / name, {"optimiser": "sgd", "learning_rate": 0.5, **settings})
        recorder = StandInRecorder([(2,)]) if late else None
        run.run = Run(run.task, run.training, run.folder, late=late, recorder=recorder)
        losses.append([record.loss for record in run.progress()])
        run.finish()
        weights.append(load_model(tmp_path / name).weights)
        if recorder is not None:
            assert sum(graph.replays for graph in recorder.graphs) >= 1
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    for name, value in weights[0].items():
        assert np.allclose(value, weights[1][name], atol=1e-4), name


def test_a_run_read_late_resumes_to_the_same_bits(tmp_path: Path) -> None:
    found = []
    for name, stop in (("whole", None), ("resumed", 7)):
        for resume in (False, True) if stop else (False,):
            request = test_language_model_run.make_request(tmp_path / name, **NOISE, steps=14, save_every=3)
            run = LanguageModelRun(request if not resume else _resuming(request))
            run.run = Run(run.task, run.training, run.folder, late=True, recorder=StandInRecorder([(2,)]))
            if resume:
                run.run.resume()
            for record in run.progress():
                if not resume and record.step == stop:
                    break
        found.append({name: value.copy() for name, value in run.task.weights().items()})
    assert all(np.array_equal(value, found[1][name]) for name, value in found[0].items())


def _resuming(request: Any) -> Any:
    from dataclasses import replace

    return replace(request, resume=True)


def test_lengths_are_rounded_up_by_about_a_sixteenth() -> None:
    whole = np.arange(1, 2000)
    rounded = np.array([rounded_up(int(length)) for length in whole])
    assert (rounded >= whole).all() and (rounded % 8 == 0).all()
    assert [rounded_up(length) for length in (1, 8, 9, 128, 129, 144, 1000)] == [8, 8, 16, 128, 144, 144, 1024]
    assert ((rounded - whole)[64:] / whole[64:]).max() < 1 / 8
    assert len(set(rounded[:1000])) <= 48, "few shapes"


def test_arrays_reach_a_device_padded_and_the_cpu_as_they_are() -> None:
    ids = np.arange(18).reshape(9, 2)
    assert Feed(torch.device("cpu")).token_ids(ids).tolist() == ids.tolist()
    far = Feed(torch.device("meta")).token_ids(ids)
    assert far.is_meta and far.shape == (16, 2)


def test_noise_of_a_device_is_drawn_there() -> None:
    generator, meta = make_generator(torch.device("meta"), 3), torch.device("meta")
    assert draw_mask((4, 5), 0.5, generator, meta).is_meta
    assert draw_normal((4, 5), generator, meta).is_meta


def test_the_generator_of_the_cpu_goes_on_and_only_its_own_state_is_restored() -> None:
    generator = make_generator(torch.device("cpu"), 3)
    state = generator.get_state()
    start_step(generator, 3, 17)
    assert torch.equal(generator.get_state(), state)
    restore_generator(generator, np.zeros(16, np.uint8))  # a GPU's
    assert torch.equal(generator.get_state(), state)
    torch.rand(3, generator=generator)
    restore_generator(generator, state.numpy())
    assert torch.equal(generator.get_state(), state)
