"""How the weights of a model file are made smaller: rows of zeros are left out, and numbers may have fewer bits.

    fp32    as they are; rows of zeros of a large table are not stored, which loses nothing
    bf16    matrices rounded to 8 significant bits, the nearest, ties to even; half the size
    int8    matrices as whole numbers from -127 to 127 with a scale for each row; a quarter of the size.
            Those of fewer than 8 columns are rounded as in bf16: a scale of 32 bits for each row would cost too much

A matrix whose numbers have no more than 8 significant bits is stored in bf16 instead of fp32, which loses nothing.
Vectors, and the counted weights of evidence, stay fp32 in each format: they are small, or their rows are few. A row's
scale has 16 significant bits, so its product with a whole number is exact in 32 bits: weights that were read from a
file are stored again to the same bits.

A tensor NAME that is stored otherwise than whole and in fp32 has an entry in the header, with its shape and format.
Its values are under NAME, the numbers of its rows under NAME:rows, their scales under NAME:scales.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

FORMATS = ("fp32", "bf16", "int8")
EXACT = ("evidence.table",)  # matrices that stay fp32
LEAST_SAVED = 4096  # bytes; rows of zeros that take less are stored
LEAST_COLUMNS = 8  # of a matrix in int8
LARGEST = 127
LOWER_HALF = np.uint32(0xFFFF)  # of a number's bits
SMALLEST = 1e-32  # scale in int8; a row with a smaller one is stored as zeros

Tensors = dict[str, np.ndarray]


def pack(weights: Mapping[str, np.ndarray], number_format: str) -> tuple[Tensors, dict[str, Any]]:
    """Weights as they are stored: tensors by name, and the header's entries of those that are not whole in fp32."""
    tensors, entries = {}, {}
    for name, weight in weights.items():
        weight = np.ascontiguousarray(weight) if np.ndim(weight) == 2 else np.asarray(weight)
        rows = _rows_to_store(weight)
        kept = weight if rows is None else weight[rows]
        chosen = _format_of(name, kept, number_format)
        if rows is not None:
            tensors[f"{name}:rows"] = rows
        if rows is not None or chosen != "fp32":
            entries[name] = {"shape": list(weight.shape), "format": chosen}
        if chosen == "int8":
            tensors[name], tensors[f"{name}:scales"] = _to_int8(kept)
        else:
            tensors[name] = _to_bf16(kept) if chosen == "bf16" else kept
    return tensors, entries


def unpack(tensors: Mapping[str, np.ndarray], entries: Mapping[str, Any]) -> Tensors:
    """The tensors that `pack` took, with the values that are stored.

    Raises ValueError if the entries do not fit the tensors.
    """
    unpacked = dict(tensors)
    for name, entry in entries.items():
        try:
            stored, shape = unpacked.pop(name), tuple(entry["shape"])
            values = _decoded(stored, entry["format"], unpacked.pop(f"{name}:scales", None))
            rows = unpacked.pop(f"{name}:rows", None)
            if rows is not None:
                values, kept = np.zeros(shape, np.float32), values
                values[rows] = kept
        except (KeyError, TypeError, IndexError) as error:
            raise ValueError(f"{name} is not stored as its header says: {error}") from error
        if values.shape != shape:
            raise ValueError(f"{name} has the shape {values.shape}, but its header says {shape}")
        unpacked[name] = values
    return unpacked


def rounded(weights: Mapping[str, np.ndarray], number_format: str) -> Tensors:
    """Weights in fp32 with the values that a file in a number format would hold."""
    return dict(weights) if number_format == "fp32" else unpack(*pack(weights, number_format))


def round_to_bf16(values: np.ndarray) -> np.ndarray:
    """Values in fp32, rounded to the nearest number with 8 significant bits, ties to even."""
    bits = values.view(np.uint32)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) & np.uint32(0xFFFF0000)).view(np.float32)


def _rows_to_store(weight: np.ndarray) -> np.ndarray | None:
    """The numbers of the rows that are not all zero, or None if leaving out the others saves too little."""
    if weight.ndim != 2 or weight.dtype != np.float32 or not weight.size:
        return None
    rows = np.flatnonzero(weight.view(np.uint32).any(1)).astype(np.uint32)  # by bits: a negative zero is stored
    saved = weight.nbytes - len(rows) * (weight.shape[1] + 1) * 4
    return rows if saved >= LEAST_SAVED else None


def _format_of(name: str, values: np.ndarray, number_format: str) -> str:
    """The format in which a tensor's values are stored if `number_format` is asked for."""
    matrix = values.ndim == 2 and values.dtype == np.float32 and values.size > 0
    if not matrix or name in EXACT or not np.isfinite(values).all():
        return "fp32"
    if number_format == "fp32" and not (values.view(np.uint32) & LOWER_HALF).any():
        return "bf16"
    return "bf16" if number_format == "int8" and values.shape[1] < LEAST_COLUMNS else number_format


def _to_bf16(values: np.ndarray) -> np.ndarray:
    """The upper halves of the rounded values, as uint16."""
    return (round_to_bf16(values).view(np.uint32) >> 16).astype(np.uint16)


def _to_int8(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Whole numbers [R, E] and the scale of each row [R]."""
    bits = (np.abs(values).max(1) / np.float32(LARGEST)).view(np.uint32)
    scales = ((bits + 0x80) & np.uint32(0xFFFFFF00)).view(np.float32)  # to 16 significant bits
    scales = np.where(scales < SMALLEST, np.float32(0), scales)
    divisors = np.where(scales == 0, np.inf, scales)
    whole = np.rint(values / divisors[:, None])
    return whole.astype(np.int8), scales


def _decoded(stored: np.ndarray, number_format: str, scales: np.ndarray | None) -> np.ndarray:
    if number_format == "bf16":
        return (stored.astype(np.uint32) << 16).view(np.float32)
    if number_format == "int8":
        if scales is None:
            raise KeyError("scales")
        values: np.ndarray = np.multiply(stored, scales[:, None], dtype=np.float32)
        return values
    if number_format != "fp32":
        raise KeyError(number_format)
    return stored
