"""The classifier: poolings against their definitions, NumPy against torch, batches against single texts."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from nlpseq.cells import CELLS
from nlpseq.errors import ModelFileError, OptionError
from nlpseq.models import classifier, pooling
from nlpseq.models.classifier import ClassifierOptions
from nlpseq.models.model_file import save_model
from nlpseq.models.options import options_for
from nlpseq.models.pooling import POOLINGS, Outputs
from nlpseq.native import layer
from nlpseq.text.padding import side_by_side
from nlpseq.text.tokenisers import NEWLINE, train_tokeniser

Close = Callable[..., None]


def _model(**settings: object) -> tuple[ClassifierOptions, dict[str, np.ndarray]]:
    given = {"hidden_size": 6, "embedding_size": 5, "bidirectional": True, "ngrams": 1, **settings}
    options = ClassifierOptions(**given)  # type: ignore[arg-type]
    weights = classifier.initial_weights(options, 40, np.array([5, 3, 2]), 1)
    generator = np.random.default_rng(2)
    return options, {
        name: value + 0.2 * generator.standard_normal(value.shape).astype(np.float32) for name, value in weights.items()
    }


def _texts(count: int = 7) -> list[np.ndarray]:
    generator = np.random.default_rng(3)
    return [generator.integers(0, 40, generator.integers(2, 20)) for _ in range(count)]


@pytest.mark.parametrize("name", POOLINGS)
def test_a_pooling_is_what_it_says_and_padding_takes_no_part(name: str, assert_close: Close) -> None:
    generator = np.random.default_rng(1)
    lengths, size = np.array([3, 9, 1, 5]), 4
    steps = -5 + generator.standard_normal((9, 4, size))
    for column, length in enumerate(lengths):
        steps[length:, column] = 0
    weights = {key: generator.standard_normal(shape) for key, shape in pooling.weight_shapes([name], size).items()}
    last = generator.standard_normal((4, size))
    made = pooling.pool(weights, [name], Outputs(steps, last, lengths))
    for column, length in enumerate(lengths):
        real = steps[:length, column]
        if name == "attention":
            energies = np.tanh(real @ weights["attention.key"].T + weights["attention.bias"])
            shares = np.exp(energies @ weights["attention.query"][0])
            expected = (shares / shares.sum()) @ real
        else:
            expected = {"max": real.max(0), "mean": real.mean(0), "last": last[column]}[name]
        assert_close(made[column], expected)


@pytest.mark.parametrize("names", ["max", "mean", "last", "attention", "max,mean,attention,last"])
@pytest.mark.parametrize("cell", CELLS)
def test_numpy_and_torch_and_the_compiled_loop_agree(cell: str, names: str, assert_close: Close) -> None:
    options, weights = _model(pooling=names, layers=2, **options_for(cell))
    ids, lengths = side_by_side(_texts())
    plain = classifier.logits(weights, options, classifier.read(weights, options, ids, lengths))
    fast = classifier.logits(weights, options, classifier.read(weights, options, ids, lengths, run_layer=layer.unroll))
    tensors = {name: torch.from_numpy(value) for name, value in weights.items()}
    outputs = classifier.read(tensors, options, torch.from_numpy(ids), torch.from_numpy(lengths))
    assert plain.shape == (7, 3)
    assert_close(fast, plain, "float32")
    assert_close(classifier.logits(tensors, options, outputs), plain, "float32")


@pytest.mark.parametrize("settings", [{}, {"ngrams": 3, "ngram_buckets": 50}, {"bidirectional": False, "layers": 3}])
def test_a_text_is_judged_the_same_whatever_is_beside_it(settings: dict[str, int], assert_close: Close) -> None:
    options, weights = _model(pooling="max,mean,attention,last", **settings)
    texts = _texts()
    together = classifier.logits(weights, options, classifier.read(weights, options, *side_by_side(texts)))
    for place, text in enumerate(texts):
        alone = classifier.logits(weights, options, classifier.read(weights, options, *side_by_side([text])))
        assert_close(together[place], alone[0], "float32")


@pytest.mark.parametrize("name", POOLINGS)
def test_gradients_of_poolings(name: str) -> None:
    generator = np.random.default_rng(1)
    weights = {
        key: torch.from_numpy(generator.standard_normal(shape))
        for key, shape in pooling.weight_shapes([name], 3).items()
    }
    lengths = torch.tensor([2, 4])

    def run(steps: torch.Tensor, last: torch.Tensor) -> torch.Tensor:
        made: torch.Tensor = pooling.pool(weights, [name], Outputs(steps, last, lengths))
        return made

    steps = torch.randn(4, 2, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1), requires_grad=True)
    assert torch.autograd.gradcheck(run, (steps, steps[-1].detach().clone().requires_grad_()))


def test_a_shift_is_added_to_the_tokens_vectors(assert_close: Close) -> None:
    options, weights = _model()
    ids, lengths = side_by_side(_texts())
    shift = np.random.default_rng(1).standard_normal((*ids.shape, 5)).astype(np.float32)
    moved = classifier.read(weights, options, ids, lengths, shift=shift)
    rows = {"embedding.weight": (weights["embedding.weight"][ids] + shift).reshape(-1, 5)}
    places = np.arange(ids.size).reshape(ids.shape)
    assert_close(moved.last, classifier.read({**weights, **rows}, options, places, lengths).last, "float32")


def test_a_text_stands_between_newlines_and_is_one_line() -> None:
    tokeniser = train_tokeniser("byte", [], 256)
    assert classifier.text_ids(tokeniser, "A\nb", lowercase=False).tolist() == [NEWLINE, 65, 32, 98, NEWLINE]
    assert classifier.text_ids(tokeniser, "A", lowercase=True).tolist() == [NEWLINE, 97, NEWLINE]


@pytest.mark.parametrize(
    ("pooled", "said"), [("max,middle", "must be of max, mean, last, attention"), ("max,max", "names one twice")]
)
def test_odd_poolings_are_refused(pooled: str, said: str) -> None:
    with pytest.raises(OptionError, match=said):
        ClassifierOptions(pooling=pooled)


def test_a_file_without_labels_is_refused(tmp_path: object) -> None:
    path = tmp_path / "model.safetensors"  # type: ignore[operator]
    _, weights = _model()
    save_model(path, classifier.TASK, {"hidden_size": 6}, weights, train_tokeniser("byte", [], 256))
    with pytest.raises(ModelFileError, match="is a classifier without labels"):
        classifier.load(path)
