"""What is drawn: each filter against a distribution worked by hand."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from nlpseq.decoding.sampling import Sampler, SamplingOptions, least_kept
from nlpseq.errors import ModelFileError, OptionError

PROBABILITIES = np.array([0.05, 0.4, 0.0, 0.3, 0.25], np.float32)
with np.errstate(divide="ignore"):
    LOG_PROBABILITIES = np.log(PROBABILITIES)


def _drawn(times: int = 3000, seed: str = "1", **options: float) -> Counter[int]:
    sampler = Sampler(SamplingOptions(**{"temperature": 1.0, **options}), seed)
    return Counter(sampler.draw(LOG_PROBABILITIES) for _ in range(times))


def test_tokens_come_as_often_as_the_model_says() -> None:
    drawn = _drawn(20_000)
    for token, probability in enumerate(PROBABILITIES):
        assert drawn[token] / 20_000 == pytest.approx(probability, abs=0.012)


def test_a_token_of_probability_zero_never_comes() -> None:
    assert 2 not in _drawn(temperature=50)


@pytest.mark.parametrize("options", [{}, {"temperature": 0.0}, {"top_k": 2}, {"top_p": 0.5}, {"min_p": 0.1}], ids=str)
@pytest.mark.parametrize("value", [np.nan, -np.inf])
def test_what_is_no_number_is_a_fault_of_the_model(value: float, options: dict[str, float]) -> None:
    sampler = Sampler(SamplingOptions(**{"temperature": 1.0, **options}), "1")
    with pytest.raises(ModelFileError, match="its training has diverged"):
        sampler.draw(np.full(5, value, np.float32))


def test_temperature_zero_takes_the_likeliest() -> None:
    assert set(_drawn(temperature=0)) == {1}


@pytest.mark.parametrize("temperature", [1e-7, 1e-100, 1e-308])
def test_next_to_no_temperature_takes_the_likeliest_too(temperature: float) -> None:
    assert set(_drawn(10, temperature=temperature)) == {1}


def test_a_low_temperature_sharpens_and_a_high_one_flattens() -> None:
    assert _drawn(temperature=0.3)[1] > _drawn(temperature=1)[1] > _drawn(temperature=5)[1]


def test_temperature_divides_the_log_probabilities() -> None:
    sharpened = PROBABILITIES**2 / (PROBABILITIES**2).sum()
    assert _drawn(20_000, temperature=0.5)[1] / 20_000 == pytest.approx(sharpened[1], abs=0.012)


@pytest.mark.parametrize(
    ("options", "kept"),
    [
        ({"top_k": 1}, {1}),
        ({"top_k": 2}, {1, 3}),
        ({"top_k": 99}, {0, 1, 3, 4}),
        ({"top_p": 0.4}, {1}),
        ({"top_p": 0.41}, {1, 3}),
        ({"top_p": 0.95}, {1, 3, 4}),
        ({"min_p": 0.7}, {1, 3}),
        ({"min_p": 1}, {1}),
        ({"top_k": 3, "top_p": 0.7}, {1, 3}),  # of 0.95, 0.7 is 0.665
        ({"top_p": 0.95, "min_p": 0.7}, {1, 3}),
    ],
)
def test_filters_keep_what_they_should(options: dict[str, float], kept: set[int]) -> None:
    assert set(_drawn(**options)) == kept


def test_filters_need_no_normalised_weights() -> None:
    options = SamplingOptions(top_p=0.8, top_k=4, min_p=0.1)
    assert least_kept(PROBABILITIES * 7, options) == pytest.approx(7 * least_kept(PROBABILITIES, options))


def test_tokens_as_likely_as_the_last_one_kept_are_kept() -> None:
    even = np.full(4, 0.25, np.float32)
    assert (even >= least_kept(even, SamplingOptions(top_k=2))).all()


def test_the_same_seed_draws_the_same_and_another_does_not() -> None:
    def tokens(seed: str) -> list[int]:
        sampler = Sampler(SamplingOptions(temperature=1), seed)
        return [sampler.draw(LOG_PROBABILITIES) for _ in range(50)]

    assert tokens("7/0") == tokens("7/0") != tokens("7/1")


def test_a_repeated_token_is_penalised_until_it_leaves_the_window() -> None:
    options = SamplingOptions(temperature=0, repetition_penalty=2, repetition_window=2)
    log_probabilities = np.log(np.array([0.5, 0.3, 0.2], np.float32))  # penalised, 0.25, 0.09 and 0.04
    sampler = Sampler(options, "1", recent=[0])
    assert [sampler.draw(log_probabilities) for _ in range(7)] == [1, 0, 0, 1, 0, 0, 1]
    assert Sampler(options, "1").draw(log_probabilities) == 0


def test_the_given_log_probabilities_are_left_as_they_are() -> None:
    given = LOG_PROBABILITIES.copy()
    sampler = Sampler(SamplingOptions(top_k=2, repetition_penalty=1.5), "1", recent=[1])
    sampler.draw(given)
    assert (given == LOG_PROBABILITIES).all()


@pytest.mark.parametrize(
    "wrong",
    [
        {"temperature": -0.1},
        {"temperature": float("nan")},
        {"temperature": float("inf")},
        {"top_k": -1},
        {"top_p": 0},
        {"top_p": 1.01},
        {"min_p": -0.1},
        {"min_p": 2},
        {"repetition_penalty": 0.5},
        {"repetition_window": 0},
    ],
)
def test_impossible_values_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(OptionError, match=next(iter(wrong))):
        SamplingOptions(**wrong)  # type: ignore[arg-type]
