"""Shares of two models' logits, against torch's derivatives and labels drawn with known shares."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from nlpseq.evaluation.shares import EXPECTED, PENALTY, calibrate, fit_shares


def drawn(logits: np.ndarray, *, several: bool) -> np.ndarray:
    """Labels drawn by the probabilities that logits [N, C] give."""
    generator = np.random.default_rng(9)
    if several:
        return (generator.random(logits.shape) < 1 / (1 + np.exp(-logits))).astype(np.uint8)
    found: np.ndarray = (logits + generator.gumbel(size=logits.shape)).argmax(1)
    return found


def made(count: int, labels: int, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    first, second = generator.standard_normal((2, count, labels)).astype(np.float32)
    return first, second


def summed(parts: list[torch.Tensor], logarithms: torch.Tensor, labels: np.ndarray) -> torch.Tensor:
    """The loss of the sum of parts, by torch."""
    logits = sum(share * part for share, part in zip(logarithms.exp(), parts, strict=True))
    assert isinstance(logits, torch.Tensor)
    if labels.ndim == 2:
        return binary_cross_entropy_with_logits(logits, torch.from_numpy(labels).double(), reduction="sum")
    return cross_entropy(logits, torch.from_numpy(labels), reduction="sum")


def smallest(parts: list[torch.Tensor], expected: torch.Tensor, labels: np.ndarray) -> torch.Tensor:
    """The logarithms of the shares with the smallest loss and penalty, by Newton's method."""

    def objective(logarithms: torch.Tensor) -> torch.Tensor:
        return summed(parts, logarithms, labels) + PENALTY * (logarithms - expected).square().sum()

    found = expected.clone()
    for _ in range(30):
        slope = torch.autograd.functional.jacobian(objective, found)
        curvature = torch.autograd.functional.hessian(objective, found)
        found = found - torch.linalg.solve(curvature, slope)
    assert torch.autograd.functional.jacobian(objective, found).abs().max() < 1e-6
    return found


@pytest.mark.parametrize("count", [1, 7, 100])
@pytest.mark.parametrize(("labels", "several"), [(2, False), (5, False), (1, True), (4, True)])
def test_shares_minimise_loss_and_penalty(labels: int, several: bool, count: int) -> None:
    first, second = made(count, labels)
    own = drawn(0.5 * first + 1.5 * second, several=several)
    parts = [torch.from_numpy(part).double() for part in (first, second)]
    alone = torch.cat([smallest([part], torch.zeros(1, dtype=torch.float64), own) for part in parts])
    expected = smallest(parts, alone + torch.tensor(EXPECTED, dtype=torch.float64).log(), own)
    assert fit_shares(first, second, own) == pytest.approx(expected.exp().tolist(), rel=1e-3)


@pytest.mark.parametrize("several", [False, True])
@pytest.mark.parametrize("shares", [(0.7, 1.3), (1.5, 0.2), (0.3, 3.0)])
def test_known_shares_are_found(shares: tuple[float, float], several: bool) -> None:
    first, second = made(20_000, 3)
    labels = drawn(shares[0] * first + shares[1] * second, several=several)
    assert fit_shares(first, second, labels) == pytest.approx(shares, rel=0.1)


@pytest.mark.parametrize("several", [False, True])
def test_a_network_that_learned_nothing_has_a_small_share(several: bool) -> None:
    first, second = made(2000, 3)
    labels = drawn(2 * second, several=several)
    network, linear = fit_shares(first, second, labels)
    assert network < 0.1 and linear == pytest.approx(2, rel=0.1)


@pytest.mark.parametrize("several", [False, True])
def test_few_texts_keep_the_shares_that_are_expected(several: bool) -> None:
    first, second = made(2, 3)
    labels = drawn(3 * first, several=several)  # for which the second would need no share
    found = fit_shares(first, second, labels)
    assert found == pytest.approx(EXPECTED, rel=0.7)
    many = [np.tile(part, (100, 1)) for part in (first, second, labels if several else labels[:, None])]
    repeated = fit_shares(many[0], many[1], many[2] if several else many[2][:, 0])
    assert abs(np.log(repeated) - np.log(EXPECTED)).max() > 2 * abs(np.log(found) - np.log(EXPECTED)).max()


def test_logits_without_information_are_no_error() -> None:
    zeros = np.zeros((5, 2), np.float32)
    assert fit_shares(zeros, zeros, np.array([0, 1, 0, 1, 1])) == pytest.approx(EXPECTED, rel=1e-3)


@pytest.mark.parametrize("several", [False, True])
def test_the_calibrated_loss_is_that_of_the_best_temperature(several: bool) -> None:
    first, _ = made(300, 3)
    labels = drawn(first, several=several)
    logits = torch.from_numpy(4 * first)
    losses = [
        float(summed([logits.double()], torch.tensor([-np.log(temperature)]), labels)) / 300
        for temperature in np.geomspace(0.5, 32, 400)
    ]
    assert calibrate(4 * first, labels).loss == pytest.approx(min(losses), rel=1e-3)
