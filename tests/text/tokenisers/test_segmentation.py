"""Random segmentations: of the right frequencies, of the same text, and the same for the same seed."""

from __future__ import annotations

import base64
import random
from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from nlpseq.text.tokenisers import NEWLINE, NUM_BYTES, SubwordTokeniser, segmentation, train_tokeniser
from nlpseq.text.tokenisers.segmentation import CUTS, VARIANTS, Pieces, Segmentations, likeliest, merged
from nlpseq.text.tokenisers.subwords import SubwordModel

LINES = [
    "the cat sat on the mat , and the dog sat on the cat .",
    "Die Katze saß auf der Matte , und der Hund grüßte schön .",
    "猫坐在垫子上。狗坐在猫上。猫不高兴。",
] * 12
AWKWARD = [
    "\n",
    "\0",
    "\t",
    " ",
    "   ",
    "\u2581",
    "\ufeff",
    "<0x41>",
    "the",
    " the cat ",
    "猫",
    "é",
    "\udcff",
    "a" * 40,
]
TEXTS = (
    st.lists(st.sampled_from(AWKWARD) | st.text(max_size=5), max_size=12)
    .map("".join)
    .map(lambda text: text.encode("utf-8", "surrogatepass").decode("utf-8", "surrogateescape"))
)
DROPOUTS = st.floats(0, 1)
DRAWS = 4000


@pytest.fixture(scope="module")
def trained() -> dict[str, SubwordTokeniser]:
    found = {kind: train_tokeniser(kind, LINES, 400) for kind in CUTS}
    return {kind: tokeniser for kind, tokeniser in found.items() if isinstance(tokeniser, SubwordTokeniser)}


@pytest.fixture(params=list(CUTS))
def tokeniser(request: pytest.FixtureRequest, trained: dict[str, SubwordTokeniser]) -> SubwordTokeniser:
    return trained[request.param]


def _encode(tokeniser: SubwordTokeniser, text: str, dropout: float, seed: int = 1, draws: int = 1) -> np.ndarray:
    return tokeniser.segmentations(dropout, seed).encode(text, np.random.default_rng(draws))


@settings(max_examples=200)
@given(text=TEXTS)
@example(text="")
def test_bpe_without_dropout_is_sentencepieces(text: str, trained: dict[str, SubwordTokeniser]) -> None:
    assert _encode(trained["bpe"], text, 0.0).tolist() == trained["bpe"].encode(text).tolist()


@settings(max_examples=200)
@given(text=TEXTS)
def test_unigram_without_dropout_is_as_likely_as_sentencepieces(
    text: str, trained: dict[str, SubwordTokeniser]
) -> None:
    """Of two segmentations that are equally likely either may be found."""
    tokeniser = trained["unigram"]
    scores = list(SubwordModel(base64.b64decode(tokeniser.payload())).scores.values())
    found, expected = (
        sum(scores[token - NUM_BYTES] for token in ids if token >= NUM_BYTES)
        for ids in (_encode(tokeniser, text, 0.0).tolist(), tokeniser.encode(text).tolist())
    )
    assert found == pytest.approx(expected, rel=1e-4)


@settings(max_examples=200)
@given(text=TEXTS, dropout=DROPOUTS, seed=st.integers(0, 9))
def test_every_segmentation_spells_the_text(
    text: str, dropout: float, seed: int, trained: dict[str, SubwordTokeniser]
) -> None:
    for tokeniser in trained.values():
        assert tokeniser.decode(_encode(tokeniser, text, dropout, seed)) == text


def test_all_characters_stay_alone_if_everything_is_left_out(tokeniser: SubwordTokeniser) -> None:
    text = "\n".join(LINES[:3])
    ids = _encode(tokeniser, text, 1.0).tolist()
    pieces = [tokeniser.decode([token]) for token in ids if token >= NUM_BYTES]
    assert len(pieces) > 50 and set(map(len, pieces)) == {1}
    assert tokeniser.decode(ids) == text


def test_a_tokeniser_without_units_spells_bytes() -> None:
    empty = train_tokeniser("bpe", [""], 256)
    assert isinstance(empty, SubwordTokeniser) and not empty.units
    assert _encode(empty, "ab é", 0.5).tolist() == list("ab é".encode())


Cut = Callable[..., list[str]]
LEFT_OUT = 0.3
KEPT = 1 - LEFT_OUT


@pytest.mark.parametrize(
    ("cut", "scores", "expected"),
    [
        (
            merged,  # of "ab" and "bc" the first is better; whichever is merged, "abc" may follow
            {"ab": -1.0, "bc": -2.0, "abc": -3.0, "xy": 0.0},
            {
                "abc": KEPT**2 * (1 + LEFT_OUT),
                "ab c": KEPT * LEFT_OUT,
                "a bc": LEFT_OUT**2 * KEPT,
                "a b c": LEFT_OUT**2,
            },
        ),
        (
            likeliest,  # from the likeliest on: abc -1, a bc -2.4, ab c -2.5, a b c -3
            {"a": -1.0, "b": -1.0, "c": -1.0, "ab": -1.5, "bc": -1.4, "abc": -1.0},
            {"abc": KEPT, "a bc": LEFT_OUT * KEPT, "ab c": LEFT_OUT**2 * KEPT, "a b c": LEFT_OUT**3},
        ),
    ],
)
def test_segmentations_are_as_frequent_as_worked_out_by_hand(
    cut: Cut, scores: dict[str, float], expected: dict[str, float]
) -> None:
    assert sum(expected.values()) == pytest.approx(1)
    generator, pieces = random.Random(1), Pieces(scores)
    drawn = Counter(" ".join(cut("abc", pieces, lambda: generator.random() >= LEFT_OUT)) for _ in range(DRAWS))
    assert drawn.keys() == expected.keys()
    for spelled, probability in expected.items():
        deviation = (probability * (1 - probability) / DRAWS) ** 0.5
        assert drawn[spelled] / DRAWS == pytest.approx(probability, abs=4 * deviation), spelled


@pytest.mark.parametrize("cut", CUTS.values())
def test_a_word_is_cut_in_several_ways_in_one_text(cut: Cut) -> None:
    units = {"a": -3.0, "b": -3.0, "c": -3.0, "ab": -3.5, "bc": -3.4, "abc": -3.0}
    segmentations = Segmentations(cut, units, 256, 0.5, 1)
    ids = segmentations.encode("abc\n" * 300, np.random.default_rng(1))
    words = np.split(ids, np.flatnonzero(ids == NEWLINE) + 1)[:-1]
    found = {tuple(list(units)[token - 256] for token in word[:-1]) for word in words}
    assert len(words) == 300 and 3 <= len(found) <= VARIANTS
    assert all("".join(pieces) == "abc" for pieces in found)


def test_the_seed_and_the_generator_alone_decide(tokeniser: SubwordTokeniser, monkeypatch: pytest.MonkeyPatch) -> None:
    text = " ".join(LINES[:3])
    expected = _encode(tokeniser, text, 0.4).tolist()
    used = tokeniser.segmentations(0.4, 1)
    used.encode("\n".join(LINES), np.random.default_rng(5))
    assert used.encode(text, np.random.default_rng(1)).tolist() == expected
    monkeypatch.setattr(segmentation, "MANY_WORDS", 2)
    forgetful = tokeniser.segmentations(0.4, 1)
    assert [forgetful.encode(text, np.random.default_rng(1)).tolist() for _ in range(3)] == 3 * [expected]
    assert _encode(tokeniser, text, 0.4, seed=2).tolist() != expected
    assert _encode(tokeniser, text, 0.4, draws=2).tolist() != expected


def test_more_dropout_makes_longer_texts(tokeniser: SubwordTokeniser) -> None:
    lengths = [len(_encode(tokeniser, "\n".join(LINES), dropout)) for dropout in (0.0, 0.1, 0.4, 1.0)]
    assert lengths == sorted(set(lengths))
