"""Batches of a token stream: every token is predicted once in a pass, in order, with its predecessor as input."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from nlpseq.text.stream import TokenStream
from nlpseq.training.data.batches import StreamBatches, fit_batch


def _stream(length: int, batch_size: int, steps: int, seed: int = 1) -> StreamBatches:
    return StreamBatches(TokenStream.from_array(np.arange(length, dtype=np.uint16)), batch_size, steps, seed)


def _one_pass(stream: StreamBatches) -> list[tuple[np.ndarray, np.ndarray]]:
    batches = [stream.next()]
    while stream.position < stream.length:
        batches.append(stream.next())
    return batches


def test_batches_are_the_picture() -> None:
    letters = TokenStream.from_array(np.frombuffer(b"abcdefghijklm", np.uint8))
    stream = StreamBatches(letters, 3, 2, seed=1)
    batches = _one_pass(stream)
    inputs, targets = (
        "".join(chr(value) for value in np.concatenate(part).ravel()) for part in zip(*batches, strict=True)
    )
    assert inputs == "aei" + "bfj" + "cgk" + "dhl"
    assert targets == "bfj" + "cgk" + "dhl" + "eim"


@pytest.mark.parametrize("shape", [(101, 4, 7), (50, 1, 7), (29, 4, 7), (8, 7, 1), (100, 3, 99)], ids=str)
def test_every_token_is_predicted_once_in_the_first_pass(shape: tuple[int, int, int]) -> None:
    length, batch_size, steps = shape
    batches = _one_pass(_stream(*shape))
    for inputs, targets in batches:
        assert inputs.dtype == targets.dtype == np.int64
        assert inputs.shape == targets.shape
        assert 1 <= inputs.shape[0] <= steps
        assert np.array_equal(targets, inputs + 1), "each token after its predecessor"
    predicted = np.sort(np.concatenate([targets.ravel() for _, targets in batches]))
    used = (length - 1) // batch_size * batch_size
    assert np.array_equal(predicted, np.arange(1, used + 1)), "all, but for what no stream has room for"


def test_a_stream_goes_on_where_it_stopped() -> None:
    batches = _one_pass(_stream(101, 4, 7))
    for (_, before), (after, _) in pairwise(batches):
        assert np.array_equal(before[-1], after[0])


def test_later_passes_start_a_little_further_in_and_repeat_nothing() -> None:
    stream = _stream(1001, 4, 20)
    offsets = []
    for number in range(12):
        batches = _one_pass(stream)
        assert stream.passes == number
        offsets.append(int(batches[0][0][0, 0]))
        predicted = np.concatenate([targets.ravel() for _, targets in batches])
        assert len(predicted) == len(set(predicted.tolist()))
        assert len(predicted) >= 1000 - 20 - 3
    assert offsets[0] == 0
    assert all(0 <= offset < 20 for offset in offsets)
    assert len(set(offsets)) > 5


def test_passes_and_position_are_all_that_is_needed_to_resume() -> None:
    stream, again = _stream(301, 4, 7), _stream(301, 4, 7)
    for _ in range(40):
        stream.next()
    again.passes, again.position = stream.passes, stream.position
    assert stream.passes > 1
    for _ in range(40):
        assert np.array_equal(stream.next()[0], again.next()[0])


@pytest.mark.parametrize("tokens", [2, 3, 10, 65, 500, 10_000])
@pytest.mark.parametrize("asked", [(64, 64), (1, 1), (1, 300), (300, 1)], ids=str)
def test_a_batch_fits_the_stream(tokens: int, asked: tuple[int, int]) -> None:
    batch_size, steps = fit_batch(tokens, *asked)
    assert 1 <= batch_size <= asked[0]
    assert 1 <= steps <= asked[1]
    assert batch_size * steps <= tokens - 1
    stream = _stream(tokens, batch_size, steps)
    assert stream.next()[0].shape == (min(steps, stream.length), batch_size)


def test_a_batch_that_fits_is_left_alone() -> None:
    assert fit_batch(10_000, 32, 64) == (32, 64)
