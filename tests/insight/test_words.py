"""Which words carried a decision: weights against finite differences, words of pieces, colours and a page."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nlpseq.cells import unroll
from nlpseq.decoding.classification import TextClassifier
from nlpseq.insight.ngrams import weigh_characters
from nlpseq.insight.words import (
    Word,
    colour,
    explain,
    odds_slopes,
    strengths,
    to_html,
    to_json,
    weigh_tokens,
    words_of,
)
from nlpseq.models import classifier
from nlpseq.models.classifier import ClassifierOptions
from nlpseq.models.evidence import look_up, table_rows
from nlpseq.models.linear import LinearModel, Vocabulary
from nlpseq.models.model_file import Model
from nlpseq.models.text_ngrams import KINDS, count_ngrams, locate_ngrams, spaced_text
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
    column, lengths = side_by_side([ids])
    plain = classifier.logits(weights, options, classifier.read(weights, options, column, lengths, run_layer=unroll))[0]
    others = np.array([1.5, -0.5, 0.7])  # logits of another model, which are added
    found, shares = weigh_tokens(weights, options, ids, odds_slopes(plain + others, 1))
    precise = {name: value.astype(np.float64) for name, value in weights.items()}
    vectors = precise["embedding.weight"][ids][:, None]
    said = look_up(precise["evidence.table"], column, 30) if evidence else None

    def log_odds(place: int, more: float) -> float:
        shift = np.zeros_like(vectors)
        shift[place] = more * vectors[place]
        given = None if said is None else said.copy()
        if given is not None:
            given[place] *= 1 + more
        outputs = classifier.read(precise, options, column, lengths, run_layer=unroll, shift=shift, evidence=given)
        (logits,) = classifier.logits(precise, options, outputs) + others
        return float(logits[1] - np.logaddexp(logits[0], logits[2]))

    for place in range(len(ids)):
        slope = (log_odds(place, 1e-5) - log_odds(place, -1e-5)) / 2e-5
        assert found[place] == pytest.approx(slope, rel=1e-3, abs=1e-5)
    assert (shares is None) == (pooling == "max,mean")
    assert shares is None or shares.sum() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("several", [False, True])
@pytest.mark.parametrize("count", [2, 4])
def test_slopes_are_derivatives_of_the_log_odds(count: int, several: bool) -> None:
    logits = np.random.default_rng(2).standard_normal(count)

    def log_odds(logits: np.ndarray, label: int) -> float:
        return float(logits[label] - (0 if several else np.logaddexp.reduce(np.delete(logits, label))))

    for label in range(count):
        steps = [
            (log_odds(logits + change, label) - log_odds(logits - change, label)) / 2e-6
            for change in 1e-6 * np.eye(count)
        ]
        assert odds_slopes(logits, label, several=several) == pytest.approx(steps, abs=1e-6)


@pytest.mark.parametrize("tokens", ["byte", "char", "bpe", "word"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("labels", "columns", "several"), [(2, 1, False), (3, 3, False), (1, 1, True), (3, 3, True)])
def test_the_linear_model_is_shared_out_among_words(
    labels: int, columns: int, several: bool, kind: str, tokens: str
) -> None:
    text = "It isn't  gr\u00fcn, \u732b\u597d! \ud83d\ud83d x\u2028y\udcff \0 a a A \ufb01 unknown\n"
    tokeniser = train_tokeniser(tokens, [text.encode("utf-8", "replace").decode()] * 5, 290)
    options = ClassifierOptions(
        hidden_size=6, embedding_size=5, bidirectional=True, ngrams=1, evidence=0, linear=kind, lowercase=True
    )
    weights = classifier.initial_weights(options, tokeniser.size, np.ones(labels), 1)
    keys = np.unique(count_ngrams([text.lower().replace("unknown", "")], kind).keys)
    generator = np.random.default_rng(8)
    weight, bias = generator.standard_normal((len(keys), columns)), generator.standard_normal(labels)
    linear = LinearModel(
        Vocabulary(kind, keys, np.float32(1) + generator.random(len(keys), np.float32)),
        weight.astype(np.float32),
        bias.astype(np.float32),
    )
    names = ["a", "b", "c"][:labels]
    header = {"labels": names} | ({"several_labels": True} if several else {})
    loaded = [
        TextClassifier(Model(classifier.TASK, asdict(options), arrays, tokeniser, header, Path()), options)
        for arrays in (weights | linear.weights(), weights)
    ]
    (logits,), (alone,) = (each.logits([text]).astype(np.float64) for each in loaded)
    assert logits - alone == pytest.approx(linear.logits([text.lower()])[0], abs=1e-5)
    for label, name in enumerate(names):
        words = explain(loaded[0], text, name).words
        slopes = odds_slopes(logits, label, several=several)
        ids = loaded[0].ids(text)
        by_network = words_of(tokeniser, ids.tolist(), *weigh_tokens(weights, options, ids, slopes))
        assert [word.text for word in words] == [word.text for word in by_network]
        added = [word.weight - other.weight for word, other in zip(words, by_network, strict=True)]
        assert sum(added) == pytest.approx(slopes @ (logits - alone - linear.bias), abs=1e-4)
        assert all(
            abs(amount) > 1e-6 for amount, word in zip(added, words, strict=True) if word.text.strip() == "isn't"
        )


@pytest.mark.parametrize("kind", KINDS)
@given(text=st.text("aab \0\u00e9'.\ud800\u732b\u2028", min_size=1, max_size=30).filter(str.strip))
def test_characters_add_up_to_the_logits(kind: str, text: str) -> None:
    keys = np.unique(count_ngrams(["a aab", "b' \u732b. \0", text[::2]], kind).keys)
    weight = np.sin(keys.astype(np.float64))[:, None] * [1, 2, 3]
    idf = 1 + np.cos(keys.astype(np.float64)) ** 2
    model = LinearModel(
        Vocabulary(kind, keys, idf.astype(np.float32)), weight.astype(np.float32), np.ones(3, np.float32)
    )
    slopes = np.array([0.5, -1, 2])
    found = weigh_characters(model, text, slopes)
    assert len(found) == len("".join(text.split()))
    assert found.sum() == pytest.approx(slopes @ (model.logits([text])[0] - 1), abs=1e-5)


def of_ngram(text: str, ngram: str, kind: str) -> LinearModel:
    """A linear model of a single n-gram of a text, whose weight is 6."""
    spaced = spaced_text(text, kind)
    spans = zip(*locate_ngrams(text, kind), strict=True)
    (key,) = {int(key) for start, end, key in spans if spaced[start:end] == ngram}
    vocabulary = Vocabulary(kind, np.array([key], np.uint32), np.ones(1, np.float32))
    return LinearModel(vocabulary, np.full((1, 1), 6, np.float32), np.zeros(1, np.float32))


@pytest.mark.parametrize(
    ("text", "ngram", "kind", "expected"),
    [
        ("a fine  film", "fine film", "words", [0] + 8 * [6 / 8]),
        ("so. so so.", "so", "words", [1, 1, 0, 1, 1, 1, 1, 0]),
        ("on one", " on", "parts", [1.5, 1.5, 1.5, 1.5, 0]),
        ("on one", "ne ", "parts", [0, 0, 0, 3, 3]),
        ("ab b", "b b", "characters", [0, 3, 3]),
        ("ab b", " ", "characters", [2, 0, 4]),  # before a, before b and behind it
    ],
)
def test_an_ngram_is_shared_out_among_its_characters(text: str, ngram: str, kind: str, expected: list[float]) -> None:
    model = of_ngram(text, ngram, kind)
    assert model.logits([text])[0] == pytest.approx(6)
    assert weigh_characters(model, text, np.ones(1)) == pytest.approx(expected, abs=1e-6)


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
