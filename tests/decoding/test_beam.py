"""The beam against brute force, and what becomes of hypotheses that end."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from nlpseq.decoding.beam import BeamOptions, length_divisor, search
from nlpseq.errors import OptionError
from nlpseq.native.output import summarised

END = 0


class Table:
    """A model whose next token depends on the whole text so far: log-probabilities drawn by its hash."""

    def __init__(self, size: int, texts: int, width: int, seed: int = 0) -> None:
        self.size, self.seed = size, seed
        self.width = width
        self.texts = list(range(texts))
        self.read: list[tuple[int, ...]] = [()] * texts * width
        self.most = 0

    def after(self, text: int, read: tuple[int, ...]) -> NDArray[np.float64]:
        logits = 2 * np.random.default_rng([self.seed, text, *read]).standard_normal(self.size)
        return np.asarray(logits - np.log(np.exp(logits).sum()))

    def step(self, ids: NDArray[np.int64], wanted: NDArray[np.int64]) -> Any:
        assert len(ids) == len(self.texts) * self.width
        self.most = max(self.most, len(ids))
        self.read = [(*read, int(one)) for read, one in zip(self.read, ids, strict=True)]
        return summarised(np.array([self.after(self.texts[row // self.width], self.read[row]) for row in wanted]) + 3)

    def select(self, texts: NDArray[np.int64], rows: NDArray[np.int64]) -> None:
        self.texts = [self.texts[one] for one in texts]
        self.read = [self.read[one] for one in rows]


def every_text(table: Table, text: int, limit: int, penalty: float) -> list[tuple[float, list[int]]]:
    """Every text of at most `limit` tokens with its score, best first."""
    found = []
    for length in range(limit + 1):
        for tokens in product(range(1, table.size), repeat=length):
            read, total = (END,), 0.0
            for token in (*tokens, END):
                total += table.after(text, read)[token]
                read = (*read, token)
            found.append((total / length_divisor(length + 1, penalty), list(tokens)))
    return sorted(found, key=lambda one: -one[0])


@pytest.mark.parametrize("penalty", [0.0, 0.6, 1.0])
@pytest.mark.parametrize("limit", [0, 1, 3])
def test_a_beam_as_wide_as_there_are_texts_finds_the_best(limit: int, penalty: float) -> None:
    size, width = 4, 4**4
    table = Table(size, 3, width)
    best = search(table, [limit] * 3, END, END, BeamOptions(beam=width, length_penalty=penalty, n_best=2))
    for text, found in enumerate(best):
        wanted = every_text(table, text, limit, penalty)
        assert [one.tokens for one in found] == [tokens for _, tokens in wanted[:2]]
        assert [one.score for one in found] == pytest.approx([score for score, _ in wanted[:2]])


@pytest.mark.parametrize("seed", range(5))
def test_a_beam_of_one_is_greedy(seed: int) -> None:
    limit = 12
    (found,) = search(Table(7, 1, 1, seed), [limit], END, END, BeamOptions(beam=1))[0]
    table, read, total = Table(7, 1, 1, seed), (END,), 0.0
    while len(read) <= limit:
        likely = table.after(0, read)
        total += likely.max()
        read = (*read, int(likely.argmax()))
        if read[-1] == END:
            break
    else:
        total += table.after(0, read)[END]
    assert found.tokens == [one for one in read if one != END]
    assert found.log_probability == pytest.approx(total)


def test_texts_beside_each_other_change_nothing_and_finished_ones_leave() -> None:
    options, limits = BeamOptions(beam=3, n_best=3), [2, 9, 5, 0]
    table = Table(6, 4, 3)
    together = search(table, limits, END, END, options)
    for text, limit in enumerate(limits):
        alone = Table(6, 1, 3)
        alone.texts = [text]
        assert search(alone, [limit], END, END, options) == [together[text]]
    assert table.most == 12 and len(table.texts) == 0


def _lengths(found: Sequence[Any]) -> list[int]:
    return [len(best[0].tokens) for best in found]


def test_a_higher_penalty_gives_no_shorter_texts() -> None:
    texts = 20
    lengths = [
        sum(_lengths(search(Table(5, texts, 4), [10] * texts, END, END, BeamOptions(beam=4, length_penalty=penalty))))
        for penalty in (0.0, 0.5, 2.0)
    ]
    assert lengths == sorted(lengths) and lengths[0] < lengths[-1]


def test_more_texts_than_the_beam_holds_are_refused() -> None:
    with pytest.raises(OptionError, match="n_best: must be at most the beam, 2, was 3"):
        BeamOptions(beam=2, n_best=3)


class Circle(Table):
    """A model that says the same two tokens for ever, but for one that would end if it were let."""

    def after(self, text: int, read: tuple[int, ...]) -> NDArray[np.float64]:
        logits = np.full(self.size, -9.0)
        logits[1 + len(read) % 2] = 0.0
        if text == 1 and len(read) > 3:
            logits[END] = -3.0
        return np.asarray(logits - np.log(np.exp(logits).sum()))


@pytest.mark.parametrize("width", [1, 3])
def test_a_text_that_goes_round_in_circles_is_cut_to_one_round(width: int) -> None:
    first, second = search(Circle(5, 2, width), [200, 200], END, END, BeamOptions(beam=width))
    assert (first[0].tokens, first[0].cut) == ([2, 1], True) if width == 1 else not first[0].tokens[2:] or first
    assert len(first[0].tokens) < 20
    if width == 3:
        assert not second[0].cut


def test_a_text_whose_source_goes_round_may_do_so_too() -> None:
    (found,) = search(Circle(5, 1, 1), [60], END, END, BeamOptions(beam=1), [True])
    assert found[0].tokens == [2, 1] * 30 and found[0].cut


@pytest.mark.parametrize("shortest", [0, 2, 3])
def test_no_text_is_shorter_than_it_may_be(shortest: int) -> None:
    limit, width = 3, 4**4
    options = BeamOptions(beam=width, n_best=3, shortest=shortest)
    table = Table(4, 2, width)
    for text, found in enumerate(search(table, [limit] * 2, END, END, options)):
        wanted = [tokens for _, tokens in every_text(table, text, limit, 1.0) if len(tokens) >= shortest]
        assert [one.tokens for one in found] == wanted[:3]


def test_lengths_that_exclude_each_other_are_refused() -> None:
    with pytest.raises(OptionError, match="longest: must be at least the shortest, 9, was 3"):
        BeamOptions(shortest=9, longest=3)


class Covering(Table):
    """A model whose hypotheses have covered the less, the longer they are."""

    def coverage(self) -> NDArray[np.float64]:
        return np.array([-float(len(read)) for read in self.read])


def test_the_coverage_penalty_is_taken_off_where_a_text_ends() -> None:
    width, limit = 4**4, 3
    plain = search(Covering(4, 1, width), [limit], END, END, BeamOptions(beam=width, n_best=9))[0]
    found = search(Covering(4, 1, width), [limit], END, END, BeamOptions(beam=width, n_best=9, coverage_penalty=0.5))[0]
    wanted = sorted(((one.score - 0.5 * (len(one.tokens) + 1), one.tokens) for one in _all(width, limit)), reverse=True)
    assert [one.tokens for one in found] == [tokens for _, tokens in wanted[:9]]
    assert [one.score for one in found] == pytest.approx([score for score, _ in wanted[:9]])
    assert plain != found


def _all(width: int, limit: int) -> list[Any]:
    return search(Covering(4, 1, width), [limit], END, END, BeamOptions(beam=width, n_best=width))[0]
