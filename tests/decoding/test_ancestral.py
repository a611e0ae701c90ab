"""Drawn texts: by the model's own distribution, whatever is beside them."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest

from nlpseq.decoding.ancestral import draw
from nlpseq.decoding.sampling import Sampler, SamplingOptions
from tests.decoding.test_beam import END, Circle, Table, every_text

OPTIONS = SamplingOptions(temperature=1.0)


def _samplers(texts: int, width: int, options: SamplingOptions = OPTIONS) -> list[list[Sampler]]:
    return [[Sampler(options, f"{text}/{one}") for one in range(width)] for text in range(texts)]


def test_texts_are_drawn_as_often_as_they_are_likely() -> None:
    width, limit = 4000, 2
    table = Table(3, 1, width)
    drawn = draw(table, [limit], END, END, _samplers(1, width))[0]
    counts = Counter(tuple(one.tokens) for one in drawn)
    for score, tokens in every_text(Table(3, 1, 1), 0, limit, 0.0):
        if len(tokens) < limit:  # longer ones are ended by force
            assert counts[tuple(tokens)] / width == pytest.approx(np.exp(score), abs=0.03)
    assert all(one.cut == (len(one.tokens) == limit and one.cut) for one in drawn)


def test_what_is_drawn_for_a_text_is_the_same_beside_others() -> None:
    samplers: Any = _samplers(3, 2)
    together = draw(Table(6, 3, 2), [9, 2, 5], END, END, samplers)
    for text, limit in enumerate([9, 2, 5]):
        alone = Table(6, 1, 2)
        alone.texts = [text]
        assert draw(alone, [limit], END, END, [_samplers(3, 2)[text]]) == [together[text]]


def test_drawn_without_temperature_is_greedy_and_lengths_hold() -> None:
    cold = SamplingOptions(temperature=0)
    table = Table(5, 1, 1)
    (found,) = draw(table, [8], END, END, _samplers(1, 1, cold), shortest=6)[0]
    assert 6 <= len(found.tokens) <= 8
    (round_and_round,) = draw(Circle(5, 1, 1), [200], END, END, _samplers(1, 1, cold))[0]
    assert (round_and_round.tokens, round_and_round.cut) == ([2, 1], True)
