"""The search on a device beside that on the host, where both compute exactly, so that ties are ties."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

from nlpseq.decoding.beam import BeamOptions, Hypothesis, search
from nlpseq.decoding.device.beam import DeviceBeam
from nlpseq.decoding.device.results import Finished, hypotheses
from nlpseq.decoding.device.search import run
from nlpseq.native.output import Logits, chunk_maxima

END = 0


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Tensors are so small here that threads cost more than they do."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


class Machine:
    """A model with few states: what follows depends on the text and the state, and is a quarter of a whole number."""

    def __init__(self, seed: int, texts: int, states: int, size: int, *, spread: int, impossible: float) -> None:
        generator = np.random.default_rng(seed)
        values = -generator.integers(0, spread, (texts, states, size)) / 4
        values[generator.random(values.shape) < impossible] = -np.inf
        self.values = values.astype(np.float32)
        self.states = states
        self.texts = texts

    def after(self, state: Any, ids: Any) -> Any:
        """The states after tokens."""
        return (state * 5 + ids + 1) % self.states


class OnHost:
    """A machine as `search` asks for it."""

    def __init__(self, machine: Machine, width: int) -> None:
        self.machine, self.width = machine, width
        self.text = np.arange(machine.texts).repeat(width)
        self.state = np.zeros(machine.texts * width, np.int64)

    def step(self, ids: NDArray[np.int64], wanted: NDArray[np.int64]) -> Logits:
        self.state = self.machine.after(self.state, ids)
        values = self.machine.values[self.text[wanted], self.state[wanted]]
        return Logits(values, chunk_maxima(values), np.zeros(len(wanted)))

    def select(self, texts: NDArray[np.int64], rows: NDArray[np.int64]) -> None:
        self.text, self.state = self.text[rows], self.state[rows]

    def coverage(self) -> NDArray[np.float32]:
        found: NDArray[np.float32] = (-self.state % 5 / 4).astype(np.float32)
        return found


class OnDevice:
    """A machine as `DeviceBeam` asks for it; texts of the batch beyond the machine's are the first one's."""

    def __init__(self, machine: Machine, texts: int, width: int) -> None:
        self.machine = machine
        text = np.arange(texts)
        self.text = torch.from_numpy(np.where(text < machine.texts, text, 0).repeat(width))
        self.values = torch.from_numpy(machine.values)
        self.state = torch.zeros(texts * width, dtype=torch.int64)
        self.fresh = self.state

    def step(self, ids: Tensor) -> Tensor:
        self.fresh = self.machine.after(self.state, ids)
        return self.values[self.text, self.fresh]

    def select(self, rows: Tensor) -> None:
        self.state.copy_(self.fresh[rows])

    def coverage(self) -> Tensor:
        return (-self.fresh % 5 / 4).float()


def _on_device(
    machine: Machine, limits: list[int], may_loop: list[bool], options: BeamOptions, spare: int = 0
) -> list[list[Hypothesis]]:
    texts = machine.texts + spare
    decoder = OnDevice(machine, texts, options.beam)
    beam = DeviceBeam(decoder, options, (texts, max(limits) + 2), (END, END), torch.zeros(1))
    beam.reset(limits, may_loop)
    return _hypotheses(beam, limits, max(limits) + 1)


def _hypotheses(beam: DeviceBeam, limits: list[int], most: int) -> list[list[Hypothesis]]:
    made, left = run(beam, (0, most), lambda one: one.step(one.last.clone()))
    assert not len(left)
    rows = np.arange(len(limits))
    return hypotheses([Finished(beam, rows, rows, made)], limits, beam.options)


def _both(machine: Machine, limits: list[int], may_loop: list[bool], options: BeamOptions, spare: int = 0) -> Any:
    wanted = search(OnHost(machine, options.beam), limits, END, END, options, may_loop)
    found = _on_device(machine, limits, may_loop, options, spare)
    assert found == wanted
    return found


@st.composite
def _searches(draw: Any) -> tuple[Machine, list[int], list[bool], BeamOptions, int]:
    texts, width = draw(st.integers(1, 4)), draw(st.sampled_from([1, 2, 3, 5, 12]))
    machine = Machine(
        draw(st.integers(0, 1 << 30)),
        texts,
        draw(st.sampled_from([1, 2, 3, 11])),
        draw(st.sampled_from([2, 3, 8, 33, 64, 130, 256])),
        spread=draw(st.sampled_from([1, 2, 4, 40])),
        impossible=draw(st.sampled_from([0.0, 0.2, 0.8])),
    )
    options = BeamOptions(
        beam=width,
        n_best=draw(st.integers(1, width)),
        length_penalty=draw(st.sampled_from([0.0, 0.6, 1.0, 3.0])),
        coverage_penalty=draw(st.sampled_from([0.0, 0.2, 1.0])),
        shortest=draw(st.sampled_from([0, 0, 1, 3, 18])),
    )
    limits = draw(st.lists(st.integers(0, 45), min_size=texts, max_size=texts))
    may_loop = draw(st.lists(st.booleans(), min_size=texts, max_size=texts))
    return machine, limits, may_loop, options, draw(st.integers(0, 2))


@given(_searches())
@settings(max_examples=150, deadline=None)
def test_the_device_finds_what_the_host_finds(one: tuple[Machine, list[int], list[bool], BeamOptions, int]) -> None:
    _both(*one)


@pytest.mark.parametrize("width", [1, 2, 5, 12])
@pytest.mark.parametrize("size", [2, 64, 270, 2048])
def test_equal_continuations_go_to_the_lowest_place(width: int, size: int) -> None:
    machine = Machine(1, 2, 3, size, spread=1, impossible=0.0)
    found = _both(machine, [5, 9], [True, True], BeamOptions(beam=width, n_best=width))
    assert all(one.log_probability == 0 for best in found for one in best)


@pytest.mark.parametrize("width", [1, 3])
def test_circles_are_given_up_and_cut_to_one_round(width: int) -> None:
    machine = Machine(0, 2, 1, 4, spread=1, impossible=0.0)
    machine.values[:] = [-50, -1, 0, -2]
    first, second = _both(machine, [40, 40], [False, True], BeamOptions(beam=width), 1)
    assert second[0].tokens == [2] * 40 and second[0].cut
    if width == 1:
        assert (first[0].tokens, first[0].cut) == ([2], True)


def test_a_text_of_which_nothing_is_possible_has_no_hypothesis() -> None:
    machine = Machine(0, 2, 2, 8, spread=2, impossible=0.0)
    machine.values[1] = -np.inf
    found = _both(machine, [6, 6], [False, False], BeamOptions(beam=2))
    assert found[0] and not found[1]


def test_hypotheses_that_are_none_may_have_any_values() -> None:
    """What is read behind a text's end may overflow."""
    machine = Machine(3, 1, 4, 16, spread=3, impossible=0.0)
    limits, options = [4], BeamOptions(beam=3, n_best=3)
    wanted = _on_device(machine, limits, [False], options)
    decoder = OnDevice(machine, 2, 3)
    whole = decoder.step

    def step(ids: Tensor) -> Tensor:
        values = whole(ids)
        values[3:] = torch.nan
        return values

    decoder.step = step  # type: ignore[method-assign]
    beam = DeviceBeam(decoder, options, (2, 8), (END, END), torch.zeros(1))
    beam.reset(limits, [False])
    assert _hypotheses(beam, limits, 5) == wanted


def test_the_host_looks_rarely_and_stops_when_all_is_done() -> None:
    machine = Machine(0, 1, 1, 4, spread=1, impossible=0.0)
    machine.values[:] = [0, -5, -9, -9]
    beam = DeviceBeam(OnDevice(machine, 1, 1), BeamOptions(beam=1), (1, 200), (END, END), torch.zeros(1))
    beam.reset([150], [False])
    assert run(beam, (0, 151), lambda one: one.step(one.last))[0] == 4
    beam.reset([1], [False])
    assert run(beam, (0, 2), lambda one: one.step(one.last))[0] == 2
