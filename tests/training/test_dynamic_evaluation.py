"""Dynamic evaluation, against the same by torch's own layers, gradients and optimiser."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import nlpseq
from nlpseq.commands.cli import app
from nlpseq.evaluation.adaptation import AdaptationOptions
from nlpseq.evaluation.perplexity import text_loss
from nlpseq.models import language_model
from nlpseq.training.dynamic_evaluation import DynamicReading

TEXT = "the cat sat on the mat, où es-tu?\nthe dog sat on the log.\n" * 3


class _Plain(torch.nn.Module):
    """The same network of torch's layers, in float64."""

    def __init__(self, weights: dict[str, np.ndarray]) -> None:
        super().__init__()
        words, size = weights["embedding.weight"].shape
        hidden = weights["layers.0.weight_hh"].shape[1]
        self.embedding = torch.nn.Embedding(words, size)
        self.layers = torch.nn.LSTM(size, hidden, 2)
        self.output = torch.nn.Linear(hidden, words)
        self.double()
        named = {"embedding.weight": "embedding.weight", "output.weight": "output.weight", "output.bias": "output.bias"}
        for layer in range(2):
            for field in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
                named[f"layers.{field}_l{layer}"] = f"layers.{layer}.{field}"
        self.load_state_dict({name: torch.from_numpy(np.array(weights[key])) for name, key in named.items()})

    def forward(self, ids: torch.Tensor, state: Any) -> tuple[torch.Tensor, Any]:
        outputs, state = self.layers(self.embedding(ids), state)
        return self.output(outputs), state


def _by_hand(weights: dict[str, np.ndarray], tokens: np.ndarray, rate: float, decay: float, length: int) -> float:
    network, trained = _Plain(weights), _Plain(weights)
    optimiser = torch.optim.SGD(network.parameters(), lr=rate)
    ids = torch.from_numpy(np.concatenate([[10], tokens]).astype(np.int64))
    state, nats = None, 0.0
    for start in range(0, len(tokens), length):
        stop = min(start + length, len(tokens))
        logits, state = network(ids[start:stop], state)
        loss = torch.nn.functional.cross_entropy(logits, ids[start + 1 : stop + 1])
        nats += loss.item() * (stop - start)
        pulls = [
            decay * (own - now).detach() for own, now in zip(trained.parameters(), network.parameters(), strict=True)
        ]
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        with torch.no_grad():
            for now, pull in zip(network.parameters(), pulls, strict=True):
                now += pull
        state = tuple(value.detach() for value in state)
    return nats


@pytest.mark.parametrize(("rate", "decay", "length"), [(0.5, 0.01, 7), (2.0, 0.3, 5), (0.5, 0.0, 1000)])
def test_it_is_a_plain_loop_of_torch(make_model: Callable[..., Path], rate: float, decay: float, length: int) -> None:
    model, options = language_model.load(make_model())
    tokens = model.tokeniser.encode(TEXT)
    before = {name: value.copy() for name, value in model.weights.items()}
    adaptation = AdaptationOptions(dynamic=rate, dynamic_decay=decay, dynamic_tokens=length)
    found = DynamicReading(adaptation).text_loss(model, options, tokens)
    assert found == pytest.approx(_by_hand(model.weights, tokens, rate, decay, length), rel=1e-5)
    assert all(np.array_equal(value, before[name]) for name, value in model.weights.items())
    static = text_loss(model.weights, options, tokens)
    if length > len(tokens):
        assert found == pytest.approx(static, rel=1e-6), "the last tokens are learned from, but nothing comes after"
    else:
        assert abs(found - static) > 1e-3 * static, "else nothing was learned"


def test_a_model_with_ngrams_and_a_tied_output_adapts_too(make_model: Callable[..., Path]) -> None:
    model, options = language_model.load(make_model("word", tied=True, ngrams=3, ngram_buckets=50, cell="gru"))
    tokens = model.tokeniser.encode(TEXT * 4)
    found = DynamicReading(AdaptationOptions(dynamic=0.5)).text_loss(model, options, tokens)
    assert found < text_loss(model.weights, options, tokens)


def test_the_command_gives_what_the_method_gives(model_path: Path, tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text(TEXT, encoding="utf-8")
    scores = nlpseq.load(model_path).evaluate(tmp_path / "text.txt", dynamic=0.5, dynamic_tokens=10)
    arguments = ["evaluate", "-m", model_path, tmp_path / "text.txt", "--dynamic", 0.5, "--dynamic-tokens", 10]
    done = CliRunner().invoke(app, [*map(str, arguments), "--json"], catch_exceptions=False)
    assert json.loads(done.stdout)["scores"] == [score.as_json() for score in scores]
    assert scores[0].signature.endswith("|dynamic:0.5:0.001:10")


def test_a_classifier_does_not_adapt() -> None:
    done = CliRunner().invoke(app, ["evaluate", "-m", "reviews", "--cache", "100"], catch_exceptions=False)
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.startswith("error: --cache: is for language models, and the model is a classifier\n")
