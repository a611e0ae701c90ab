"""The array operations of the models, for NumPy arrays and torch tensors alike.

A model is written once, as functions of arrays, and its arguments decide which library does the work. torch is never
imported here, because a tensor can only exist if torch has been imported already. The cost is a check of the type in
each call, a few hundred nanoseconds.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

EPSILON = 1e-5  # added to the variance in layer normalisation

Array = Any  # numpy.ndarray or torch.Tensor


def library(array: Array) -> Any:
    """The library of `array`: torch or numpy."""
    torch = sys.modules.get("torch")
    return torch if torch is not None and isinstance(array, torch.Tensor) else np


def is_numpy(array: Array) -> bool:
    """Whether `array` is a NumPy array and not a tensor."""
    return isinstance(array, np.ndarray)


def type_name(array: Array) -> str:
    """The name of the type of an array's numbers, as `float32`."""
    return str(array.dtype).removeprefix("torch.")


def to_numpy(array: Array) -> np.ndarray:
    """`array` as a NumPy array on the host, without a copy if possible."""
    return array if isinstance(array, np.ndarray) else array.detach().cpu().numpy()


def sigmoid(array: Array) -> Array:
    """1 / (1 + exp(-x)); in NumPy by tanh, which cannot overflow."""
    if library(array) is not np:
        return array.sigmoid()
    values = np.tanh(0.5 * array)
    values *= 0.5
    values += 0.5
    return values


def tanh(array: Array) -> Array:
    """The hyperbolic tangent."""
    return library(array).tanh(array)


def softplus(array: Array) -> Array:
    """log(1 + exp(x))."""
    if library(array) is not np:
        return library(array).nn.functional.softplus(array)
    return np.logaddexp(array.dtype.type(0), array)


def relu(array: Array) -> Array:
    """max(x, 0)."""
    return array.clip(0)


def project(inputs: Array, weight: Array, bias: Array | None = None) -> Array:
    """A linear map of the last axis: inputs [.., I], weight [O, I], bias [O] -> [.., O]."""
    product = inputs @ weight.T
    if bias is None:
        return product
    return np.add(product, bias, out=product) if library(product) is np else product + bias


def embed(table: Array, ids: Array) -> Array:
    """Rows of `table` [V, E] for `ids` [..] -> [.., E]; the gradient of a large table is sparse."""
    if library(table) is np:
        return table[ids]
    return library(table).nn.functional.embedding(ids, table, sparse=_is_large(table))


def _is_large(table: Array) -> bool:
    """Whether a table's gradient is sparse, because a batch reads few of its rows.

    On a GPU it never is: a dense gradient takes a fraction of a millisecond there, and its size is known beforehand.
    """
    return bool(table.shape[0] >= 8192 and table.device.type == "cpu")


def embed_sum(table: Array, ids: Array, factors: Array | None = None) -> Array:
    """Rows of `table` [V, E] for `ids` [K, ..], summed over the first axis -> [.., E].

    Each row counts as often as `factors` [K, ..] say, in torch only.
    """
    if library(table) is np:
        return table[ids].sum(0)
    bags, weights = (
        None if value is None else value.reshape(ids.shape[0], -1).T.contiguous() for value in (ids, factors)
    )
    bag = library(table).nn.functional.embedding_bag
    summed = bag(bags, table, mode="sum", sparse=_is_large(table), per_sample_weights=weights)
    return summed.reshape(*ids.shape[1:], -1)


def normalise(array: Array, gain: Array) -> Array:
    """Layer normalisation of the last axis (Ba et al., 2016): mean zero and variance one, then times `gain`."""
    centred = array - array.mean(-1, keepdims=True)
    variance = (centred * centred).mean(-1, keepdims=True)
    return centred / (variance + EPSILON) ** 0.5 * gain


def log_softmax(logits: Array) -> Array:
    """Log-probabilities over the last axis, in nats."""
    if library(logits) is not np:
        return logits.log_softmax(-1)
    shifted = logits - logits.max(-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))


def softmax(logits: Array) -> Array:
    """Probabilities over the last axis."""
    if library(logits) is not np:
        return logits.softmax(-1)
    exponentials = np.exp(logits - logits.max(-1, keepdims=True))
    exponentials /= exponentials.sum(-1, keepdims=True)
    return exponentials


def shares_in_order(energies: Array, axis: int = -1) -> Array:
    """Softmax over an axis that ends in padding, whose energies are so low that their exponentials are zero.

    In NumPy the exponentials are added from first to last, so the padding changes no bit.
    """
    if library(energies) is not np:
        return energies.softmax(axis)
    exponentials = np.exp(energies - energies.max(axis, keepdims=True))
    exponentials /= np.add.accumulate(exponentials, axis).take([-1], axis)
    return exponentials


def sum_in_order(array: Array) -> Array:
    """The sum over the first axis. In NumPy it is added from first to last, so zeros at its end change no bit."""
    if library(array) is not np:
        return array.sum(0)
    rest = zip(array.shape[1:], array.strides[1:], strict=True)
    in_pairs = all(size == 1 or stride >= array.strides[0] for size, stride in rest)  # so NumPy adds up one column
    summed: np.ndarray = np.add.accumulate(array, 0)[-1] if in_pairs and array.size else array.sum(0)
    return summed + summed.dtype.type(0)  # -0 becomes 0, as it does if a zero follows


def inner_products(left: Array, right: Array) -> Array:
    """left [B, T, A], right [B, S, A] -> [B, T, S]; in NumPy a product does not depend on T and S, to the last bit."""
    return np.einsum("bta,bsa->bts", left, right) if library(left) is np else left @ right.swapaxes(1, 2)


def weighted_sums(shares: Array, values: Array) -> Array:
    """shares [B, T, S], values [B, S, M] -> [B, T, M]; in NumPy, shares of zero at the end of S change no bit."""
    return np.einsum("bts,bsm->btm", shares, values) if library(shares) is np else shares @ values


def log_sum_exp(array: Array) -> Array:
    """log(sum(exp(x))) over the last axis."""
    if library(array) is not np:
        return array.logsumexp(-1)
    largest = array.max(-1, keepdims=True)
    shifted = array - largest
    return np.log(np.exp(shifted, out=shifted).sum(-1)) + largest[..., 0]


def pick(array: Array, ids: Array) -> Array:
    """The entries at `ids` [..] along the last axis of `array` [.., V] -> [..]."""
    if library(array) is np:
        return np.take_along_axis(array, np.asarray(ids)[..., None], -1)[..., 0]
    return array.gather(-1, ids[..., None])[..., 0]


def largest(array: Array, axis: int) -> Array:
    """The largest value along an axis."""
    return array.max(axis) if library(array) is np else array.amax(axis)


def concatenate(arrays: Sequence[Array], axis: int = -1) -> Array:
    """Join arrays along an existing axis."""
    return library(arrays[0]).concatenate(list(arrays), axis)


def stack(arrays: Sequence[Array]) -> Array:
    """Join arrays along a new first axis."""
    return library(arrays[0]).stack(list(arrays))


def where(condition: Array, chosen: Array, other: Array) -> Array:
    """`chosen` where `condition` holds, else `other`."""
    return library(chosen).where(condition, chosen, other)


def zeros(shape: tuple[int, ...], like: Array) -> Array:
    """Zeros of a shape, with the library, type and device of `like`."""
    if library(like) is np:
        return np.zeros(shape, like.dtype)
    return like.new_zeros(shape)


def positions(count: int, like: Array) -> Array:
    """The integers from 0 to `count` - 1, on the device of `like`."""
    return np.arange(count) if library(like) is np else library(like).arange(count, device=like.device)


def filled(shape: tuple[int, ...], number: int, like: Array) -> Array:
    """An int64 array filled with one number, with the library and device of `like`."""
    if library(like) is np:
        return np.full(shape, number, np.int64)
    return library(like).full(shape, number, dtype=library(like).int64, device=like.device)


def active_rows(lengths: Array, step: int) -> Array:
    """A mask [B, 1] of the sequences that have a token at time `step`."""
    return (lengths > step)[:, None]


def active_steps(lengths: Array, steps: int) -> Array:
    """A mask [T, B] of the real tokens of sequences with `lengths` [B]."""
    return positions(steps, lengths)[:, None] < lengths[None, :]


def from_numpy(values: np.ndarray, like: Array) -> Array:
    """NumPy values, in their own type, with the library and device of `like`."""
    if library(like) is np:
        return values
    return library(like).from_numpy(np.ascontiguousarray(values)).to(like.device)
