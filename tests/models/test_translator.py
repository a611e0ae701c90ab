"""The translator: NumPy and torch agree, padding and neighbours change nothing, steps are the whole."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from nlpseq.errors import OptionError
from nlpseq.models import translator
from nlpseq.models.attention import ATTENTIONS, attend, remember
from nlpseq.models.options import CELL_CHOICES
from nlpseq.models.translator import TranslatorOptions

Close = Callable[..., None]
SIZE = 23  # of the vocabulary
SOURCES = np.array([[3, 5, 7], [4, 10, 8], [9, 10, 10], [10, 10, 10]])
LENGTHS = np.array([4, 2, 3])
TARGETS = np.array([[10, 10, 10], [1, 2, 3], [4, 5, 6], [7, 8, 9], [2, 2, 2]])


def _options(**given: Any) -> TranslatorOptions:
    return TranslatorOptions(**{"hidden_size": 6, "embedding_size": 5, **given})


def _weights(options: TranslatorOptions) -> dict[str, np.ndarray]:
    """Random weights in double precision, none of them zero."""
    generator = np.random.default_rng(3)
    made = translator.initial_weights(options, SIZE, 1)
    return {name: value + 0.1 * generator.standard_normal(value.shape) for name, value in made.items()}


def _run(weights: Any, options: TranslatorOptions, sources: Any, lengths: Any, targets: Any) -> tuple[Any, Any]:
    memory, state = translator.encode(weights, options, sources, lengths)
    features, _, shares = translator.decode(weights, options, targets, memory, state)
    return features, shares


CASES = [
    *({"cell": cell} for cell in CELL_CHOICES),
    {"attention": "additive"},
    {"layers": 3, "encoder_layers": 2, "cell": "lstm"},
    {"layer_normalisation": True, "zoneout": 0.2, "tied": False},
    {"reset_before": True},
]


@pytest.mark.parametrize("given", CASES, ids=str)
def test_numpy_and_torch_agree(given: dict[str, Any], assert_close: Close) -> None:
    options = _options(**given)
    weights = _weights(options)
    expected = _run({k: torch.from_numpy(v) for k, v in weights.items()}, options,
                    *(torch.from_numpy(one) for one in (SOURCES, LENGTHS, TARGETS)))  # fmt: skip
    for found, wanted in zip(_run(weights, options, SOURCES, LENGTHS, TARGETS), expected, strict=True):
        assert_close(found, wanted)


@pytest.mark.parametrize("given", CASES, ids=str)
def test_a_text_alone_is_as_beside_others(given: dict[str, Any], assert_close: Close) -> None:
    options = _options(**given)
    weights = _weights(options)
    together, shares = _run(weights, options, SOURCES, LENGTHS, TARGETS)
    for place, length in enumerate(LENGTHS):
        alone, own = _run(weights, options, SOURCES[:length, [place]], LENGTHS[[place]], TARGETS[:, [place]])
        assert_close(together[:, [place]], alone)
        assert_close(shares[[place]][:, :, :length], own)
        assert not shares[place, :, length:].any()


@pytest.mark.parametrize("given", CASES, ids=str)
def test_steps_one_by_one_are_the_whole_for_each_hypothesis(given: dict[str, Any], assert_close: Close) -> None:
    options = _options(**given)
    weights = _weights(options)
    memory, state = translator.encode(weights, options, SOURCES[:, :2], LENGTHS[:2])
    twice = tuple(tuple(type(one)(*(v.repeat(2, 0) for v in one)) for one in layer) for layer in state)
    hypotheses = np.array([[10, 10, 10, 10], [1, 2, 3, 4], [4, 4, 5, 6]])  # two for each of two sources
    whole, _, _ = translator.decode(weights, options, hypotheses, memory, twice)
    for time, ids in enumerate(hypotheses):
        found, twice, shares = translator.decode(weights, options, ids[None], memory, twice)
        assert_close(found[0], whole[time])
        assert shares.shape == (2, 2, len(SOURCES))


@pytest.mark.parametrize("kind", ATTENTIONS)
def test_attention_is_its_closed_form(kind: str, assert_close: Close) -> None:
    generator = np.random.default_rng(1)
    weights = {name: generator.standard_normal(shape) for name, shape in ATTENTIONS[kind].shapes(4, 6).items()}
    queries, values = generator.standard_normal((2, 3, 4)), generator.standard_normal((2, 5, 6))
    lengths = np.array([5, 2])
    context, shares = attend(kind, weights, queries, remember(weights, values, lengths))
    for text, length in enumerate(lengths):
        for step, query in enumerate(queries[text]):
            energies = []
            for value in values[text, :length]:
                key = weights["attention.key"] @ value
                if kind == "dot":
                    energies.append(query @ key / 2)
                else:
                    energies.append(weights["attention.score"][0] @ np.tanh(weights["attention.query"] @ query + key))
            wanted = np.exp(energies) / np.exp(energies).sum()
            assert_close(shares[text, step, :length], wanted)
            assert_close(context[text, step], wanted @ values[text, :length])


def test_dot_attention_is_torchs(assert_close: Close) -> None:
    queries, values = torch.randn(2, 3, 4, dtype=torch.double), torch.randn(2, 5, 6, dtype=torch.double)
    weights = {"attention.key": torch.randn(4, 6, dtype=torch.double)}
    memory = remember(weights, values, torch.tensor([5, 2]))
    expected = torch.nn.functional.scaled_dot_product_attention(queries, memory.keys, values, memory.mask)
    assert_close(attend("dot", weights, queries, memory)[0], expected)


def test_a_decoder_has_a_layer_for_queries_and_one_above() -> None:
    with pytest.raises(OptionError, match="layers: must be at least 2"):
        TranslatorOptions(layers=1)
