"""Scores made on a device, against those of the CPU."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from nlpseq.cells import CELLS
from nlpseq.errors import BackendError
from nlpseq.evaluation import line_scores, perplexity, reader
from nlpseq.evaluation.line_scores import LineScore, LineScorer, StreamScorer
from nlpseq.evaluation.pair_scores import PairScorer
from nlpseq.evaluation.reader import Reader, placed
from nlpseq.evaluation.translation_scores import given_source_scores
from nlpseq.models import language_model, translator
from nlpseq.models.language_model import LanguageModelOptions
from nlpseq.models.model_file import Model
from nlpseq.models.options import options_for
from nlpseq.models.translator import TranslatorOptions
from nlpseq.text.tokenisers import ByteTokeniser

MakeModel = Callable[..., Path]

LINES = ["the cat", "", "x" * 200, "où 猫 \udcff", "a" * 63, "a" * 65, "\r\x00\u2028", " the  mat "] * 5
DEVICE = "torch:cpu"


def _nats(scores: list[Any]) -> list[float]:
    assert all(isinstance(score, LineScore) for score in scores)
    return [score.nats for score in scores]


def _both(path: Path) -> tuple[Model, Model, LanguageModelOptions]:
    model, options = language_model.load(path)
    return placed(model, DEVICE), model, options


@pytest.mark.parametrize("cell", CELLS)
def test_lines_and_texts_cost_the_same_with_every_cell(make_model: MakeModel, cell: str) -> None:
    device, host, options = _both(make_model(**options_for(cell)))
    found, expected = (LineScorer(one, options).score(LINES) for one in (device, host))
    assert _nats(found) == pytest.approx(_nats(expected), rel=1e-5)
    assert [one[1:] for one in found] == [one[1:] for one in expected]
    tokens = np.random.default_rng(1).integers(0, 200, 3000)
    nats = Reader(host.weights, options).text_loss(tokens)
    assert Reader(device.weights, options).text_loss(tokens) == pytest.approx(nats, rel=1e-5)


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        ("word", {"ngrams": 3, "ngram_buckets": 64}),
        ("bpe", {"tied": True, "layer_normalisation": True, "zoneout": 0.1}),
    ],
)
def test_lines_cost_the_same_with_every_part(make_model: MakeModel, kind: str, settings: dict[str, Any]) -> None:
    device, host, options = _both(make_model(kind, **settings))
    found, expected = (LineScorer(one, options).score(LINES) for one in (device, host))
    assert _nats(found) == pytest.approx(_nats(expected), rel=1e-5)


def test_batches_and_chunks_do_not_matter(model_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    device, host, options = _both(model_path)
    monkeypatch.setattr(line_scores, "TOKENS_AT_ONCE", 300)
    monkeypatch.setattr(line_scores, "LONG", 150)
    monkeypatch.setattr(perplexity, "DEVICE_LOGITS", 5000)
    monkeypatch.setattr(perplexity, "BLOCK", 8)
    found, expected = (LineScorer(one, options).score(LINES) for one in (device, host))
    assert _nats(found) == pytest.approx(_nats(expected), rel=1e-5)
    assert LineScorer(device, options).score([]) == []


def test_a_stream_goes_on_on_a_device(make_model: MakeModel) -> None:
    device, host, options = _both(make_model(ngrams=3, ngram_buckets=64))
    expected = StreamScorer(host, options).score(LINES[:9])
    scorer = StreamScorer(device, options)
    first = scorer.score(LINES[:4])
    assert _nats([*first, *scorer.score(LINES[4:9])]) == pytest.approx(_nats(expected), rel=1e-5)
    rest = StreamScorer(device, options, scorer.state).score(LINES[:2])
    assert len(rest) == 2


def _translator(**settings: Any) -> tuple[Model, TranslatorOptions]:
    options = TranslatorOptions(**{"hidden_size": 5, "embedding_size": 4, **settings})
    weights = translator.initial_weights(options, 256, 1)
    return Model(translator.TASK, {}, weights, ByteTokeniser(()), {}, Path()), options


@pytest.mark.parametrize("cell", CELLS)
def test_pairs_cost_the_same_with_every_cell(cell: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "PAIR_TOKENS", 60)
    model, options = _translator(**options_for(cell))
    sources, targets = ["abc", "d", "", "x" * 30, "y" * 3000], ["xy", "", "wvu ö", "z" * 7, "a"]
    both = (placed(model, DEVICE), model)
    found, expected = (PairScorer(one, options, "here", iter(sources)).score_lines(targets) for one in both)
    assert found[4] is expected[4] is None
    assert _nats(found[:4]) == pytest.approx(_nats(expected[:4]), rel=1e-5)
    scores = [given_source_scores(one, options, sources, targets) for one in both]
    assert [one.value for one in scores[0]] == pytest.approx([one.value for one in scores[1]], rel=1e-5)
    assert [one.signature for one in scores[0]] == [one.signature for one in scores[1]]


def test_no_pairs_have_no_losses() -> None:
    model, options = _translator()
    assert PairScorer(placed(model, DEVICE), options, "here", iter(())).score_lines([]) == []


def test_what_does_not_fit_is_read_in_halves(model_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    device, host, options = _both(model_path)
    plain = Reader.read

    def read(self: Reader, ids: np.ndarray, *given: Any) -> Any:
        if ids.shape[1] > 3 and not self.on_host:
            raise torch.OutOfMemoryError
        return plain(self, ids, *given)

    monkeypatch.setattr(Reader, "read", read)
    found, expected = (LineScorer(one, options).score(LINES[:9]) for one in (device, host))
    assert _nats(found) == pytest.approx(_nats(expected), rel=1e-5)


def test_a_text_that_does_not_fit_is_read_in_fewer_streams(model_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    device, host, options = _both(model_path)
    tokens = np.random.default_rng(1).integers(0, 200, 3000)
    expected = Reader(host.weights, options).text_loss(tokens)
    plain, tried = perplexity.text_loss, []

    def text_loss(*given: Any, streams: int, **settings: Any) -> float:
        tried.append(streams)
        if streams > 100:
            raise torch.OutOfMemoryError
        return plain(*given, streams=streams, **settings)

    monkeypatch.setattr(perplexity, "text_loss", text_loss)
    assert Reader(device.weights, options).text_loss(tokens) == pytest.approx(expected, rel=1e-5)
    assert tried == [512, 256, 128, 64]


def test_losses_are_fetched_once_a_batch(model_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    device, _, options = _both(model_path)
    scorer, fetched = LineScorer(device, options), []
    plain = reader.arrays.to_numpy
    monkeypatch.setattr(reader.arrays, "to_numpy", lambda values: fetched.append(1) or plain(values))
    scorer.score(LINES)
    assert len(fetched) == 1


def test_cuda_without_a_gpu_is_refused(model_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(BackendError, match="cuda cannot be used"):
        placed(language_model.load(model_path)[0], "cuda")
