"""Random masks: their rate, and that a generator's state is all they depend on."""

from __future__ import annotations

import pytest
import torch

from nlpseq.kernels.masks import draw_mask


@pytest.mark.parametrize("rate", [0.0, 0.1, 0.5, 0.9, 1.0])
def test_masks_hold_as_many_as_asked_for(rate: float) -> None:
    mask = draw_mask((40, 50, 60), rate, torch.Generator().manual_seed(1))
    assert mask.dtype == torch.bool
    error = 4 * (rate * (1 - rate) / mask.numel()) ** 0.5  # four standard errors
    assert abs(mask.float().mean().item() - rate) <= error


def test_places_do_not_depend_on_each_other() -> None:
    mask = draw_mask((100_000, 2), 0.5, torch.Generator().manual_seed(2)).float()
    assert abs(torch.corrcoef(mask.T)[0, 1].item()) < 0.02


def test_the_same_generator_draws_the_same_and_then_something_else() -> None:
    first, second = (torch.Generator().manual_seed(3) for _ in range(2))
    one = draw_mask((7, 9), 0.5, first)
    assert torch.equal(one, draw_mask((7, 9), 0.5, second))
    assert not torch.equal(one, draw_mask((7, 9), 0.5, first))


def test_a_restored_state_draws_on() -> None:
    generator = torch.Generator().manual_seed(4)
    draw_mask((5,), 0.5, generator)
    state = generator.get_state()
    expected = draw_mask((5, 5), 0.5, generator)
    generator.set_state(state)
    assert torch.equal(draw_mask((5, 5), 0.5, generator), expected)
