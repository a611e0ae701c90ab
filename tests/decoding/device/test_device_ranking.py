"""The likeliest continuations on a device against a ranking of all of them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from nlpseq.decoding.device.ranking import chunk_size, likeliest


@pytest.mark.parametrize("chunk", [None, 1, 4, 16])
@pytest.mark.parametrize("width", [1, 3, 5])
@pytest.mark.parametrize("values", [2, 9, 1000])
def test_ranking_is_that_of_all_continuations_ties_to_the_lowest_place(
    chunk: int | None, width: int, values: int
) -> None:
    generator = np.random.default_rng(values + width)
    texts, size, end = 7, 48, 3
    logits = (-generator.integers(0, values, (texts, width, size))).astype(np.float32)
    totals = -generator.integers(0, 3, (texts, width)).astype(np.float64)
    totals[0, 1:] = -np.inf
    full = np.arange(texts) % 3 == 1
    whole = logits + totals[:, :, None]
    whole[full] = np.where(np.arange(size) == end, whole[full], -np.inf)
    order = np.argsort(-whole.reshape(texts, -1), axis=1, kind="stable")[:, : 2 * width]
    tensors = (torch.from_numpy(one) for one in (logits.reshape(-1, size), totals, full))
    found, parents, tokens = likeliest(*tensors, end, 2 * width, chunk)
    wanted = np.take_along_axis(whole.reshape(texts, -1), order, 1)
    assert (found.numpy() == wanted).all()
    finite = wanted > -np.inf
    assert ((parents * size + tokens).numpy() == order)[finite].all()


@pytest.mark.parametrize(("size", "chunk"), [(2, 1), (64, 8), (4096, 64), (4160, 64), (32000, 128), (50304, 128)])
def test_chunks_are_at_most_the_root_of_a_vocabulary(size: int, chunk: int) -> None:
    assert chunk_size(size) == chunk
    assert size % chunk == 0
