"""The loss over chunks is torch's cross-entropy; the sampled one is right on average."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from nlpseq.kernels import loss
from nlpseq.kernels.loss import Candidates, linear_cross_entropy, sampled_cross_entropy

Close = Callable[..., None]

ROWS, SIZE, WORDS = 13, 5, 11

NO_TARGETS = torch.empty(0, dtype=torch.long)


def _case(dtype: torch.dtype = torch.float64, words: int = WORDS) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Hidden states, weights, bias and targets."""
    generator = torch.Generator().manual_seed(5)
    shapes = [(ROWS, SIZE), (words, SIZE), (words,)]
    tensors = [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes]
    hidden, weight, bias = (value.to(dtype).requires_grad_() for value in tensors)
    return hidden, weight, bias, torch.randint(words, (ROWS,), generator=generator)


def _torchs(hidden: Tensor, weight: Tensor, bias: Tensor, targets: Tensor) -> Tensor:
    return torch.nn.functional.cross_entropy(hidden @ weight.t() + bias, targets, reduction="sum")


@pytest.mark.parametrize(
    "chunk", [1, 2 * WORDS, 5 * WORDS, 1 << 22], ids=["a row", "two rows", "five rows", "all rows"]
)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
def test_loss_and_gradients_are_torchs_whatever_the_chunks(
    chunk: int, dtype: torch.dtype, assert_close: Close, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loss, "CHUNK_VALUES", chunk)
    *given, targets = _case(dtype)
    kind = str(dtype).removeprefix("torch.")
    found, expected = linear_cross_entropy(*given, targets), _torchs(*given, targets)
    assert found.dtype == dtype
    assert found.shape == ()
    assert_close(found, expected, kind)
    ours, theirs = (torch.autograd.grad(3 * value, given) for value in (found, expected))
    for what, grad, wanted in zip(("hidden", "weight", "bias"), ours, theirs, strict=True):
        assert_close(grad, wanted, kind, what)


@pytest.mark.parametrize("chunk", [2 * WORDS, 1 << 22], ids=["two rows", "all rows"])
def test_a_smoothed_loss_and_its_gradients_are_torchs(
    chunk: int, assert_close: Close, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loss, "CHUNK_VALUES", chunk)
    hidden, weight, bias, targets = _case()
    given = (hidden, weight, bias)
    found = linear_cross_entropy(*given, targets, smoothing=0.1)
    expected = torch.nn.functional.cross_entropy(
        hidden @ weight.t() + bias, targets, reduction="sum", label_smoothing=0.1
    )
    assert_close(found, expected)
    for grad, wanted in zip(*(torch.autograd.grad(value, given) for value in (found, expected)), strict=True):
        assert_close(grad, wanted)
    with torch.no_grad():
        assert_close(linear_cross_entropy(*given, targets, smoothing=0.1), _torchs(*given, targets))


def test_gradients_of_the_loss_agree_with_finite_differences(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loss, "CHUNK_VALUES", 4 * WORDS)
    *given, targets = _case()
    assert torch.autograd.gradcheck(lambda *values: linear_cross_entropy(*values, targets), given)


def test_the_loss_is_the_same_where_no_gradient_is_wanted(assert_close: Close, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loss, "CHUNK_VALUES", 4 * WORDS)
    *given, targets = _case()
    expected = _torchs(*given, targets)
    with torch.no_grad():
        assert_close(linear_cross_entropy(*given, targets), expected)
    assert_close(linear_cross_entropy(*(value.detach() for value in given), targets), expected)


def test_half_precision_operands_keep_the_loss_near(assert_close: Close) -> None:
    *given, targets = _case(torch.float32)
    *exact, _ = _case()
    found, expected = linear_cross_entropy(*given, targets, torch.bfloat16), _torchs(*exact, targets)
    assert found.dtype == torch.float32
    assert_close(found, expected, "bfloat16")
    for grad, wanted in zip(torch.autograd.grad(found, given), torch.autograd.grad(expected, exact), strict=True):
        assert grad.dtype == torch.float32
        assert_close(grad, wanted, "bfloat16")


def test_a_hopeless_target_costs_much_and_not_infinity() -> None:
    hidden, weight = torch.tensor([[1.0]], requires_grad=True), torch.tensor([[0.0], [500.0]], requires_grad=True)
    total = linear_cross_entropy(hidden, weight, torch.zeros(2), torch.tensor([0]))
    total.backward()
    assert 80 < total.item() <= 500
    assert torch.isfinite(hidden.grad).all()


@pytest.mark.parametrize("expected", [WORDS, 10 * WORDS])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
def test_sampling_every_word_gives_the_full_loss(expected: int, dtype: torch.dtype, assert_close: Close) -> None:
    *given, targets = _case(dtype)
    drawn = Candidates(np.arange(WORDS), expected).draw(targets, torch.Generator().manual_seed(0))
    assert len(drawn[0]) == WORDS
    kind = str(dtype).removeprefix("torch.")
    found, wanted = sampled_cross_entropy(*given, targets, drawn), _torchs(*given, targets)
    assert_close(found, wanted, kind)
    for one, other in zip(torch.autograd.grad(found, given), torch.autograd.grad(wanted, given), strict=True):
        assert_close(one, other, kind)


def test_gradients_of_the_sampled_loss_agree_with_finite_differences() -> None:
    *given, targets = _case(words=30)
    drawn = Candidates(np.arange(30), 12).draw(targets[:2], torch.Generator().manual_seed(1))
    assert 0 < len(drawn[0]) < 30
    assert torch.autograd.gradcheck(lambda *values: sampled_cross_entropy(*values, targets, drawn), given)


def test_the_sampled_loss_is_finite_where_only_the_target_is_drawn() -> None:
    hidden, weight, bias, _ = _case()
    drawn = torch.tensor([3]), torch.zeros(1, dtype=torch.float64)
    total = sampled_cross_entropy(hidden, weight, bias, torch.full((ROWS,), 3), drawn)
    assert total.item() == pytest.approx(0, abs=1e-12), "a choice among one costs nothing"
    assert all(torch.isfinite(grad).all() for grad in torch.autograd.grad(total, (hidden, weight, bias)))


def test_the_estimated_normaliser_is_right_on_average() -> None:
    """exp(loss + logit of the target) is the estimate; its mean over draws must be the full softmax's normaliser."""
    words, draws = 60, 4000
    hidden, weight, bias, targets = (value.detach() for value in _case(words=words))
    candidates = Candidates(np.arange(words) ** 2, 15)
    generator = torch.Generator().manual_seed(2)
    logits = hidden[:1] @ weight.t() + bias
    own = logits[0, targets[0]]
    estimates = torch.stack(
        [
            sampled_cross_entropy(hidden[:1], weight, bias, targets[:1], candidates.draw(targets[1:], generator))
            .add(own)
            .exp()
            for _ in range(draws)
        ]
    )
    truth = logits.exp().sum()
    error = estimates.std() / draws**0.5
    assert error < 0.05 * truth, "the estimate must be sharp enough for the test to say something"
    assert abs(estimates.mean() - truth) < 4 * error  # four standard errors: one draw of seeds in 16,000 fails


def test_words_are_drawn_as_often_as_was_said() -> None:
    frequencies = np.array([0, 1, 5, 10, 1000, 100_000, 3, 7])
    candidates = Candidates(frequencies, 4)
    assert float(candidates.probability.sum()) == pytest.approx(4, rel=1e-6)
    assert (candidates.probability[4:6] == 1).all()
    ratio = candidates.probability[3] / candidates.probability[1]
    assert float(ratio) == pytest.approx((10.1 / 1.1) ** 0.75, rel=1e-5)
    generator = torch.Generator().manual_seed(0)
    counts = torch.zeros(len(frequencies))
    for _ in range(2000):
        ids, correction = candidates.draw(NO_TARGETS, generator)
        assert torch.allclose(correction, -candidates.probability[ids].log())
        counts[ids] += 1
    spread = (candidates.probability * (1 - candidates.probability) / 2000).sqrt()
    assert ((counts / 2000 - candidates.probability).abs() <= 4.5 * spread + 1e-9).all()


def test_the_batchs_targets_are_always_drawn_and_stand_for_themselves() -> None:
    candidates, targets = Candidates(np.ones(1000), 10), torch.tensor([7, 900, 7])
    ids, correction = candidates.draw(targets, torch.Generator().manual_seed(0))
    assert {7, 900} <= set(ids.tolist())
    assert (correction[torch.isin(ids, targets)] == 0).all()


def test_the_same_seed_draws_the_same_words() -> None:
    candidates = Candidates(np.arange(500), 50)
    one, same = (candidates.draw(NO_TARGETS, torch.Generator().manual_seed(3))[0] for _ in range(2))
    assert torch.equal(one, same)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_rows_that_do_not_count_lend_nothing_in_either_way(smoothing: float) -> None:
    generator = torch.Generator().manual_seed(4)
    real = torch.tensor([True, False, True, True, False])
    found = []
    for fixed in (False, True):
        generator.manual_seed(4)
        hidden, weight, bias = (torch.randn(*size, generator=generator) for size in ((5, 6), (9, 6), (9,)))
        targets = torch.randint(9, (5,), generator=generator)
        leaves = [one.requires_grad_() for one in (hidden, weight, bias)]
        loss = linear_cross_entropy(*leaves, targets, smoothing=smoothing, real=real, fixed=fixed)
        found.append([loss.detach(), *torch.autograd.grad(loss, leaves)])
        with torch.no_grad():
            found[-1].append(linear_cross_entropy(*leaves, targets, smoothing=smoothing, real=real, fixed=fixed))
    for one, other in zip(*found, strict=True):
        assert torch.allclose(one, other, atol=1e-6)
    assert not found[1][1][~real].any()


def test_a_fixed_number_of_candidates_gives_the_same_loss_as_those_drawn() -> None:
    words, rows = 400, 12
    frequencies, targets = np.arange(words), torch.randint(words, (rows,), generator=torch.Generator().manual_seed(5))
    found, sizes = [], []
    for fixed in (False, True):
        generator = torch.Generator().manual_seed(6)
        hidden, weight, bias = (torch.randn(*size, generator=generator) for size in ((rows, 8), (words, 8), (words,)))
        leaves = [one.requires_grad_() for one in (hidden, weight, bias)]
        ids, correction = Candidates(frequencies, 60, fixed=fixed).draw(targets, generator)
        loss = sampled_cross_entropy(*leaves, targets, (ids, correction))
        found.append([loss.detach(), *torch.autograd.grad(loss, leaves)])
        sizes.append(ids[ids < words].tolist())
    assert sizes[0] == sizes[1], "the same words are drawn"
    for one, other in zip(*found, strict=True):
        assert torch.allclose(one, other, atol=1e-5)
    again, _ = Candidates(frequencies, 60, fixed=True).draw(targets, generator)
    assert len(again) == len(ids), "their number never changes"
