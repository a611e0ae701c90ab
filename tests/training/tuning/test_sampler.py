"""What Optuna proposes: always the same, values of the space, better ones the longer it searches."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from nlpseq.errors import OptionError
from nlpseq.tasks import CLASSIFIER
from nlpseq.training.requests import make_request
from nlpseq.training.tuning.sampler import OptunaSampler
from nlpseq.training.tuning.spaces import Dimension, Space

DEFAULTS = {"learning_rate": 0.002, "dropout": 0.5, "tokens": "bpe"}
DIMENSIONS = [
    Dimension("learning_rate", (0.25, 0.5, 1, 2, 4), "times"),
    Dimension("dropout", (-0.2, -0.1, 0, 0.1, 0.2), "plus"),
    Dimension("tokens", ("bpe", "word", "char"), ordered=False),
]


def _space() -> Space:
    return Space(DIMENSIONS, make_request(CLASSIFIER, ["corpus.tsv"], {}), DEFAULTS)


def _loss(indices: tuple[int, ...]) -> float:
    rate, dropout, tokens = indices
    return abs(rate - 4) + abs(dropout - 1) + 2 * (tokens != 1)


def _found(count: int) -> list[tuple[int, ...]]:
    sampler, found = OptunaSampler(_space(), 1.0), []
    for _ in range(count):
        proposal = sampler.propose()
        found.append(proposal.indices)
        proposal.end(_loss(proposal.indices), "complete")
    return found


def test_proposals_are_of_the_space_and_always_the_same() -> None:
    pytest.importorskip("optuna")
    found = _found(20)
    assert found == _found(20)
    for indices in found:
        assert all(0 <= index < len(dimension.values) for index, dimension in zip(indices, DIMENSIONS, strict=True))


def test_later_proposals_are_better() -> None:
    pytest.importorskip("optuna")
    losses = [_loss(indices) for indices in _found(40)]
    assert sum(losses[-10:]) < 0.6 * sum(losses[:10])


def test_a_trial_that_is_behind_the_median_is_stopped() -> None:
    pytest.importorskip("optuna")
    sampler = OptunaSampler(_space(), 1.0)
    for _ in range(6):
        proposal = sampler.propose()
        assert not any(proposal.falls_behind(1.0, validation) for validation in (1, 2, 3, 4))
        proposal.end(1.0, "complete")
    proposal = sampler.propose()
    assert [proposal.falls_behind(2.0, validation) for validation in (1, 2, 3, 4)] == [False, False, True, True]
    proposal.end(None, "pruned")
    failing = sampler.propose()
    failing.end(None, "failed")
    assert sampler.propose().indices


def test_without_optuna_the_way_to_install_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    missing: dict[str, Any] = {"optuna": None}
    monkeypatch.setitem(sys.modules, "optuna", missing["optuna"])
    with pytest.raises(OptionError, match="needs Optuna") as refused:
        OptunaSampler(_space(), 1.0)
    assert refused.value.hint == "pip install 'nlpseq[tune]'"
