"""Which words carried a decision: weights against finite differences, words of pieces, colours and a page."""

from __future__ import annotations

from xml.etree import ElementTree

import numpy as np
import pytest

from nlpseq.cells import unroll
from nlpseq.insight.words import Word, colour, strengths, to_html, to_json, weigh_tokens, words_of
from nlpseq.models import classifier
from nlpseq.models.classifier import ClassifierOptions
from nlpseq.models.evidence import look_up, table_rows
from nlpseq.text.padding import side_by_side
from nlpseq.text.tokenisers import train_tokeniser


@pytest.mark.parametrize("evidence", [0, 2])
@pytest.mark.parametrize("pooling", ["max,mean", "attention,last"])
def test_weights_are_derivatives_of_the_log_odds(pooling: str, evidence: int) -> None:
    options = ClassifierOptions(
        hidden_size=6, embedding_size=5, bidirectional=True, ngrams=1, pooling=pooling, evidence=evidence
    )
    generator = np.random.default_rng(5)
    weights = classifier.initial_weights(options, 30, np.array([1, 1, 1]), 1)
    weights["embedding.weight"] *= 3
    if evidence:
        weights["evidence.table"] = generator.standard_normal((table_rows(evidence, 30), 3)).astype(np.float32)
    ids = np.array([10, 3, 9, 27, 3, 10])
    found, shares = weigh_tokens(weights, options, ids, 1)
    precise = {name: value.astype(np.float64) for name, value in weights.items()}
    column, lengths = side_by_side([ids])
    vectors = precise["embedding.weight"][ids][:, None]
    said = look_up(precise["evidence.table"], column, 30) if evidence else None

    def log_odds(place: int, more: float) -> float:
        shift = np.zeros_like(vectors)
        shift[place] = more * vectors[place]
        given = None if said is None else said.copy()
        if given is not None:
            given[place] *= 1 + more
        outputs = classifier.read(precise, options, column, lengths, run_layer=unroll, shift=shift, evidence=given)
        (logits,) = classifier.logits(precise, options, outputs)
        return float(logits[1] - np.logaddexp(logits[0], logits[2]))

    for place in range(len(ids)):
        slope = (log_odds(place, 1e-5) - log_odds(place, -1e-5)) / 2e-5
        assert found[place] == pytest.approx(slope, rel=1e-3, abs=1e-5)
    assert (shares is None) == (pooling == "max,mean")
    assert shares is None or shares.sum() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("kind", ["byte", "char", "bpe", "word"])
def test_pieces_make_words_and_nothing_is_lost(kind: str) -> None:
    text = "It isn't  grün, 猫好! \udcff"
    tokeniser = train_tokeniser(kind, [text.encode("utf-8", "replace").decode()] * 5, 290)
    ids = classifier.text_ids(tokeniser, text, lowercase=False).tolist()
    words = words_of(tokeniser, ids, np.ones(len(ids)), None)
    assert sum(word.weight for word in words) == len(ids) - 2
    spelled = "".join(word.text for word in words)
    assert spelled.startswith("It isn't  grün, 猫好! ")
    if kind in ("byte", "char"):
        assert [word.text for word in words if word.text.strip()][:5] == ["It", "isn't", "grün", ",", "猫"]


WORDS = [Word("a", 0.5, 0.25), Word(" <b>", -2.0, 0.75), Word("\n", 0.0, 0.0)]


def test_colours_say_which_way() -> None:
    assert strengths(WORDS) == [0.25, -1, 0] and strengths([]) == []
    shown = colour(WORDS)
    assert "48;2;207;34;46m<b>" in shown and "\n" not in shown


def test_the_page_is_well_formed_and_escaped() -> None:
    page = to_html(WORDS, "<up>", 0.75)
    root = ElementTree.fromstring(page.removeprefix("<!doctype html>\n").replace('<meta charset="utf-8">', ""))
    spans = [one for one in root.iter() if one.tag == "span"]
    assert [one.text for one in spans] == ["a", " <b>", "\n"]
    assert [one.get("class") for one in spans][:2] == ["for", "against"]
    assert "attention 75.0%" in str(spans[1].get("title"))


def test_json_leaves_out_what_is_no_word() -> None:
    assert to_json(WORDS) == [
        {"word": "a", "weight": 0.5, "attention": 0.25},
        {"word": "<b>", "weight": -2.0, "attention": 0.75},
    ]
