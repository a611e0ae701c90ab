"""Texts made on a device, in blocks, against the same texts as the CPU makes them token by token."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from nlpseq.cells import CELLS
from nlpseq.decoding.device import generation as device_generation
from nlpseq.decoding.device import prompts as device_prompts
from nlpseq.decoding.device.generation import BLOCK, DeviceEngine, filled_up
from nlpseq.decoding.device.steps import BatchedSteps
from nlpseq.decoding.generation import GenerationOptions, Generator, Group
from nlpseq.decoding.sampling import SamplingOptions
from nlpseq.device import in_halves, on_device
from nlpseq.errors import BackendError
from nlpseq.models import language_model
from nlpseq.models.language_model import LanguageModelOptions
from nlpseq.models.options import options_for

MakeModel = Callable[..., Path]
PROMPTS = ["", "the cat sat", "ö猫", "x" * 300, "\udcff\x00", "a", "the"]
LENGTH = 2 * BLOCK + 5


def _generator(path: Path, device: str, *, sampling: dict[str, Any] | None = None, **settings: Any) -> Generator:
    generation = GenerationOptions(**{"random_seed": 5, "length": LENGTH, **settings})
    return Generator.load(path, SamplingOptions(**sampling or {}), generation, device)


def _made(groups: Iterator[Group], *, at_once: bool = False) -> list[Any]:
    found = []
    for group in groups:
        for _ in group.grow(at_once=at_once):
            pass
        texts = [made.text for made in group.texts]
        found += [(text.take(), text.tokens, pytest.approx(text.log_probability)) for text in texts]
    return found


def _both(path: Path, prompts: Sequence[str], **settings: Any) -> tuple[list[Any], list[Any]]:
    """The texts that a device and the CPU make for prompts."""
    generators = [_generator(path, device, **settings) for device in ("torch:cpu", "cpu")]
    device, host = (_made(generator.continue_each(prompts)) for generator in generators)
    return device, host


@pytest.mark.parametrize("cell", CELLS)
def test_a_device_makes_the_same_texts_with_every_cell(make_model: MakeModel, cell: str) -> None:
    device, host = _both(make_model(**options_for(cell)), PROMPTS)
    assert device == host
    assert len(host) == len(PROMPTS)


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        ("byte", {"ngrams": 3, "ngram_buckets": 64}),
        ("word", {"ngrams": 4, "ngram_buckets": 64, "layer_normalisation": True}),
        ("bpe", {"tied": True, "zoneout": 0.1}),
        ("char", {"layer_normalisation": True, "layers": 1}),
    ],
)
def test_a_device_makes_the_same_texts_with_every_tokeniser(
    make_model: MakeModel, kind: str, settings: dict[str, Any]
) -> None:
    device, host = _both(make_model(kind, **settings), PROMPTS)
    assert device == host


@pytest.mark.parametrize(
    "sampling",
    [
        {"temperature": 0},
        {"temperature": 1, "top_k": 20, "top_p": 0.9},
        {"min_p": 0.02, "repetition_penalty": 1.4},
        {"repetition_penalty": 2, "repetition_window": 4, "temperature": 0},
    ],
    ids=str,
)
def test_every_way_to_draw_is_the_same_on_a_device(model_path: Path, sampling: dict[str, Any]) -> None:
    device, host = _both(model_path, PROMPTS, sampling=sampling)
    assert device == host


def test_stop_strings_cut_a_text_inside_a_block(model_path: Path) -> None:
    for stops in (["\n"], ["e", "t "]):
        device, host = _both(model_path, PROMPTS * 3, stop=stops, length=100)
        assert device == host
        assert len({tokens for _, tokens, _ in host}) > 3


def test_texts_are_made_in_several_groups(model_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DeviceEngine, "side_by_side", 3)
    monkeypatch.setattr(device_prompts, "TOKENS_AT_ONCE", 16)
    monkeypatch.setattr(device_prompts, "STEPS", 100)
    device, host = _both(model_path, PROMPTS)
    assert device == host


def test_a_sample_does_not_depend_on_those_beside_it(model_path: Path) -> None:
    several, alone = (_generator(model_path, "torch:cpu") for _ in range(2))
    host = _generator(model_path, "cpu")
    first = _made(several.samples("the ", 70))
    assert _made(alone.samples("the ", 1), at_once=True) == first[:1]
    assert _made(host.samples("the ", 70)) == first


def test_a_saved_state_goes_on_on_either_side(make_model: MakeModel, tmp_path: Path) -> None:
    path = make_model("char", ngrams=3, ngram_buckets=64, cell="gru")
    greedy = {"temperature": 0}
    whole = _generator(path, "cpu", sampling=greedy, length=30)
    ((expected, *_),) = _made(whole.samples("the cat", 1))
    for first_device, second_device in (("torch:cpu", "cpu"), ("cpu", "torch:cpu")):
        first = _generator(path, first_device, sampling=greedy, length=11)
        (group,) = first.samples("the cat", 1)
        (made,) = group.finish()
        group.save(tmp_path / "state")
        second = _generator(path, second_device, sampling=greedy, length=19)
        second.resume(tmp_path / "state")
        ((rest, *_),) = _made(second.samples("", 1))
        assert made.text.take() + rest == expected


def test_a_model_may_be_on_its_device_already(model_path: Path, tmp_path: Path) -> None:
    model, options = language_model.load(model_path)
    placed = dataclasses.replace(model, weights=dict(on_device(model.weights, "torch:cpu")))
    settings = SamplingOptions(), GenerationOptions(random_seed=5, length=20)
    host, device = Generator(model, options, *settings), Generator(placed, options, *settings)
    assert _made(device.continue_each(PROMPTS)) == _made(host.continue_each(PROMPTS))
    stream = Generator(placed, options, *settings).stream("the")
    assert "".join(stream) == "".join(Generator(model, options, *settings).stream("the"))
    stream.save(tmp_path / "state")
    for generator in (host, device):
        generator.resume(tmp_path / "state")
        generator.texts = 0
    assert _made(device.samples("", 1)) == _made(host.samples("", 1))


class Repeating:
    """A recorder whose graphs run the function again, on the same places in memory."""

    def __init__(self) -> None:
        self.recorded = self.replayed = 0

    def record(self, body: Callable[[], tuple[torch.Tensor, ...]]) -> tuple[Repeating.Graph, tuple[torch.Tensor, ...]]:
        self.recorded += 1
        results = tuple(torch.zeros_like(one) for one in body())
        return self.Graph(self, body, results), results

    class Graph:
        def __init__(self, owner: Repeating, body: Callable[[], Any], results: Sequence[torch.Tensor]) -> None:
            self.owner, self.body, self.results = owner, body, results

        def replay(self) -> None:
            self.owner.replayed += 1
            for place, value in zip(self.results, self.body(), strict=True):
                place.copy_(value)


def test_replayed_blocks_are_as_those_that_run(make_model: MakeModel) -> None:
    path = make_model("word", ngrams=3, ngram_buckets=64)
    sampling = {"repetition_penalty": 1.3, "top_p": 0.95}
    generator = _generator(path, "torch:cpu", sampling=sampling, length=5 * BLOCK)
    recorder = Repeating()
    weights = on_device(generator.model.weights, "torch:cpu")
    engine = generator.engine
    assert isinstance(engine, DeviceEngine)
    engine.steps = BatchedSteps(weights, generator.options, generator.sampling, recorder)
    host = _generator(path, "cpu", sampling=sampling, length=5 * BLOCK)
    assert _made(generator.continue_each(PROMPTS)) == _made(host.continue_each(PROMPTS))
    assert (recorder.recorded, recorder.replayed) == (1, 4)


class OnlyThere(TorchDispatchMode):
    """Lets no operation take or make a tensor that is elsewhere than on a device; on `meta` none can be read at all."""

    def __torch_dispatch__(self, operation: Any, types: Any, given: Any = (), settings: Any = None) -> Any:
        made = operation(*given, **(settings or {}))
        tensors = [one for one in tree_leaves((given, settings, made)) if isinstance(one, torch.Tensor)]
        assert all(one.device.type == "meta" for one in tensors), operation
        return made


@pytest.mark.parametrize("cell", CELLS)
def test_a_block_takes_nothing_from_the_host(cell: str) -> None:
    parts = {"layers": 2, "ngrams": 3, "ngram_buckets": 64, "layer_normalisation": True, "zoneout": 0.1, "tied": True}
    options = LanguageModelOptions(hidden_size=8, embedding_size=6, **parts, **options_for(cell))
    weights = on_device(language_model.initial_weights(options, 50, 1), "torch:meta")
    sampling = SamplingOptions(top_k=9, top_p=0.9, min_p=0.1, repetition_penalty=1.2)
    steps = BatchedSteps(weights, options, sampling)
    state = language_model.flatten_state(language_model.begin(weights, options, 4)).values()
    numbers = torch.empty(3, 4, dtype=torch.float64, device="meta")
    recent = torch.empty(4, 5, dtype=torch.int64, device="meta")
    with OnlyThere():
        tokens, likely, _, *after = steps.block(numbers, recent, *state)
    assert tokens.shape == likely.shape == (3, 4)
    assert [one.shape for one in after] == [one.shape for one in state]


def test_texts_that_do_not_fit_are_made_in_halves(model_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = BatchedSteps.advance

    def advance(self: BatchedSteps, batch: Any, uniforms: np.ndarray) -> Any:
        if uniforms.shape[1] > 2:
            raise torch.OutOfMemoryError
        return plain(self, batch, uniforms)

    monkeypatch.setattr(BatchedSteps, "advance", advance)
    device, host = _both(model_path, PROMPTS, stop=["e"])
    assert device == host


def test_what_does_not_fit_at_all_is_said() -> None:
    def full(items: Sequence[int]) -> int:
        raise torch.OutOfMemoryError

    with pytest.raises(BackendError, match="does not hold a single text"):
        in_halves(full, [1, 2, 3])


def test_batches_have_few_sizes() -> None:
    sizes = {len(filled_up(range(size))) for size in range(1, 1025)}
    assert len(sizes) == 22
    assert max(sizes) == 1024
    assert filled_up([4, 9, 7]) == [4, 9, 7, 7]


def test_prompts_are_read_as_one_by_one(make_model: MakeModel) -> None:
    model, options = language_model.load(make_model("char", ngrams=4, ngram_buckets=64))
    weights = on_device(model.weights, "torch:cpu")
    order = random.Random(1)
    prompts = [np.array([order.randrange(200) for _ in range(length)]) for length in (5, 0, 1, 40, 2, 0, 9)]
    start = language_model.begin(weights, options, 1)
    found = language_model.flatten_state(device_prompts.read_prompts(weights, options, prompts, start))
    for place, ids in enumerate(prompts):
        state = language_model.begin(model.weights, options, 1)
        if len(ids):
            _, state = language_model.forward(model.weights, options, ids[:, None], state)
        for name, value in language_model.flatten_state(state).items():
            one = found[name][:, place] if name == "recent" else found[name][place]
            assert one.numpy() == pytest.approx(value[:, 0] if name == "recent" else value[0], abs=1e-6)


def test_cuda_without_a_gpu_is_refused(model_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(BackendError, match="cuda cannot be used"):
        _generator(model_path, "cuda")
    assert device_generation.SIDE_BY_SIDE == 1024
