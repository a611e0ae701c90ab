"""The neural cache, against its definition, one token after another in float64."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import nlpseq
from nlpseq.errors import OptionError
from nlpseq.evaluation import neural_cache, perplexity
from nlpseq.evaluation.adaptation import AdaptationOptions
from nlpseq.evaluation.neural_cache import CacheReading, NeuralCache, mixed_losses
from nlpseq.evaluation.perplexity import text_loss
from nlpseq.models import language_model

TEXT = "the cat sat on the mat, où es-tu?\nthe dog sat on the log.\n" * 12


def _by_hand(states: np.ndarray, tokens: np.ndarray, size: int, theta: float) -> list[float]:
    """The cache's probability of each token; nan for the first."""
    found = [float("nan")]
    for time in range(1, len(tokens)):
        mass: dict[int, float] = {}
        for earlier in range(max(0, time - size), time):
            weight = np.exp(theta * float(states[earlier].astype(np.float64) @ states[time].astype(np.float64)))
            mass[int(tokens[earlier])] = mass.get(int(tokens[earlier]), 0.0) + weight
        found.append(mass.get(int(tokens[time]), 0.0) / sum(mass.values()))
    return found


@pytest.mark.parametrize("size", [1, 7, 20, 500])
@pytest.mark.parametrize("portion", [1, 33, 90])
def test_the_cache_is_its_definition(size: int, portion: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neural_cache, "ROWS", 16)
    generator = np.random.default_rng(size)
    states, tokens = generator.normal(size=(90, 5)).astype(np.float32), generator.integers(0, 6, 90)
    cache = NeuralCache(size, 0.8)
    found = [
        cache.read(states[start : start + portion], tokens[start : start + portion]) for start in range(0, 90, portion)
    ]
    assert np.allclose(np.concatenate(found), _by_hand(states, tokens, size, 0.8), atol=1e-6, equal_nan=True)


def test_large_states_do_not_overflow() -> None:
    states = np.full((4, 2), 300, np.float32)
    found = NeuralCache(9, 5.0).read(states, np.array([1, 1, 2, 1]))
    assert found.tolist() == [pytest.approx(value, nan_ok=True) for value in (np.nan, 1, 0, 2 / 3)]


def test_the_mixture_counts_the_cache_only_where_there_is_one() -> None:
    losses = np.array([2.0, 2.0, 800.0, 2.0])
    found = mixed_losses(losses, np.array([np.nan, 0.0, 0.5, 0.25]), 0.1)
    expected = [2.0, 2 - np.log(0.9), -np.log(0.05), -np.log(0.9 * np.exp(-2.0) + 0.025)]
    assert np.allclose(found, expected)


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("section", [64, 1 << 16])
def test_a_text_costs_what_the_definition_says(
    make_model: Callable[..., Path], tied: bool, section: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, options = language_model.load(make_model(tied=tied))
    tokens = model.tokeniser.encode(TEXT)
    inputs = np.concatenate([[10], tokens[:-1]])[:, None]
    start = language_model.begin(model.weights, options, 1)
    states = language_model.forward(model.weights, options, inputs, start)[0][:, 0]
    logits = np.stack([language_model.log_probabilities(model.weights, state) for state in states]).astype(np.float64)
    own = np.exp(logits[np.arange(len(tokens)), tokens])
    cached = np.array(_by_hand(states, tokens, 40, 1.5))
    expected = -np.log(own[0]) - np.log(0.8 * own[1:] + 0.2 * cached[1:]).sum()
    monkeypatch.setattr(perplexity, "SECTION", section)
    adaptation = AdaptationOptions(cache=40, cache_theta=1.5, cache_lambda=0.2)
    assert CacheReading(adaptation).text_loss(model, options, tokens) == pytest.approx(expected, rel=1e-5)


def test_evaluate_names_the_cache_and_is_unchanged_without(model_path: Path, tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text(TEXT, encoding="utf-8")
    model = nlpseq.load(model_path)
    plain, cached = (
        model.evaluate(tmp_path / "text.txt"),
        model.evaluate(tmp_path / "text.txt", cache=100, cache_theta=50.0),
    )
    assert cached[0].signature == f"{plain[0].signature}|cache:100:50:0.15"
    assert cached[0].value < plain[0].value, "a text that repeats itself is what a cache is for"
    loaded, options = language_model.load(model_path)
    nats = text_loss(loaded.weights, options, loaded.tokeniser.encode(TEXT))
    assert plain[0].parts["nats"] == pytest.approx(nats, rel=1e-6)


@pytest.mark.parametrize(
    ("options", "said", "hint"),
    [
        ({"cache": 0}, "cache: must be at least 1, was 0", ""),
        ({"cache": 5, "cache_lambda": 1.0}, "cache_lambda: must be below 1, was 1.0", ""),
        ({"cache_theta": 2.0}, "cache_theta: has no effect without --cache", "--cache 2000 --cache-theta 2"),
        ({"cache": 9, "dynamic": 0.1}, "cache and dynamic: exclude each other", "leave out one of them"),
        ({"dynamic_tokens": 5}, "dynamic_tokens: has no effect", "--dynamic 0.01 --dynamic-tokens 5"),
        ({"cash": 5}, "cash: is no option of evaluation", "did you mean cache?"),
    ],
)
def test_what_cannot_be_is_told(model_path: Path, options: dict[str, float], said: str, hint: str) -> None:
    with pytest.raises(OptionError, match=said) as refused:
        nlpseq.load(model_path).evaluate("stories", **options)
    assert refused.value.hint == hint
