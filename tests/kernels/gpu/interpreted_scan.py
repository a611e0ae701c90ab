"""Triton's scan under its interpreter: what `test_triton_scan` runs in a process of its own."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from nlpseq.errors import BackendError
from nlpseq.kernels.gpu.scan import scan

Close = Callable[..., None]


def plain(a: Tensor, b: Tensor, state: Tensor, reverse: bool) -> Tensor:
    """Step by step."""
    steps = range(len(a))
    states = {}
    for time in reversed(steps) if reverse else steps:
        state = a[time] * state + b[time]
        states[time] = state
    return torch.stack([states[time] for time in steps])


@pytest.mark.parametrize("reverse", [False, True], ids=["forwards", "backwards"])
@pytest.mark.parametrize(
    ("shape", "chunk"),
    [((7, 3, 5), 64), ((7, 3, 5), 3), ((9, 2, 70), 4), ((8, 1, 3), 4), ((1, 1, 1), 64), ((70, 1, 2), 64)],
)
def test_scan_is_the_recurrence(shape: tuple[int, ...], chunk: int, reverse: bool, assert_close: Close) -> None:
    torch.manual_seed(5)
    given = [torch.randn(shape), torch.randn(shape), torch.randn(shape[1:])]
    grad = torch.randn(shape)
    results = []
    for dtype in (torch.float32, torch.float64):
        a, b, first = (values.to(dtype).requires_grad_() for values in given)
        out = scan(a, b, first, reverse, chunk=chunk) if dtype == torch.float32 else plain(a, b, first, reverse)
        results.append((out, *torch.autograd.grad(out, (a, b, first), grad.to(dtype))))
    for what, found, expected in zip(("states", "a", "b", "first"), *results, strict=True):
        assert_close(found, expected, "float32", what)


def test_numbers_need_not_be_contiguous(assert_close: Close) -> None:
    a, b, first = torch.rand(3, 5, 4).transpose(0, 1), torch.rand(4, 5, 3).permute(1, 2, 0), torch.rand(4, 3).t()
    assert_close(scan(a, b, first), plain(a, b, first, False), "float32")


def test_other_types_are_refused() -> None:
    with pytest.raises(BackendError, match="fp32"):
        scan(torch.ones(2, 1, 1).double(), torch.ones(2, 1, 1), torch.ones(1, 1))
