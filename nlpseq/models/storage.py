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

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

STORED_TYPES = {"fp32": np.dtype(np.float32), "bf16": np.dtype(np.uint16), "int8": np.dtype(np.int8)}
FORMATS = tuple(STORED_TYPES)
ROWS, SCALES = ":rows", ":scales"  # of a matrix, after its name
EXACT = ("evidence.table",)  # matrices that stay fp32
TABLES = ("evidence.table", "ngrams.weight")  # of which most rows may be zero
MOST_EXPANDED = 256  # times their stored size, about, may other matrices take in memory
EXPONENT = np.uint16(0x7F80)  # of bf16; if all its bits are set, the number is not finite
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
            tensors[f"{name}{ROWS}"] = rows
        if rows is not None or chosen != "fp32":
            entries[name] = {"shape": list(weight.shape), "format": chosen}
        if chosen == "int8":
            tensors[name], tensors[f"{name}{SCALES}"] = _to_int8(kept)
        else:
            tensors[name] = _to_bf16(kept) if chosen == "bf16" else kept
    return tensors, entries


class Layout(NamedTuple):
    """The shape and the type of a tensor once it is unpacked."""

    shape: tuple[int, ...]
    type: str


def layouts(tensors: Mapping[str, np.ndarray], entries: Mapping[str, Any]) -> dict[str, Layout]:
    """What `unpack` will make of stored tensors, by name.

    Raises ValueError if the entries do not fit the tensors; then nothing may be unpacked.
    """
    if not isinstance(entries, Mapping):
        raise ValueError("what its header says of the storage is no object")
    found = {name: Layout(tensor.shape, str(tensor.dtype)) for name, tensor in tensors.items()}
    for name, entry in entries.items():
        if fault := _fault(tensors, name, entry):
            raise ValueError(f"{name[:80]} is not stored as its header says: {fault}")
        for suffix in ("", ROWS, SCALES):
            found.pop(f"{name}{suffix}", None)
        found[name] = Layout(tuple(entry["shape"]), "float32")
    return found


def _fault(tensors: Mapping[str, np.ndarray], name: str, entry: Any) -> str:
    """How the stored tensors of a matrix contradict its entry in the header; empty if they agree."""
    stored, rows, scales = (tensors.get(f"{name}{suffix}") for suffix in ("", ROWS, SCALES))
    shape, chosen = (entry.get("shape"), entry.get("format")) if isinstance(entry, dict) else (None, None)
    if stored is None or not isinstance(chosen, str) or STORED_TYPES.get(chosen) != stored.dtype:
        return "its format is another"
    if name.endswith((ROWS, SCALES)):
        return "it is a part of another matrix"
    if not isinstance(shape, list) or len(shape) != 2 or not all(type(size) is int and size >= 0 for size in shape):
        return "its shape is not that of a matrix"
    if stored.ndim != 2 or stored.shape[1] != shape[1]:
        return f"its shape is {stored.shape}"
    if (scales is not None) != (chosen == "int8") or (scales is not None and not _is_vector(scales, stored, "f4")):
        return "its scales are others"
    if rows is None:
        return "" if stored.shape[0] == shape[0] else f"its shape is {stored.shape}"
    return _fault_of_rows(name, stored, rows, shape)


def _fault_of_rows(name: str, stored: np.ndarray, rows: np.ndarray, shape: list[int]) -> str:
    """As `_fault`, for a matrix of which only `rows` are stored."""
    if not _is_vector(rows, stored, "u4"):
        return "the numbers of its rows are others"
    if len(rows) and not (int(rows[-1]) < shape[0] and (rows[1:] > rows[:-1]).all()):
        return "the numbers of its rows do not ascend to its last row"
    if name not in TABLES and 4 * math.prod(shape) > MOST_EXPANDED * (stored.nbytes + LEAST_SAVED):
        return f"nearly all of its {shape[0]:,} rows are left out"
    return ""


def _is_vector(values: np.ndarray, stored: np.ndarray, kind: str) -> bool:
    """Whether an array has a number of some type for each row of `stored`."""
    return bool(values.dtype == np.dtype(kind) and values.shape == stored.shape[:1])


def unpack(tensors: Mapping[str, np.ndarray], entries: Mapping[str, Any]) -> Tensors:
    """The tensors that `pack` took, with the values that are stored.

    Raises ValueError if the entries do not fit the tensors, or if there is no memory for all their rows.
    """
    layouts(tensors, entries)
    unpacked = dict(tensors)
    for name, entry in entries.items():
        stored, rows = unpacked.pop(name), unpacked.pop(f"{name}{ROWS}", None)
        values = _decoded(stored, entry["format"], unpacked.pop(f"{name}{SCALES}", None))
        if rows is not None:
            try:
                values, kept = np.zeros(entry["shape"], np.float32), values
            except (MemoryError, ValueError):
                size = 4 * math.prod(entry["shape"])
                raise ValueError(f"{name} takes {size:,} bytes, for which there is no memory") from None
            values[rows] = kept
        unpacked[name] = values
    return unpacked


def not_finite(tensors: Mapping[str, np.ndarray], entries: Mapping[str, Any]) -> str | None:
    """The name of a stored tensor with a number that is infinite or NaN, or None."""
    for name, tensor in tensors.items():
        if name in entries and entries[name]["format"] == "bf16":
            finite = not (tensor & EXPONENT == EXPONENT).any()
        else:
            finite = is_finite(tensor * np.float32(LARGEST) if name.endswith(SCALES) else tensor)
        if not finite:
            return name
    return None


def is_finite(values: np.ndarray) -> bool:
    """Whether no number of an array is infinite or NaN; one that is makes the sum so, and the sum is faster."""
    if values.dtype.kind != "f":
        return True
    with np.errstate(all="ignore"):
        return bool(np.isfinite(values.sum())) or bool(np.isfinite(values).all())


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
    if scales is not None:
        values: np.ndarray = np.multiply(stored, scales[:, None], dtype=np.float32)
        return values
    return stored
