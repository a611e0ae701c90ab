"""Kneser-Ney against numbers worked out by hand, the equations as dictionaries, and KenLM."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nlpseq.evaluation.floors import kneser_ney
from nlpseq.evaluation.floors.kneser_ney import FALLBACK, KneserNey, discounts_of
from nlpseq.text.tokenisers import NEWLINE, train_tokeniser

WIKITEXT = (Path(__file__).parents[3] / "../shared/data/wikitext2").resolve()
VOCABULARY = 20
A, B, C, NEVER = 1, 2, 3, 4


def _model(tokens: Sequence[int], order: int) -> KneserNey:
    return KneserNey(np.array(tokens, np.uint8), VOCABULARY, order)


class Equations:
    """The definition, n-gram by n-gram."""

    def __init__(self, tokens: Sequence[int], order: int) -> None:
        text = [NEWLINE] * (order - 1) + [*tokens]
        self.counts: list[Counter[tuple[int, ...]]] = [Counter() for _ in range(order)]
        for end in range(order, len(text) + 1):
            self.counts[-1][tuple(text[end - order : end])] += 1
        for length in range(order - 1, 0, -1):
            self.counts[length - 1].update(ngram[1:] for ngram in self.counts[length])
        self.discounts = [self._discounts(counts.values()) for counts in self.counts]
        self.following = defaultdict[tuple[int, ...], list[tuple[int, int]]](list)
        for counts in self.counts:
            for ngram, count in counts.items():
                self.following[ngram[:-1]].append((ngram[-1], count))

    @staticmethod
    def _discounts(counts: Sequence[int]) -> list[float]:
        n = [0, *(list(counts).count(number) for number in (1, 2, 3, 4))]
        found = []
        if n[1] and n[2] and n[3]:
            ratio = n[1] / (n[1] + 2 * n[2])
            found = [number - (number + 1) * ratio * n[number + 1] / n[number] for number in (1, 2, 3)]
        right = bool(found) and all(0 < value <= number for number, value in enumerate(found, 1))
        return [0.0, *(found if right else (0.5, 1.0, 1.5))]

    def probability(self, context: tuple[int, ...], token: int) -> float:
        if len(context) == len(self.counts):
            context = context[1:]
        shorter = self.probability(context[1:], token) if context else 1 / VOCABULARY
        following = self.following.get(context, [])
        if not following:
            return shorter
        discounts = self.discounts[len(context)]
        taken = [discounts[min(3, count)] for _, count in following]
        own = sum(count - part for (other, count), part in zip(following, taken, strict=True) if other == token)
        total = sum(count for _, count in following)
        return own / total + sum(taken) / total * shorter


def test_a_text_worked_out_by_hand() -> None:
    """a b a b c: every count of counts of 3 is zero, so the discounts are 1/2, 1 and 3/2.

    After different tokens: a after 2, b after 1, c after 1, of 4 in all. Half of this is taken away and spread over the
    vocabulary of 20: p(a) = 1/4 + 1/40, p(b) = p(c) = 1/8 + 1/40, p(other) = 1/40.
    """
    model = _model([A, B, A, B, C], 2)
    assert model.fallback_orders == [1, 2]
    expected = [
        (NEWLINE, A, Fraction(1, 2) + Fraction(1, 2) * Fraction(11, 40)),
        (A, B, Fraction(1, 2) + Fraction(1, 2) * Fraction(6, 40)),
        (B, A, Fraction(1, 4) + Fraction(1, 2) * Fraction(11, 40)),
        (B, C, Fraction(1, 4) + Fraction(1, 2) * Fraction(6, 40)),
        (B, NEVER, Fraction(1, 2) * Fraction(1, 40)),
        (C, A, Fraction(11, 40)),  # nothing followed c
        (NEVER, NEVER, Fraction(1, 40)),
    ]
    for before, token, probability in expected:
        assert model.probabilities(np.array([token]), [before])[0] == pytest.approx(float(probability), rel=1e-14)
    nats = -sum(math.log(probability) for _, _, probability in expected[:2]) - math.log(expected[4][2])
    assert model.text_loss(np.array([A, B, NEVER])) == pytest.approx(nats, rel=1e-14)


def test_three_discounts_worked_out_by_hand() -> None:
    """Four tokens once, two twice, one three times, one four times: Y = 1/2, D = 1/2, 5/4, 1; 13/2 of 15 is taken."""
    model = _model([1, 2, 3, 4, 5, 5, 6, 6, 7, 7, 7, 8, 8, 8, 8], 1)
    assert not model.fallback_orders
    found = model.probabilities(np.array([1, 5, 7, 8, 9]))
    assert (found * 600).tolist() == pytest.approx([33, 43, 93, 133, 13], rel=1e-14)


@given(
    tokens=st.lists(st.sampled_from([A, B, C, NEWLINE]), min_size=1, max_size=60),
    read=st.lists(st.sampled_from([A, B, C, NEVER, NEWLINE]), min_size=1, max_size=12),
    order=st.integers(1, 5),
)
@settings(max_examples=150, deadline=None)
def test_it_is_what_the_equations_say(tokens: list[int], read: list[int], order: int) -> None:
    found = _model(tokens, order).probabilities(np.array(read))
    equations, text = Equations(tokens, order), [NEWLINE] * (order - 1) + read
    expected = [equations.probability(tuple(text[i : i + order - 1]), token) for i, token in enumerate(read)]
    assert found.tolist() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("order", [1, 2, 3, 5])
def test_probabilities_sum_to_one_after_any_context(order: int) -> None:
    generator = np.random.default_rng(order)
    tokens = generator.zipf(1.5, 3000) % 7
    model = _model(tokens.tolist(), order)
    assert order == 5 or model.fallback_orders in ([1], [1, 2])
    everything = np.arange(VOCABULARY)
    contexts = [[], [NEVER], *(tokens[i : i + 4].tolist() for i in range(0, 3000, 300)), [1, 19, 1, 2], [10] * 4]
    for context in contexts:
        found = [float(model.probabilities(np.array([token]), context)[0]) for token in everything]
        assert min(found) > 0 and sum(found) == pytest.approx(1, abs=1e-12)


def test_a_long_text_is_read_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    tokens = np.random.default_rng(1).integers(0, 6, 500)
    model, text = _model(tokens.tolist(), 4), tokens[::-1].copy()
    whole = model.text_loss(text)
    assert whole == pytest.approx(-np.log(model.probabilities(text)).sum(), rel=1e-12)
    monkeypatch.setattr(kneser_ney, "BLOCK", 7)
    assert model.text_loss(text) == pytest.approx(whole, rel=1e-12)


@pytest.mark.parametrize(
    "counts",
    [
        [],
        [1] * 9,
        [1, 1, 1, 3, 3],
        [2, 2, 3, 4],
        [1, 2, 3, 3, 3, 3],  # D(2) = 2 - 3 * 1/3 * 4 < 0
        [1, 2, 2, 3, 4, 4, 4, 4, 4],  # D(3) < 0
    ],
)
def test_counts_of_counts_that_give_no_discounts(counts: list[int]) -> None:
    found = discounts_of(np.array(counts, np.int64))
    assert found.fallback and found.values.tolist() == [0, *FALLBACK]


def test_wikitext_has_the_perplexity_that_kenlm_finds() -> None:
    """`lmplz -o 5` on the training text as one line, `<nl>` for a newline, gives 232.50 and 217.78 by `query -n`."""
    if not (WIKITEXT / "train.txt").exists():
        pytest.skip("WikiText-2 is not beside this checkout")
    texts = {name: (WIKITEXT / f"{name}.txt").read_text(encoding="utf-8") for name in ("train", "valid", "test")}
    tokeniser = train_tokeniser("word", texts["train"].splitlines(), 50_000)
    ids = {name: tokeniser.encode(text, exact=False) for name, text in texts.items()}
    model = KneserNey(ids["train"], tokeniser.size)
    assert not model.fallback_orders
    for name, kenlm in (("valid", 232.497), ("test", 217.780)):
        assert math.exp(model.text_loss(ids[name]) / len(ids[name])) == pytest.approx(kenlm, rel=1e-3)
