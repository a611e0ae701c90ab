"""Labels from a device, against those that the CPU gives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from nlpseq.cells import CELLS
from nlpseq.decoding.classification import TextClassifier
from nlpseq.decoding.device import classification as device_classification
from nlpseq.decoding.device.classification import DeviceEngine
from nlpseq.errors import BackendError
from nlpseq.models import classifier
from nlpseq.models.classifier import ClassifierOptions
from nlpseq.models.evidence import table_rows
from nlpseq.models.model_file import Model
from nlpseq.models.options import options_for
from nlpseq.text.tokenisers import train_tokeniser

TEXTS = ["abc", "", "ü" * 40, "a 猫 b", "abcabc" * 30, "x", "cab"] * 3


def _model(**settings: Any) -> tuple[Model, ClassifierOptions]:
    options = ClassifierOptions(**{"hidden_size": 8, "embedding_size": 6, "bidirectional": True, **settings})
    tokeniser = train_tokeniser("char", ["abc äöü 猫"] * 2, 270)
    weights = classifier.initial_weights(options, tokeniser.size, np.array([3, 2, 1]), 1)
    if options.evidence:
        rows = table_rows(options.evidence, tokeniser.size)
        weights["evidence.table"] = np.random.default_rng(1).standard_normal((rows, 3)).astype(np.float32)
    header = {"labels": ["a", "b", "c"], "temperature": 1.5}
    return Model(classifier.TASK, asdict(options), weights, tokeniser, header, Path()), options


def _check(loaded: tuple[Model, ClassifierOptions]) -> None:
    host, device = (TextClassifier(*loaded, name).classify(TEXTS) for name in ("cpu", "torch:cpu"))
    for expected, found in zip(host, device, strict=True):
        assert found.labels == expected.labels
        assert found.probabilities == pytest.approx(expected.probabilities, abs=1e-5)


@pytest.mark.parametrize("cell", CELLS)
def test_a_device_finds_the_same_labels_with_every_cell(cell: str) -> None:
    _check(_model(**options_for(cell)))


@pytest.mark.parametrize(
    "settings",
    [
        {"ngrams": 3, "ngram_buckets": 64, "layers": 2, "pooling": "last,attention"},
        {"evidence": 2, "bidirectional": False},
        {"layer_normalisation": True, "zoneout": 0.1},
    ],
    ids=str,
)
def test_a_device_finds_the_same_labels_with_every_part(settings: dict[str, Any]) -> None:
    _check(_model(**settings))


def test_groups_are_split_by_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device_classification, "TOKENS_AT_ONCE", 50)
    _check(_model())


def test_groups_that_do_not_fit_are_read_in_halves(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = DeviceEngine.read

    def read(self: DeviceEngine, texts: Any, indices: Sequence[int]) -> Any:
        if len(indices) > 2:
            raise torch.OutOfMemoryError
        return plain(self, texts, indices)

    monkeypatch.setattr(DeviceEngine, "read", read)
    _check(_model())


def test_no_texts_have_no_labels() -> None:
    ours = TextClassifier(*_model(), "torch:cpu")
    assert ours.classify([]) == []
    assert ours.logits([]).shape == (0, 3)


def test_cuda_without_a_gpu_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(BackendError, match="cuda cannot be used"):
        TextClassifier(*_model(), "cuda")
