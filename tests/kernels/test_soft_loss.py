"""The loss against teachers: its value and its gradients beside plain sums in float64, in chunks too."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from nlpseq.kernels import soft_loss
from nlpseq.kernels.loss import linear_cross_entropy
from nlpseq.kernels.soft_loss import Predictor, soft_cross_entropy

ROWS, SIZE, WORDS = 7, 5, 11


def _layer(seed: int, size: int = SIZE) -> tuple[Tensor, Tensor, Tensor]:
    generator = np.random.default_rng(seed)
    shapes = (ROWS, size), (WORDS, size), (WORDS,)
    features, weight, bias = (torch.from_numpy(generator.standard_normal(shape)) for shape in shapes)
    return features, weight, bias


def _plain(layer: tuple[Tensor, ...], targets: Tensor, teachers: list[Predictor], soft: float, flat: float) -> Tensor:
    """The definition: no chunks, and gradients by torch."""
    features, weight, bias = layer
    logits = features @ weight.T + bias
    own = logits - logits.exp().sum(1, keepdim=True).log()
    flattened = logits / flat
    student = flattened - flattened.exp().sum(1, keepdim=True).log()
    answers = [((each.features @ each.weight.T + each.bias) / flat).exp() for each in teachers]
    wanted = sum(answer / answer.sum(1, keepdim=True) for answer in answers) / len(answers)
    hard = -own[torch.arange(ROWS), targets].sum()
    return (1 - soft) * hard - soft * flat**2 * (wanted * student).sum()


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("temperature", [1.0, 2.5])
@pytest.mark.parametrize("soft", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("chunk", [1, 2 * WORDS, 1 << 20])
def test_value_and_gradients_are_those_of_the_definition(
    monkeypatch: pytest.MonkeyPatch, count: int, temperature: float, soft: float, chunk: int
) -> None:
    monkeypatch.setattr(soft_loss, "CHUNK_VALUES", chunk)
    teachers = [Predictor(*_layer(10 + number, size=3 + number)) for number in range(count)]
    targets = torch.from_numpy(np.random.default_rng(3).integers(0, WORDS, ROWS))
    layers = [tuple(value.clone().requires_grad_() for value in _layer(1)) for _ in range(2)]
    found = soft_cross_entropy(*layers[0], targets, teachers, soft=soft, temperature=temperature)
    expected = _plain(layers[1], targets, teachers, soft, temperature)
    assert float(found.detach()) == pytest.approx(float(expected.detach()), rel=1e-11)
    (3 * found).backward()
    (3 * expected).backward()
    for mine, plain in zip(*layers, strict=True):
        torch.testing.assert_close(mine.grad, plain.grad, rtol=1e-10, atol=1e-12)


def test_without_weight_for_the_teacher_it_is_the_usual_loss() -> None:
    layer, targets = _layer(1), torch.arange(ROWS)
    found = soft_cross_entropy(*layer, targets, [Predictor(*_layer(2))], soft=0.0, temperature=3.0)
    assert float(found) == pytest.approx(float(linear_cross_entropy(*layer, targets)), rel=1e-11)


def test_a_student_that_agrees_with_its_teacher_has_no_gradient() -> None:
    features, weight, bias = (value.requires_grad_() for value in _layer(1))
    teacher = Predictor(*(value.detach() for value in (features, weight, bias)))
    soft_cross_entropy(features, weight, bias, torch.arange(ROWS), [teacher], soft=1.0, temperature=2.0).backward()
    assert max(float(value.grad.abs().max()) for value in (features, weight, bias)) < 1e-12
