"""The dropouts: their shapes in time, their means, and that they do something."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from nlpseq.cells import CELLS, LayerWeights
from nlpseq.kernels.cpu.recurrence import unroll
from nlpseq.models.embedding import embed_tokens
from nlpseq.models.stack import run_stack, start_state
from nlpseq.training.distribution.processes import Share
from nlpseq.training.noise import Dropouts
from nlpseq.training.options import LanguageModelTraining, TranslationTraining

STEPS, BATCH, SIZE, WORDS = 6, 40, 30, 50
PARTS = {  # rows of a table of two times 40 n-grams
    "none": torch.zeros(80, 1),
    "pairs": torch.cat([torch.ones(40, 1), torch.zeros(40, 1)]),
    "triples": torch.cat([torch.zeros(40, 1), torch.ones(40, 1)]),
}


def _dropouts(zoneout: float = 0.0, seed: int = 1, **rates: Any) -> Dropouts:
    generator = torch.Generator().manual_seed(seed)
    options = (LanguageModelTraining if "ngram_dropout" in rates else TranslationTraining)(**rates)
    return Dropouts(options, zoneout, generator, vocabulary_size=WORDS, device=torch.device("cpu"))


def _ones() -> torch.Tensor:
    return torch.ones(STEPS, BATCH, SIZE)


def test_a_locked_mask_is_the_same_at_every_step() -> None:
    dropped = _dropouts(dropout=0.4).between(_ones())
    assert (dropped == dropped[0]).all()
    assert dropped.unique().tolist() == pytest.approx([0, 1 / 0.6])
    assert not (dropped[0] == dropped[0, 0]).all(), "each sequence has its own"
    assert float(dropped.mean()) == pytest.approx(1, abs=0.1)  # 1,200 draws: four standard errors


def test_masks_are_drawn_anew_in_every_batch() -> None:
    noise = _dropouts(dropout=0.4)
    assert not torch.equal(noise.between(_ones()), noise.between(_ones()))


def test_input_masks_are_locked_too() -> None:
    dropped = _dropouts(input_dropout=0.3).inputs(_ones(), torch.zeros(STEPS, BATCH, dtype=torch.int64))
    assert (dropped == dropped[0]).all()
    assert (dropped == 0).any()


def test_a_dropped_token_is_dropped_wherever_it_stands() -> None:
    ids = torch.randint(50, (STEPS, BATCH), generator=torch.Generator().manual_seed(0))
    dropped = _dropouts(embedding_dropout=0.5).inputs(_ones(), ids)
    gone = {int(token): dropped[ids == token] for token in ids.unique()}
    assert all((values == values[0, 0]).all() for values in gone.values())
    share = sum(bool(values[0, 0] == 0) for values in gone.values()) / len(gone)
    assert 0.2 < share < 0.8
    assert float(dropped.max()) == 2.0


def test_a_word_is_dropped_in_one_place_and_not_in_another() -> None:
    ids = torch.zeros(STEPS, BATCH, dtype=torch.int64)
    dropped = _dropouts(word_dropout=0.25).inputs(_ones(), ids)
    assert dropped.unique().tolist() == pytest.approx([0, 1 / 0.75])
    assert (dropped == dropped[:, :, :1]).all(), "a vector is dropped as a whole"
    gone = (dropped[:, :, 0] == 0).float()
    assert float(gone.mean()) == pytest.approx(0.25, abs=0.12)  # 240 draws: four standard errors
    assert gone.mean(0).std() > 0 and gone.mean(1).std() > 0, "each place and each text has its own draw"


def test_dropped_words_of_a_shared_batch_are_those_of_the_whole() -> None:
    ids = torch.zeros(STEPS, BATCH, dtype=torch.int64)
    whole = _dropouts(word_dropout=0.25, input_dropout=0.1).inputs(_ones(), ids)
    for index in range(3):
        noise = _dropouts(word_dropout=0.25, input_dropout=0.1)
        noise.share = Share(BATCH, index, 3)
        own = noise.share.of(_ones(), 1)
        assert torch.equal(noise.inputs(own, noise.share.of(ids, 1)), noise.share.of(whole, 1))


def test_weight_drop_drops_single_weights_and_keeps_their_mean() -> None:
    weight = torch.ones(80, 20)
    dropped = _dropouts(weight_drop=0.25).recurrent(weight)
    assert dropped.unique().tolist() == pytest.approx([0, 1 / 0.75])
    assert float(dropped.mean()) == pytest.approx(1, abs=0.06)
    assert (weight == 1).all(), "the weights themselves stay"


def test_weight_drop_changes_what_a_layer_gives_and_reaches_the_weights() -> None:
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(12, 3, generator=generator).requires_grad_()
    layers = [[LayerWeights(torch.randn(12, 5, generator=generator), weight, torch.zeros(12), torch.zeros(12))]]
    inputs = torch.randn(4, 2, 5, generator=generator)
    begun = start_state(CELLS["lstm"], layers, 2)
    plain, _ = run_stack(CELLS["lstm"], layers, inputs, begun, run_layer=unroll)
    noisy, _ = run_stack(CELLS["lstm"], layers, inputs, begun, run_layer=unroll, noise=_dropouts(weight_drop=0.5))
    assert torch.equal(plain[0], noisy[0]), "a first state of zeros meets no recurrent weight"
    assert not torch.allclose(plain[1:], noisy[1:])
    (grad,) = torch.autograd.grad(noisy.sum(), weight)
    zero = (grad == 0).float().mean()
    assert 0.2 < float(zero) < 0.8, "a dropped weight has no gradient"


def test_zoneout_masks_are_ones_in_the_share_asked_for() -> None:
    masks = _dropouts(zoneout=0.2).zoneout_masks((STEPS, BATCH, SIZE))
    assert masks is not None
    assert set(masks.unique().tolist()) == {0.0, 1.0}
    assert float(masks.mean()) == pytest.approx(0.2, abs=0.02)  # 7,200 draws: four standard errors
    assert not torch.equal(masks[0], masks[1]), "drawn for each step"


def test_single_ngrams_are_dropped() -> None:
    table = torch.ones(90, SIZE)
    factors = _dropouts(ngram_dropout=0.25).ngrams(table, (3, STEPS, BATCH))
    assert factors is not None
    assert factors.shape == (3, STEPS, BATCH)
    assert factors.unique().tolist() == pytest.approx([0, 1 / 0.75])
    assert float(factors.mean()) == pytest.approx(1, abs=0.09)  # 720 draws: four standard errors
    for axis in range(3):
        assert not (factors == factors.select(axis, 0).unsqueeze(axis)).all(), "each has its own"


def test_dropped_ngrams_are_left_out_of_the_embedding() -> None:
    ids = torch.randint(97, (STEPS, BATCH), generator=torch.Generator().manual_seed(0))
    recent = torch.randint(97, (2, BATCH), generator=torch.Generator().manual_seed(1))
    weights = {"embedding.weight": torch.randn(97, SIZE), "ngrams.weight": torch.randn(80, SIZE)}
    tables = {name: {**weights, "ngrams.weight": weights["ngrams.weight"] * kept} for name, kept in PARTS.items()}
    parts = {
        name: embed_tokens(tables[name], ids, recent) - embed_tokens(tables["none"], ids, recent) for name in PARTS
    }
    factors = _dropouts(ngram_dropout=0.5).ngrams(weights["ngrams.weight"], (2, STEPS, BATCH))
    assert factors is not None
    found = embed_tokens(weights, ids, recent, _dropouts(ngram_dropout=0.5))
    expected = embed_tokens(tables["none"], ids, recent) + sum(
        factor[..., None] * parts[name] for factor, name in zip(factors, ("pairs", "triples"), strict=True)
    )
    assert torch.allclose(found, expected, atol=1e-5)


def test_nothing_is_drawn_where_nothing_is_dropped() -> None:
    noise = _dropouts()
    before = noise.generator.get_state()
    assert noise.between(values := _ones()) is values
    assert noise.recurrent(values) is values
    assert noise.zoneout_masks((1, 1, 1)) is None
    assert noise.ngrams(values, (1, 1, 1)) is None
    assert not noise.drops_inputs
    assert torch.equal(noise.generator.get_state(), before)


def test_the_same_state_of_the_generator_draws_the_same() -> None:
    one, same = (_dropouts(dropout=0.4, seed=7).between(_ones()) for _ in range(2))
    assert torch.equal(one, same)
