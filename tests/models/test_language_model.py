"""The language model: one call or many, NumPy or torch, with n-grams and without; and its options."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from nlpseq.errors import OptionError
from nlpseq.models import language_model as lm
from nlpseq.models.embedding import ngram_rows
from nlpseq.models.language_model import LanguageModelOptions
from nlpseq.models.stepper import Stepper
from nlpseq.text.tokenisers import NEWLINE

Close = Callable[..., None]

WORDS = 300  # more than a batch of these tests, so that the input's table is not made
FORMS: dict[str, dict[str, Any]] = {
    "lstm": {},
    "gru, tied": {"cell": "gru", "tied": True, "embedding_size": 7},
    "lstm, tied with projection": {"tied": True},
    "rnn, n-grams": {"cell": "rnn", "activation": "relu", "ngrams": 4, "ngram_buckets": 50},
    "two layers, normalised, n-grams": {"layers": 2, "layer_normalisation": True, "ngrams": 2, "ngram_buckets": 50},
    "reset before, zoneout, n-grams": {
        "cell": "gru", "reset_before": True, "zoneout": 0.2, "ngrams": 3, "ngram_buckets": 50
    },
}  # fmt: skip


def _options(**given: Any) -> LanguageModelOptions:
    return LanguageModelOptions(**{"hidden_size": 7, "embedding_size": 5, "tied": False, "ngrams": 1, **given})


def _model(form: str, words: int = WORDS) -> tuple[dict[str, np.ndarray], LanguageModelOptions]:
    """Weights none of which is zero or one."""
    options = _options(**FORMS[form])
    generator = np.random.default_rng(2)
    drawn = lm.initial_weights(options, words, 1)
    weights = {name: value + generator.normal(0, 0.1, value.shape).astype(np.float32) for name, value in drawn.items()}
    return weights, options


def _ids(steps: int, batch: int, words: int = WORDS) -> np.ndarray:
    return np.random.default_rng(3).integers(words, size=(steps, batch))


def _predict(weights: Any, options: LanguageModelOptions, ids: Any, state: Any = None) -> tuple[Any, Any]:
    state = lm.begin(weights, options, ids.shape[1]) if state is None else state
    features, state = lm.forward(weights, options, ids, state)
    return lm.log_probabilities(weights, features), state


@pytest.mark.parametrize("form", FORMS)
def test_predictions_are_probabilities(form: str) -> None:
    found, _ = _predict(*_model(form), _ids(4, 3))
    assert found.shape == (4, 3, WORDS)
    assert found.dtype == np.float32
    assert np.allclose(np.exp(found.astype(np.float64)).sum(-1), 1, atol=1e-5)


@pytest.mark.parametrize("words", [20, WORDS], ids=["few words", "many words"])
@pytest.mark.parametrize("form", FORMS)
def test_a_sequence_equals_its_steps_one_by_one(form: str, words: int, assert_close: Close) -> None:
    weights, options = _model(form, words)
    ids = _ids(9, 3, words)
    whole, end = _predict(weights, options, ids)
    state = lm.begin(weights, options, 3)
    for time, row in enumerate(ids):
        found, state = lm.step(weights, options, row, state)
        assert_close(found, whole[time], "float32", f"step {time}")
    for name, value in lm.flatten_state(state).items():
        assert_close(value, lm.flatten_state(end)[name], "float32", name)


@pytest.mark.parametrize("form", FORMS)
def test_a_state_carried_across_calls_equals_one_call(form: str, assert_close: Close) -> None:
    weights, options = _model(form)
    ids = _ids(8, 3)
    whole, _ = _predict(weights, options, ids)
    for cut in (1, 2, 5):
        first, state = _predict(weights, options, ids[:cut])
        second, _ = _predict(weights, options, ids[cut:], state)
        assert_close(np.concatenate([first, second]), whole, "float32", f"cut at {cut}")


@pytest.mark.parametrize("form", FORMS)
def test_texts_in_a_batch_do_not_know_of_each_other(form: str, assert_close: Close) -> None:
    weights, options = _model(form)
    ids = _ids(6, 3)
    together, _ = _predict(weights, options, ids)
    alone, _ = _predict(weights, options, ids[:, 1:2])
    assert_close(together[:, 1:2], alone, "float32")


@pytest.mark.parametrize("form", FORMS)
def test_numpy_and_torch_give_the_same_log_probabilities(form: str) -> None:
    weights, options = _model(form)
    ids = _ids(6, 3)
    found, _ = _predict(weights, options, ids)
    tensors = {name: torch.from_numpy(value) for name, value in weights.items()}
    expected, _ = _predict(tensors, options, torch.from_numpy(ids))
    assert abs(found - expected.numpy()).max() < 1e-5


@pytest.mark.parametrize("texts", [1, 2])
@pytest.mark.parametrize("form", FORMS)
def test_a_stepper_predicts_what_the_model_does(form: str, texts: int, assert_close: Close) -> None:
    weights, options = _model(form)
    ids = _ids(7, texts)
    whole, end = _predict(weights, options, ids)
    stepper = Stepper(weights, options, lm.begin(weights, options, texts))
    stepper.read(ids[:3])
    for time in range(3, 7):
        stepper.advance(ids[time].tolist())
        assert_close(stepper.predict(), whole[time], "float32", f"step {time}")
    for name, value in lm.flatten_state(stepper.state).items():
        assert_close(value, lm.flatten_state(end)[name], "float32", name)


@pytest.mark.parametrize("kept", [[2, 0, 2], [1]])
@pytest.mark.parametrize("form", FORMS)
def test_a_stepper_can_go_on_with_some_of_its_texts(form: str, kept: list[int], assert_close: Close) -> None:
    weights, options = _model(form)
    ids = _ids(5, 3)
    stepper = Stepper(weights, options, lm.begin(weights, options, 3))
    for row in ids[:3]:
        stepper.advance(row.tolist())
    stepper.choose(kept)
    for row in ids[3:, : len(kept)]:
        stepper.advance(row.tolist())
    chosen = np.concatenate([ids[:3, kept], ids[3:, : len(kept)]])
    assert_close(stepper.predict(), _predict(weights, options, chosen)[0][-1], "float32")


@pytest.mark.parametrize("kind", [np.int32, np.uint16])
def test_the_type_of_the_ids_does_not_matter(kind: type, assert_close: Close) -> None:
    options = _options(ngrams=4, ngram_buckets=5000)
    weights = lm.initial_weights(options, 60_000, 1)
    table = weights["ngrams.weight"]
    weights["ngrams.weight"] = np.random.default_rng(0).normal(size=table.shape).astype(np.float32)
    ids = np.random.default_rng(1).integers(50_000, 60_000, (5, 2))
    assert_close(_predict(weights, options, ids.astype(kind))[0], _predict(weights, options, ids)[0], "float32")


def _ngram_parts(ids: list[int], orders: int = 3) -> np.ndarray:
    """What n-grams alone add to the inputs: the recurrent weights, embedding and biases are zero."""
    options = _options(cell="rnn", activation="relu", ngrams=orders + 1, ngram_buckets=4001)
    drawn = lm.initial_weights(options, WORDS, 1)
    weights = {name: np.zeros_like(value) for name, value in drawn.items()}
    weights["ngrams.weight"] = np.random.default_rng(4).random(drawn["ngrams.weight"].shape).astype(np.float32)
    weights["layers.0.weight_ih"] = np.eye(7, 5, dtype=np.float32)
    features, _ = lm.forward(weights, options, np.array(ids)[:, None], lm.begin(weights, options, 1))
    return features[:, 0, :5]


def test_an_ngram_depends_on_its_own_tokens_only() -> None:
    tokens = [11, 12, 13, 14, 15, 16, 17]
    plain = _ngram_parts(tokens)
    for place in range(len(tokens)):
        changed = [*tokens]
        changed[place] = 99
        differs = [not np.allclose(a, b) for a, b in zip(plain, _ngram_parts(changed), strict=True)]
        # with bigrams to four-grams, a token counts for itself and the three steps behind it
        assert differs == [place <= time <= place + 3 for time in range(len(tokens))]


def test_the_order_of_an_ngrams_tokens_counts() -> None:
    assert not np.allclose(_ngram_parts([1, 2, 5])[-1], _ngram_parts([2, 1, 5])[-1])


def test_equal_ngrams_have_equal_vectors_wherever_they_stand() -> None:
    found = _ngram_parts([5, 6, 7, 8, 1, 2, 5, 6, 7, 8])
    assert np.allclose(found[3], found[9])
    assert not np.allclose(found[0], found[6])


def test_ngrams_before_the_text_are_of_newlines() -> None:
    found = _ngram_parts([NEWLINE, NEWLINE, NEWLINE, 5, 6])
    assert np.allclose(found[3:], _ngram_parts([5, 6]))


def test_the_ngram_table_is_one_part_an_order() -> None:
    options = _options(ngrams=3, ngram_buckets=17)
    assert lm.initial_weights(options, WORDS, 1)["ngrams.weight"].shape == (34, 5)
    rows = ngram_rows([np.arange(1000), np.arange(1000)[::-1], np.full(1000, 3)], 17)
    assert [(row.min(), row.max()) for row in rows] == [(0, 16), (17, 33)]
    assert all(np.bincount(row % 17).max() < 2 * 1000 / 17 for row in rows), "the hash must spread"


def test_the_tied_matrix_is_the_embedding() -> None:
    weights, _ = _model("gru, tied")
    assert lm.output_layer(weights)[0] is weights["embedding.weight"]
    assert "output.weight" not in weights
    assert "output.projection" not in weights
    assert _model("lstm, tied with projection")[0]["output.projection"].shape == (5, 7)


def test_gradients_reach_every_weight() -> None:
    for form in FORMS:
        weights, options = _model(form, 20)
        tensors = {name: torch.from_numpy(value).requires_grad_() for name, value in weights.items()}
        found, _ = _predict(tensors, options, torch.from_numpy(_ids(9, 3, 20)))
        found.square().sum().backward()
        assert not [name for name, value in tensors.items() if value.grad is None or not value.grad.any()], form


def test_the_first_prediction_is_that_of_frequencies() -> None:
    options = _options()
    frequencies = np.random.default_rng(5).integers(0, 50, WORDS)
    weights = lm.initial_weights(options, WORDS, 1, frequencies)
    expected = (frequencies + 0.1) / (frequencies + 0.1).sum()
    assert np.allclose(np.exp(weights["output.bias"]), expected, rtol=1e-5)


def test_the_seed_decides_the_weights() -> None:
    one, same, other = (lm.initial_weights(_options(), WORDS, seed) for seed in (1, 1, 2))
    assert all(np.array_equal(one[name], same[name]) for name in one)
    assert not np.array_equal(one["embedding.weight"], other["embedding.weight"])


def test_a_state_goes_through_a_file_and_back() -> None:
    weights, options = _model("two layers, normalised, n-grams")
    _, state = _predict(weights, options, _ids(3, 2))
    named = lm.flatten_state(state)
    back = lm.restore_state(named, lm.begin(weights, options, 2))
    assert all(np.array_equal(value, named[name]) for name, value in lm.flatten_state(back).items())
    with pytest.raises(KeyError):
        lm.restore_state({key: value for key, value in named.items() if key != "1.0.memory"}, state)
    with pytest.raises(ValueError, match="shape"):
        lm.restore_state(named, lm.begin(weights, options, 5))


def test_the_loss_is_the_same_however_few_rows_at_once() -> None:
    weights, options = _model("lstm")
    ids = _ids(6, 3)
    features, _ = lm.forward(weights, options, ids, lm.begin(weights, options, 3))
    flat, targets = features.reshape(-1, 7), ids.reshape(-1)
    table = lm.log_probabilities(weights, flat).astype(np.float64)
    expected = -sum(table[row, target] for row, target in enumerate(targets))
    for rows in (0, 1, 4, 100):
        assert lm.negative_log_likelihood(weights, flat, targets, rows) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ({"activation": "relu"}, "activation"),
        ({"cell": "rnn", "reset_before": True}, "reset_before"),
        ({"cell": "elman"}, "cell"),
        ({"layers": 0}, "layers"),
        ({"hidden_size": 0}, "hidden_size"),
        ({"zoneout": 1.0}, "zoneout"),
        ({"zoneout": -0.1}, "zoneout"),
        ({"ngrams": 0}, "ngrams"),
        ({"initial": "ones"}, "initial"),
    ],
)
def test_options_that_make_no_sense_are_refused(given: dict[str, Any], name: str) -> None:
    with pytest.raises(OptionError) as refused:
        LanguageModelOptions(**given)
    assert refused.value.where == name
    assert refused.value.exit_status == 2


@pytest.mark.parametrize(
    ("given", "cell"),
    [
        ({}, "lstm"),
        ({"cell": "rnn"}, "rnn"),
        ({"cell": "rnn", "activation": "sigmoid"}, "rnn-sigmoid"),
        ({"cell": "gru"}, "gru"),
        ({"cell": "gru", "reset_before": True}, "gru-reset-before"),
    ],
)
def test_options_name_the_cell_together(given: dict[str, Any], cell: str) -> None:
    assert LanguageModelOptions(**given).recurrent_cell.name == cell


def test_sizes_left_open_make_no_weights() -> None:
    with pytest.raises(OptionError, match="must be set"):
        lm.initial_weights(LanguageModelOptions(), WORDS, 1)


@pytest.mark.parametrize("form", FORMS)
def test_some_texts_of_a_batch_go_on_as_they_would_have(form: str, assert_close: Close) -> None:
    weights, options = _model(form)
    ids = np.random.default_rng(3).integers(0, WORDS, (6, 3))
    _, state = lm.forward(weights, options, ids[:4], lm.begin(weights, options, 3))
    whole, _ = lm.forward(weights, options, ids[4:], state)
    for rows in (np.array([2, 0, 2]), np.array([1])):
        some, _ = lm.forward(weights, options, ids[4:, rows], lm.take_texts(state, rows))
        assert_close(some, whole[:, rows], "float32")
    first, _ = lm.forward(weights, options, ids[4:, :2], lm.take_texts(state, slice(2)))
    assert_close(first, whole[:, :2], "float32")


@pytest.mark.parametrize("rows", [0, 1, 4, 100])
def test_losses_may_stay_where_the_weights_are(rows: int, assert_close: Close) -> None:
    weights, options = _model("gru, tied")
    generator = np.random.default_rng(3)
    features = generator.standard_normal((9, options.hidden_size or 0)).astype(np.float32)
    targets = generator.integers(0, WORDS, 9)
    tensors = {name: torch.from_numpy(value) for name, value in weights.items()}
    found = lm.losses_on_device(tensors, torch.from_numpy(features), torch.from_numpy(targets), rows)
    assert isinstance(found, torch.Tensor)
    assert_close(found, lm.token_losses(weights, features, targets), "float32")
    assert lm.losses_on_device(tensors, torch.from_numpy(features[:0]), torch.from_numpy(targets[:0])).shape == (0,)
