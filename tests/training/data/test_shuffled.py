"""The order of training: each text once in a pass, the same again on resuming, however many texts there are."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from nlpseq.training.data.shuffled import GROUP, STRIDE, Shuffled

CHUNK = 4
IN_GROUP = GROUP * CHUNK  # texts
LIMITS = [(16, None), (None, 150), (8, 100)]


class Watched:
    """Lengths that remember which of them were read."""

    def __init__(self, lengths: NDArray[np.int64]) -> None:
        self.lengths = lengths
        self.read: list[int] = []

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, span: slice) -> NDArray[np.int64]:
        self.read += range(*span.indices(len(self)))
        return self.lengths[span]


def _lengths(count: int, seed: int = 1) -> NDArray[np.int64]:
    return np.random.default_rng(seed).integers(1, 40, count)


def _shuffled(count: int, limits: tuple[int | None, int | None]) -> Shuffled:
    return Shuffled(_lengths(count), limits[0], 7, batch_tokens=limits[1], ties=_lengths(count, 2), chunk=CHUNK)


def _pass(batches: Shuffled) -> list[list[int]]:
    """The batches of the pass that comes next."""
    found = [batches.next().tolist()]
    number = batches.passes
    while True:
        before = batches.passes, batches.position
        batch = batches.next().tolist()
        if batches.passes > number:
            batches.passes, batches.position = before
            return found
        found.append(batch)


def _by_hand(count: int, limits: tuple[int | None, int | None], passes: int) -> list[list[int]]:
    """The order of a pass over one group, one text at a time: runs that began long ago resume in it."""
    lengths, ties = _lengths(count), _lengths(count, 2)
    size, tokens = (limit or 10**9 for limit in limits)
    generator = np.random.default_rng([7, passes])
    order = generator.permutation(count).tolist()
    window = 32 * min(limits[0] or 64, count)
    batches: list[list[int]] = []
    for start in range(0, count, window):
        batches.append([])
        for text in sorted(order[start : start + window], key=lambda text: (lengths[text], ties[text])):
            larger = len(batches[-1]) + 1
            if batches[-1] and (larger > size or larger * lengths[text] > tokens):
                batches.append([])
            batches[-1].append(text)
    return [batches[index] for index in generator.permutation(len(batches))]


@pytest.mark.parametrize("count", [1, 5, 700, IN_GROUP])
@pytest.mark.parametrize("limits", LIMITS)
def test_one_group_has_the_order_that_it_always_had(count: int, limits: tuple[int | None, int | None]) -> None:
    batches = _shuffled(count, limits)
    for number in range(3):
        assert _pass(batches) == _by_hand(count, limits, number)
        assert batches.passes == number and batches.position == len(batches)


@pytest.mark.parametrize("count", [IN_GROUP + 1, 5 * IN_GROUP - 3])
@pytest.mark.parametrize("limits", LIMITS)
def test_several_groups_have_each_text_once_in_a_pass(count: int, limits: tuple[int | None, int | None]) -> None:
    batches, lengths = _shuffled(count, limits), _lengths(count)
    expected = len(batches)
    passes = [_pass(batches) for _ in range(3)]
    assert len(passes[0]) == expected == len(batches)
    for batch_list in passes:
        assert sorted(text for batch in batch_list for text in batch) == list(range(count))
        for batch in batch_list:
            assert len(batch) <= (limits[0] or count)
            assert limits[1] is None or len(batch) == 1 or max(lengths[batch]) * len(batch) <= limits[1]
    assert len({str(batch_list) for batch_list in passes}) == 3


def test_texts_of_all_parts_of_the_corpus_are_in_a_group_and_others_in_the_next_pass() -> None:
    count = 8 * IN_GROUP
    batches = _shuffled(count, (16, None))
    groups = []
    for _ in range(2):
        in_pass = _pass(batches)
        groups.append({text for batch in in_pass[: IN_GROUP // 16] for text in batch})
    for group in groups:
        assert len(group) == IN_GROUP
        assert np.histogram(list(group), 8, (0, count))[0].min() > IN_GROUP / 20
    assert len(groups[0] & groups[1]) < IN_GROUP / 4


def test_groups_are_of_one_size() -> None:
    batches = _shuffled(IN_GROUP + CHUNK, (16, None))
    sizes = {0: 0, 1: 0}
    for _ in range(len(batches)):
        sizes[batches.position // STRIDE] += 0
        texts = len(batches.next())
        sizes[batches.position // STRIDE] += texts
    assert sizes == {0: IN_GROUP // 2 + CHUNK, 1: IN_GROUP // 2}


@pytest.mark.parametrize("count", [700, 5 * IN_GROUP - 3])
def test_passes_and_position_are_all_that_is_needed_to_resume(count: int) -> None:
    batches = _shuffled(count, (8, 100))
    for _ in range(2 * len(batches) + 5):
        batches.next()
    again = _shuffled(count, (8, 100))
    again.passes, again.position = batches.passes, batches.position
    for _ in range(2 * len(batches)):
        assert np.array_equal(batches.next(), again.next())
        assert (again.passes, again.position) == (batches.passes, batches.position)


def test_resuming_reads_the_lengths_of_one_group() -> None:
    lengths = Watched(_lengths(8 * IN_GROUP))
    batches = Shuffled(lengths, 16, 7, chunk=CHUNK)
    assert lengths.read == []
    batches.passes, batches.position = 3, 5 * STRIDE + 2
    batches.next()
    assert len(lengths.read) == IN_GROUP
    for _ in range(IN_GROUP // 16 - 3):
        batches.next()
    assert len(lengths.read) == IN_GROUP
    batches.next()
    assert len(set(lengths.read)) == 2 * IN_GROUP
