"""Translators that search on their device, beside the same ones on the host; and steps that are replayed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from nlpseq.cells import CELLS
from nlpseq.decoding.beam import BeamOptions, Hypothesis, search
from nlpseq.decoding.device import search as device_search
from nlpseq.decoding.device.batches import MOST_TEXTS, MOST_TOKENS, Capacity, batches, capacity_of, rounded_up
from nlpseq.decoding.device.search import DeviceSearch, Shape, Watch
from nlpseq.decoding.ensemble import Ensemble, Member
from nlpseq.decoding.sampling import SamplingOptions
from nlpseq.decoding.translation import Translations
from nlpseq.decoding.translation_options import Drawing
from nlpseq.device import on_device
from nlpseq.errors import BackendError
from nlpseq.models import translator
from nlpseq.models.options import options_for
from nlpseq.models.translator import TranslatorOptions
from nlpseq.text.tokenisers import NEWLINE, Tokeniser, train_tokeniser

LINES = ["abc", "a b c d e", "", "ccc " * 9, "cab", "abä " * 5]
FORBIDDEN = ("_local_scalar_dense", "nonzero", "lift_fresh", "masked_select", "_unique2", "set_")


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Tensors are so small here that threads cost more than they do."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def tokeniser() -> Tokeniser:
    return train_tokeniser("char", ["abc ä"] * 2, 270)


def _member(tokeniser: Tokeniser, seed: int, **options: Any) -> tuple[translator.Weights, TranslatorOptions]:
    made = TranslatorOptions(hidden_size=8, embedding_size=6, **options)
    weights = translator.initial_weights(made, tokeniser.size, seed)
    weights["output.bias"][NEWLINE] += 4
    return weights, made


def _sources(tokeniser: Tokeniser) -> list[np.ndarray]:
    return [translator.line_ids(tokeniser, line) for line in LINES if line]


def _assert_same(found: Sequence[Sequence[Hypothesis]], wanted: Sequence[Sequence[Hypothesis]]) -> None:
    for ours, theirs in zip(found, wanted, strict=True):
        assert [(one.tokens, one.cut) for one in ours] == [(one.tokens, one.cut) for one in theirs]
        for field in ("log_probability", "score"):
            pairs = [[getattr(one, field) for one in best] for best in (ours, theirs)]
            np.testing.assert_allclose(*pairs, atol=1e-4)


def _compare(
    tokeniser: Tokeniser,
    models: Sequence[tuple[translator.Weights, TranslatorOptions]],
    options: BeamOptions,
    recorder: Any = None,
    device: str = "torch:cpu",
    lines: Sequence[str] = LINES,
) -> Iterable[Shape]:
    """Search more than once on the device, for what is kept, and on the host; the shapes of the batches."""
    sources = [translator.line_ids(tokeniser, line) for line in lines if line]
    limits, may_loop = [2 * len(one) + 20 for one in sources], [place == 2 for place in range(len(sources))]
    host = Ensemble([Member(*one) for one in models], tokeniser)
    decoder = host.begin(sources, options.beam, coverage=options.coverage_penalty > 0)
    wanted = search(decoder, limits, NEWLINE, NEWLINE, options, may_loop)
    members = [Member(on_device(weights, device), made) for weights, made in models]
    found = DeviceSearch(members, options, recorder)
    for _ in range(2):
        _assert_same(found.search(sources, limits, may_loop), wanted)
    _assert_same(found.search(sources[::-1], limits[::-1], may_loop[::-1]), wanted[::-1])
    return found.beams


BEAMS = [
    BeamOptions(beam=1),
    BeamOptions(beam=2, n_best=2, length_penalty=0.0),
    BeamOptions(beam=5, n_best=3, coverage_penalty=0.2, shortest=4),
    BeamOptions(beam=12, n_best=12, length_penalty=2.0),
]


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("beam", BEAMS[1:3], ids=["2", "5"])
def test_every_cell_finds_what_it_finds_on_the_host(tokeniser: Tokeniser, cell: str, beam: BeamOptions) -> None:
    _compare(tokeniser, [_member(tokeniser, 5, **options_for(cell))], beam)


@pytest.mark.parametrize(
    "options",
    [
        {"attention": "additive", "layers": 3, "encoder_layers": 2},
        {"tied": False, "layer_normalisation": True},
        {"zoneout": 0.2, "cell": "lstm"},
    ],
    ids=str,
)
@pytest.mark.parametrize("beam", BEAMS, ids=["1", "2", "5", "12"])
def test_every_part_of_a_translator_finds_the_same(
    tokeniser: Tokeniser, options: dict[str, Any], beam: BeamOptions
) -> None:
    _compare(tokeniser, [_member(tokeniser, 3, **options)], beam)


@pytest.mark.parametrize("beam", BEAMS, ids=["1", "2", "5", "12"])
def test_two_members_are_the_mean_of_their_probabilities(tokeniser: Tokeniser, beam: BeamOptions) -> None:
    models = [_member(tokeniser, 1), _member(tokeniser, 2, attention="additive", cell="lstm", layers=3)]
    _compare(tokeniser, models, beam)


class _Tape(TorchDispatchMode):
    """Writes down the operations that run, and what they change that was there before."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[Any, Any, Any, Any]] = []
        self.before: dict[int, tuple[Tensor, Tensor]] = {}
        self.made: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = func.overloadpacket.__name__
        assert name not in FORBIDDEN, f"a graph cannot hold {name}"
        if name in ("index", "index_put_"):
            assert all(one is None or one.dtype == torch.int64 for one in args[1]), "a mask waits for the device"
        for place, one in zip(args, func._schema.arguments, strict=False):
            if one.alias_info is not None and one.alias_info.is_write:
                storage = place.untyped_storage().data_ptr()
                if storage not in self.made and storage not in self.before:
                    whole = torch.empty(0, dtype=place.dtype).set_(place.untyped_storage())
                    self.before[storage] = whole, whole.clone()
        result = func(*args, **kwargs)
        if not any(one.alias_info is not None for one in func._schema.returns):
            for made in result if isinstance(result, tuple | list) else (result,):
                self.made.add(made.untyped_storage().data_ptr())
        self.calls.append((func, args, kwargs, result))
        return result


class TapeGraph:
    """What was recorded, run again on the same tensors: no line of Python takes part."""

    def __init__(self, tape: _Tape) -> None:
        self.calls = tape.calls
        self.replays = 0

    def replay(self) -> None:
        self.replays += 1
        for func, args, kwargs, result in self.calls:
            returns = func._schema.returns
            if any(one.alias_info is not None and not one.alias_info.is_write for one in returns):
                continue  # a view of memory that stays where it is
            again = func(*args, **kwargs)
            if any(one.alias_info is not None for one in returns):
                continue  # it was changed in place
            both = ((again,), (result,)) if isinstance(again, Tensor) else (again, result)
            for new, old in zip(*both, strict=True):
                old.copy_(new)


class TapeRecorder:
    """Stands in for CUDA's recorder: recording leaves everything as it was."""

    def __init__(self) -> None:
        self.graphs: list[TapeGraph] = []

    def record(self, body: Callable[[], tuple[Tensor, ...]]) -> tuple[TapeGraph, tuple[Tensor, ...]]:
        tape = _Tape()
        with tape:
            results = body()
        for place, value in tape.before.values():
            place.copy_(value)
        self.graphs.append(TapeGraph(tape))
        return self.graphs[-1], results


@pytest.mark.parametrize("beam", BEAMS, ids=["1", "2", "5", "12"])
def test_replayed_steps_find_the_same(tokeniser: Tokeniser, beam: BeamOptions) -> None:
    recorder = TapeRecorder()
    _compare(tokeniser, [_member(tokeniser, 1), _member(tokeniser, 2, cell="lstm")], beam, recorder)
    (graph,) = recorder.graphs
    assert graph.replays > 10


@pytest.mark.parametrize("cell", CELLS)
def test_replayed_steps_of_every_cell_find_the_same(tokeniser: Tokeniser, cell: str) -> None:
    recorder = TapeRecorder()
    model = _member(tokeniser, 4, attention="additive", layer_normalisation=True, **options_for(cell))
    _compare(tokeniser, [model], BEAMS[2], recorder)
    assert len(recorder.graphs) == 1


@pytest.mark.parametrize("recorder", [None, TapeRecorder()], ids=["plain", "replayed"])
@pytest.mark.parametrize("beam", BEAMS, ids=["1", "2", "5", "12"])
def test_texts_that_are_left_move_to_smaller_beams(
    tokeniser: Tokeniser, beam: BeamOptions, recorder: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device_search, "FEWEST", 1)
    models = [_member(tokeniser, 1), _member(tokeniser, 2, cell="lstm")]
    for weights, _ in models:
        weights["output.bias"][NEWLINE] -= 4  # texts are long
    shapes = set(_compare(tokeniser, models, beam, recorder, lines=[*LINES, *"abcabc", "bca " * 9]))
    assert len({shape.texts for shape in shapes}) > 1


def test_a_stale_memory_would_be_noticed() -> None:
    """The stand-in tells a body that makes new memory in each call from one that changes its own."""
    recorder = TapeRecorder()
    held = {"sum": torch.zeros(1)}

    def stale() -> tuple[Tensor, ...]:
        held["sum"] = held["sum"] + 1
        return ()

    graph, _ = recorder.record(stale)
    graph.replay()
    graph.replay()
    assert held["sum"].item() == 1
    with pytest.raises(AssertionError, match="a graph cannot hold _local_scalar_dense"):
        recorder.record(lambda: (held["sum"] * held["sum"].item(),))


def _device(tokeniser: Tokeniser, beam: BeamOptions) -> DeviceSearch:
    weights, options = _member(tokeniser, 1)
    return DeviceSearch([Member(on_device(weights, "torch:cpu"), options)], beam)


def test_shapes_that_come_again_are_kept_and_too_many_are_given_back(
    tokeniser: Tokeniser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device_search, "MOST_SHAPES", 2)
    device, (source, *_) = _device(tokeniser, BeamOptions(beam=2)), _sources(tokeniser)
    kept = []
    for texts in (1, 2, 1, 3, 1):
        (first, *rest) = device.search([source] * texts, [20] * texts, [False] * texts)
        assert all(one == first for one in rest)
        kept.append(len(device.beams))
    assert kept == [1, 2, 2, 1, 2]


def test_what_does_not_fit_goes_in_halves_and_a_single_line_is_told(
    tokeniser: Tokeniser, monkeypatch: pytest.MonkeyPatch
) -> None:
    device, sources = _device(tokeniser, BeamOptions(beam=2)), _sources(tokeniser)
    limits, may_loop = [30] * len(sources), [False] * len(sources)
    wanted, tried = device.search(sources, limits, may_loop), []
    inner = DeviceSearch.search_batch

    def small(self: DeviceSearch, some: Any, *rest: Any) -> Any:
        tried.append(len(some))
        if len(some) > room:
            raise torch.OutOfMemoryError("too much")
        return inner(self, some, *rest)

    monkeypatch.setattr(DeviceSearch, "search_batch", small)
    room, before = 2, device.capacity
    _assert_same(device.search(sources, limits, may_loop), wanted)
    assert tried == [5, 2, 3, 1, 2]
    assert device.capacity == before.halved().halved()
    room = 0
    with pytest.raises(BackendError, match="the GPU's memory does not hold a single text"):
        device.search(sources[:1], limits[:1], may_loop[:1])


def test_what_fails_for_another_reason_is_not_tried_again(
    tokeniser: Tokeniser, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr(DeviceSearch, "search_batch", fail)
    sources = _sources(tokeniser)
    with pytest.raises(RuntimeError, match="broken"):
        _device(tokeniser, BeamOptions()).search(sources, [9] * len(sources), [False] * len(sources))


@pytest.mark.parametrize("texts", [1, 5, 700])
def test_batches_hold_every_text_once_and_no_more_than_there_is_room_for(texts: int) -> None:
    lengths = np.random.default_rng(1).integers(1, 90, texts)
    found = list(batches(lengths, lambda: Capacity(512, 40)))
    assert sorted(np.concatenate(found).tolist()) == list(range(texts))
    for group in found:
        assert len(group) <= 40
        assert len(group) == 1 or len(group) * rounded_up(int(lengths[group].max()), 8) <= 512
    assert all(rounded_up(len(group)) == len(group) for group in found[:-1])


def test_numbers_are_rounded_up_to_few() -> None:
    rounded = {rounded_up(one) for one in range(1, 4097)}
    assert len(rounded) == 44
    assert all(one <= rounded_up(one) <= 1.25 * one for one in range(1, 5000))
    assert [rounded_up(one, 8) for one in (1, 8, 9, 33, 70)] == [8, 8, 16, 40, 80]


def test_room_is_found_by_the_memory_that_is_free(tokeniser: Tokeniser) -> None:
    models = [_member(tokeniser, 1)]
    assert capacity_of(1 << 40, models, 5) == Capacity(MOST_TOKENS, MOST_TEXTS)
    little = capacity_of(1 << 22, models, 5)
    assert 1 < little.texts < MOST_TEXTS and 1 < little.tokens < MOST_TOKENS
    assert capacity_of(1 << 22, models * 2, 5).tokens <= little.tokens // 2
    assert capacity_of(0, models, 5) == Capacity(1, 1)


def test_a_look_off_a_gpu_is_at_once() -> None:
    alive = torch.ones(2, dtype=torch.bool)
    watch = Watch(alive)
    assert np.array_equal(watch.look(), [0, 1])  # type: ignore[arg-type]
    alive[0] = False
    assert np.array_equal(watch.look(), [1])  # type: ignore[arg-type]


def test_lines_of_any_kind_are_translated_as_on_the_host(tokeniser: Tokeniser) -> None:
    weights, options = _member(tokeniser, 1)
    lines = ["", "abc", "  ", "a" * 2500, "猫 😀", "b a" * 30, *("ab"[: one % 3] + "c" for one in range(40))]
    beam = BeamOptions(beam=3, n_best=2)
    found, wanted = (
        Translations(Ensemble([Member(one, options)], tokeniser), beam, align=True, on_device=place).translate(lines)
        for one, place in ((on_device(weights, "torch:cpu"), True), (weights, None))
    )
    for ours, theirs in zip(found, wanted, strict=True):
        assert [(one.text, one.cut) for one in ours] == [(one.text, one.cut) for one in theirs]
        for one, other in zip(ours, theirs, strict=True):
            assert abs(one.log_probability - other.log_probability) < 1e-4
            if other.alignment is not None:
                assert one.alignment is not None
                np.testing.assert_allclose(one.alignment.shares, other.alignment.shares, atol=1e-4)


def test_unknown_words_are_taken_over_and_texts_are_drawn_on_tensors_too() -> None:
    words = train_tokeniser("word", ["the cat sat here"] * 3, 300)
    weights, options = _member(words, 7)
    lines = ["the Bob sat", "here cat", ""]
    tensors, arrays = (Ensemble([Member(one, options)], words) for one in (on_device(weights, "torch:cpu"), weights))
    beam = BeamOptions(beam=2)
    made = [
        Translations(one, beam, replace_unknown=True, on_device=place).translate(lines)
        for one, place in ((tensors, True), (arrays, None))
    ]
    assert [[one.text for one in best] for best in made[0]] == [[one.text for one in best] for best in made[1]]
    drawing = Drawing(2, SamplingOptions(), 3)
    drawn = [Translations(one, beam, drawing, on_device=True) for one in (tensors, arrays)]
    assert all(one.device is None for one in drawn)
    first, second = ([[one.text for one in best] for best in each.translate(lines)] for each in drawn)
    assert first == second


def test_a_search_on_the_host_stays_there_unless_there_is_a_gpu(tokeniser: Tokeniser) -> None:
    weights, options = _member(tokeniser, 1)
    for one in (weights, on_device(weights, "torch:cpu")):
        assert Translations(Ensemble([Member(one, options)], tokeniser), BeamOptions()).device is None


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
@pytest.mark.parametrize("beam", BEAMS, ids=["1", "2", "5", "12"])
@pytest.mark.parametrize("cell", CELLS)
def test_a_gpu_finds_what_the_host_finds(tokeniser: Tokeniser, cell: str, beam: BeamOptions) -> None:
    _compare(tokeniser, [_member(tokeniser, 5, **options_for(cell)), _member(tokeniser, 2)], beam, device="cuda")
