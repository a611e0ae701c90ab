"""The loss of a text, against the same model written out by hand in float64, one token after another."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from nlpseq import __version__
from nlpseq.cells import unroll
from nlpseq.evaluation import perplexity
from nlpseq.evaluation.perplexity import BLOCK, signature, text_features, text_loss, text_name
from nlpseq.kernels.cpu.recurrence import unroll as fast
from nlpseq.models import language_model as lm
from nlpseq.models.language_model import LanguageModelOptions
from nlpseq.text.stream import TokenStream
from nlpseq.text.tokenisers import train_tokeniser

WORDS, LENGTH = 40, 1500
VOCABULARIES = [WORDS, 900]  # the output of the second is dear, so that states are settled before losses are made


def _model(seed: int = 0, words: int = WORDS, **given: Any) -> tuple[dict[str, np.ndarray], LanguageModelOptions]:
    options = LanguageModelOptions(**{"hidden_size": 6, "embedding_size": 5, "tied": False, "ngrams": 1, **given})
    generator = np.random.default_rng(seed)
    drawn = lm.initial_weights(options, words, seed)
    return {k: (v + generator.normal(0, 0.3, v.shape)).astype(np.float32) for k, v in drawn.items()}, options


def _tokens(length: int = LENGTH, words: int = WORDS) -> np.ndarray:
    return np.random.default_rng(1).integers(0, words, length)


def _sigmoid(values: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-values))


def _by_hand(weights: dict[str, np.ndarray], tokens: np.ndarray, ngrams: int = 1, buckets: int = 0) -> float:
    """An LSTM language model and its loss in nats: full matrices, float64, nothing of the package."""
    w = {name: value.astype(np.float64) for name, value in weights.items()}
    matrix = np.concatenate([w["layers.0.weight_ih"], w["layers.0.weight_hh"]], 1)
    bias = w["layers.0.bias_ih"] + w["layers.0.bias_hh"]
    size = len(bias) // 4
    hidden, memory, nats = np.zeros(size), np.zeros(size), 0.0
    history = [10] * max(ngrams, 1)  # newlines come before every text; the last is the token that is read
    for target in map(int, tokens):
        vector = w["embedding.weight"][history[-1]].copy()
        mixed = history[-1]
        for order in range(1, ngrams):
            mixed = (mixed * 1_000_003 + history[-1 - order] + order) % 2_147_483_647
            vector += w["ngrams.weight"][mixed % buckets + (order - 1) * buckets]
        gates = matrix @ np.concatenate([vector, hidden]) + bias
        i, f, g, o = gates.reshape(4, size)
        memory = _sigmoid(f) * memory + _sigmoid(i) * np.tanh(g)
        hidden = _sigmoid(o) * np.tanh(memory)
        logits = w["output.weight"] @ hidden + w["output.bias"]
        nats += np.log(np.exp(logits).sum()) - logits[target]
        history = [*history[1:], target]
    return nats


@pytest.mark.parametrize("streams", [1, 2, 5, 64])
@pytest.mark.parametrize("ngrams", [1, 4])
@pytest.mark.parametrize("words", VOCABULARIES)
def test_the_loss_is_that_of_one_long_chain_by_hand(streams: int, ngrams: int, words: int) -> None:
    weights, options = _model(words=words, ngrams=ngrams, ngram_buckets=23)
    tokens = _tokens(words=words)
    expected = _by_hand(weights, tokens, ngrams, 23)
    assert text_loss(weights, options, tokens, streams=streams) == pytest.approx(expected, rel=1e-6)


def test_the_fast_kernel_gives_the_same_loss() -> None:
    torch = pytest.importorskip("torch")
    weights, options = _model(ngrams=3, ngram_buckets=23)
    tokens = _tokens()
    tensors = {name: torch.from_numpy(value) for name, value in weights.items()}
    expected = _by_hand(weights, tokens, 3, 23)
    assert text_loss(tensors, options, tokens, run_layer=fast) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("length", [1, 2, BLOCK - 1, BLOCK, BLOCK + 1, 8 * BLOCK, 8 * BLOCK + 3])
def test_texts_of_any_length_are_counted_whole(length: int) -> None:
    weights, options = _model(ngrams=2, ngram_buckets=23)
    tokens = _tokens(length)
    expected = _by_hand(weights, tokens, 2, 23)
    assert text_loss(weights, options, tokens) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("words", VOCABULARIES)
def test_a_model_that_never_forgets_is_still_evaluated_exactly(words: int) -> None:
    """Forget gates near one keep a state for thousands of tokens, so no stream ever agrees with its first run."""
    weights, options = _model(words=words)
    weights["layers.0.bias_ih"][6:12] = 9.0
    tokens = _tokens(words=words)
    exact, quick = (text_loss(weights, options, tokens, streams=5, exact=exact) for exact in (True, False))
    assert exact == pytest.approx(_by_hand(weights, tokens), rel=1e-6)
    assert quick != pytest.approx(exact, rel=1e-6), "else this shows nothing"


def test_states_that_never_agree_end_the_rounds_when_they_no_longer_come_nearer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A tolerance that nothing meets stands for a model that amplifies rounding."""
    monkeypatch.setattr(perplexity, "TOLERANCE", -1.0)
    weights, options = _model()
    tokens, calls = _tokens(4 * LENGTH), []

    def counted(*arguments: Any, **settings: Any) -> Any:
        calls.append(arguments)
        assert len(calls) < 8 * len(tokens) // BLOCK, "the rounds do not end"
        return unroll(*arguments, **settings)

    expected = _by_hand(weights, tokens)
    assert text_loss(weights, options, tokens, streams=4, run_layer=counted) == pytest.approx(expected, rel=1e-6)


def test_the_quick_way_counts_every_token_once_from_states_of_zero() -> None:
    weights, options = _model()
    tokens = _tokens(8 * BLOCK)
    height = 4 * BLOCK
    features, _ = lm.forward(weights, options, tokens[height - 1 : -1, None], lm.begin(weights, options, 1))
    second = lm.negative_log_likelihood(weights, features[:, 0], tokens[height:])
    expected = _by_hand(weights, tokens[:height]) + second
    assert text_loss(weights, options, tokens, streams=2, exact=False) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(("section", "streams"), [(5000, 1), (5000, 5), (600, 2), (257, 64)])
@pytest.mark.parametrize("forget", [0.0, 9.0])
def test_features_come_in_the_order_of_the_text(section: int, streams: int, forget: float) -> None:
    weights, options = _model(ngrams=3, ngram_buckets=23)
    weights["layers.0.bias_ih"][6:12] += forget
    tokens = _tokens()
    inputs = np.concatenate([[10], tokens[:-1]])[:, None]
    expected, _ = lm.forward(weights, options, inputs, lm.begin(weights, options, 1))
    found = list(text_features(weights, options, tokens, streams=streams, section=section))
    assert [len(targets) for _, targets in found[:-1]] == [section] * (len(found) - 1)
    assert np.array_equal(np.concatenate([targets for _, targets in found]), tokens)
    assert np.allclose(np.concatenate([features for features, _ in found]), expected[:, 0], atol=1e-5)


def test_a_stream_on_disk_gives_what_an_array_gives() -> None:
    weights, options = _model()
    tokens = _tokens()
    stream = TokenStream.from_array(tokens.astype(np.uint8))
    assert text_loss(weights, options, stream) == text_loss(weights, options, tokens)


@pytest.mark.parametrize("cell", ["rnn", "gru"])
def test_streams_change_nothing_for_the_other_cells(cell: str) -> None:
    weights, options = _model(cell=cell, layers=2, layer_normalisation=True, zoneout=0.1)
    tokens = _tokens()
    one = text_loss(weights, options, tokens, streams=1)
    assert text_loss(weights, options, tokens, streams=5) == pytest.approx(one, rel=1e-6)


def test_the_signature_says_how_the_number_was_made() -> None:
    tokeniser = train_tokeniser("word", ["the cat", "the dog"] * 2, 300)
    fields = signature(tokeniser, "a.txt#01234567").split("|")
    assert fields == [
        f"tok:word-259#{tokeniser.fingerprint}",
        "context:carried",
        "start:newline",
        "text:a.txt#01234567",
        f"version:{__version__}",
    ]


def test_another_tokeniser_has_another_signature() -> None:
    one, other = (train_tokeniser("word", [text] * 2, 300) for text in ("the cat", "the dog"))
    assert signature(one, "x") != signature(other, "x")


def test_the_part_of_a_corpus_is_named_by_file_part_and_hash() -> None:
    facts = {"valid": ["data/a.txt", "b.txt"], "valid_is": "given", "valid_sha256": "0123456789abcdef"}
    assert text_name(facts) == "a.txt+b.txt#01234567"
    assert text_name({**facts, "valid": ["a.txt"], "valid_is": "held out"}) == "a.txt:held-out#01234567"
