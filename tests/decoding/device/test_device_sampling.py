"""Tokens drawn for many texts at once on a device, against those that are drawn one by one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from nlpseq.decoding.device.sampling import draw_together, least_kept_together
from nlpseq.decoding.sampling import Sampler, SamplingOptions, least_kept

ROWS, SIZE, STEPS = 5, 37, 60
WAYS: list[dict[str, Any]] = [
    {},
    {"temperature": 1},
    {"temperature": 0},
    {"temperature": 1e-9, "repetition_penalty": 1.7},
    {"top_k": 1},
    {"top_k": 5},
    {"top_k": 99},
    {"top_p": 0.6, "temperature": 1.3},
    {"top_k": 7, "top_p": 0.8},
    {"min_p": 0.2},
    {"top_k": 9, "top_p": 0.9, "min_p": 0.3, "temperature": 2},
    {"repetition_penalty": 1.5},
    {"repetition_penalty": 2, "repetition_window": 3, "top_p": 0.9},
]


@pytest.mark.parametrize("given", WAYS, ids=str)
def test_the_same_numbers_draw_the_same_tokens(given: dict[str, Any]) -> None:
    options = SamplingOptions(**given)
    generator = np.random.default_rng(1)
    before = [generator.integers(0, SIZE, count).tolist() for count in range(ROWS)]
    alone = [Sampler(options, str(row), before[row]) for row in range(ROWS)]
    numbers = np.array([Sampler(options, str(row)).uniforms(STEPS) for row in range(ROWS)]).T
    window = min(options.repetition_window, STEPS + ROWS)
    recent = torch.full((ROWS, window), SIZE)
    for row, tokens in enumerate(before):
        for token in tokens:
            recent[row] = torch.cat([recent[row, 1:], torch.tensor([token])])
    for step in range(STEPS):
        logits = 2 * generator.standard_normal((ROWS, SIZE)).astype(np.float32)
        likely = torch.from_numpy(logits).log_softmax(-1)
        drawn = draw_together(options, likely, torch.from_numpy(numbers[step]), recent)
        assert drawn.tolist() == [one.draw(values) for one, values in zip(alone, likely.numpy(), strict=True)]
        recent = torch.cat([recent, drawn[:, None]], 1)[:, 1:]


@pytest.mark.parametrize("given", [{"top_k": 3}, {"top_p": 0.5}, {"min_p": 0.4}, {"top_k": 4, "top_p": 0.999}], ids=str)
def test_filters_keep_tokens_as_likely_as_the_last_one(given: dict[str, Any]) -> None:
    options = SamplingOptions(**given)
    weights = np.repeat(np.array([[0.3, 0.2, 0.1, 0.05], [0.0, 1.0, 1.0, 0.5]], np.float32), 2, 1)
    together = least_kept_together(torch.from_numpy(weights), options)[:, 0].tolist()
    assert together == pytest.approx([least_kept(row, options) for row in weights])


def test_the_last_token_is_drawn_where_rounding_leads_beyond_it() -> None:
    weights = torch.tensor([[0.5, 0.5]]).log()
    drawn = draw_together(
        SamplingOptions(temperature=1), weights, torch.tensor([1.0]).double(), torch.zeros(1, 0).long()
    )
    assert drawn.tolist() == [1]
