"""Files that are sound but for what they say: each is changed in one way, and gets a right checksum again.

A craft changes the file at a path with draws from a generator, and returns what it did, or None if the file has nothing
to change in that way. Those of a kind of file are in CRAFTED.
"""

from __future__ import annotations

import json
import random
import struct
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from nlpseq.errors import TokeniserError
from nlpseq.models.model_file import CHECKSUM, TOKENISER, write_tensors
from nlpseq.text.tokenisers import load_tokeniser, train_tokeniser
from nlpseq.text.tokenisers.tokeniser import checksum
from nlpseq.training.data.seal import SEAL, seal
from nlpseq.training.run_config import config_checksum

LINES = (  # that no history has
    *(
        b"",
        b"[]",
        b"{}",
        b"null",
        b"[" * 100_000,
        b"\xff",
        b'{"step": "x", "valid_loss": "y"}',
        b'{"valid_loss": 1e999}',
    ),
    *(b'{"step": -1, "valid_loss": null}', b'{"valid_loss": ' + b"9" * 400 + b"}", b'{"seconds": [1]}'),
    b'{"valid_loss": NaN}',
)
Craft = Callable[[Path, random.Random], "str | None"]
Tensors = dict[str, np.ndarray]

TYPES = ("f2", "f8", "i1", "i4", "i8", "u1", "u2", "u4", "?")
WRONG: tuple[Any, ...] = (
    None, True, -1, 0, 1.5, 10**9, 10**400, float("nan"), float("inf"), -1e308, "", "x", "\u001b[2J", "\ud800", "7",
    [], [1], ["a", "a"], [[]], [None], {}, {"a": 1}, {"shape": [1], "format": "int8"}, "y" * 100_000, list(range(5000)),
)  # fmt: skip


def stored(path: Path) -> tuple[dict[str, Any], Tensors]:
    """The header and the tensors of a file, as they are stored; nothing is checked."""
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    entries = json.loads(data[8 : 8 + length])
    header = json.loads(entries.pop("__metadata__")["nlpseq"])
    kinds = {"F32": "f4", "F16": "f2", "F64": "f8", "U8": "u1", "U16": "u2", "U32": "u4", "I8": "i1", "I32": "i4"}
    kinds |= {"I64": "i8", "BOOL": "?", "U64": "u8", "I16": "i2"}
    tensors = {}
    for name, entry in entries.items():
        start, end = (8 + length + offset for offset in entry["data_offsets"])
        tensors[name] = np.frombuffer(data[start:end], kinds[entry["dtype"]]).reshape(entry["shape"]).copy()
    return header, tensors


def _chosen(tensors: Mapping[str, np.ndarray], draws: random.Random) -> str:
    return draws.choice(sorted(name for name in tensors if name != TOKENISER))


# ---- tensors


def _drop(name: str, tensors: Tensors, draws: random.Random) -> str:
    del tensors[name]
    return "missing"


def _reshape(name: str, tensors: Tensors, draws: random.Random) -> str | None:
    value = tensors[name]
    shapes = [
        value[:-1] if value.ndim else value[None],
        value[:1] if value.ndim else value[None],
        value[:0] if value.ndim else value[None, None],
        np.concatenate([value, value]) if value.ndim else np.stack([value, value]),
        value.ravel(),
        np.ascontiguousarray(value.T),
        value[None],
        np.ascontiguousarray(value[..., :-1]) if value.ndim > 1 else value[None],
        np.zeros((0, 1 << 40), value.dtype),
        value.ravel()[:1].reshape(()) if value.size else value[None],
    ]
    made = draws.choice(shapes)
    if made.shape == value.shape:
        return None  # other values, and sound ones
    tensors[name] = made
    return f"{value.shape} made {made.shape}"


def _retype(name: str, tensors: Tensors, draws: random.Random) -> str:
    kind = draws.choice(TYPES)
    with np.errstate(all="ignore"):
        tensors[name] = tensors[name].astype(kind)
    return f"made {np.dtype(kind)}"


def _poison(name: str, tensors: Tensors, draws: random.Random) -> str | None:
    value = tensors[name]
    if value.size and value.dtype.kind == "f":
        bad: Any = draws.choice((np.nan, np.inf, -np.inf))
    elif value.size and value.dtype == np.uint16:
        bad = draws.choice((0x7F80, 0x7FC0, 0xFF80))
    elif value.size and value.dtype.kind in "iu":
        bad = np.iinfo(value.dtype).max if draws.random() < 0.7 else np.iinfo(value.dtype).min
        if value.dtype.itemsize == 1:
            return None
    else:
        return None
    value.ravel()[draws.randrange(value.size)] = bad
    return f"with {bad}"


def _add(name: str, tensors: Tensors, draws: random.Random) -> str | None:
    other = draws.choice(
        ("extra", f"{name}x", f"{name}:rows", f"{name}:scales", "layers.0.weight_ih_reverse", "layers.9.bias_hh")
    )
    if other in tensors:
        return None
    tensors[other] = tensors[name].copy()
    return f"again as {other}"


def _rename(name: str, tensors: Tensors, draws: random.Random) -> str:
    tensors[name + draws.choice(("_", "\u001b[31m", "x" * 50_000))] = tensors.pop(name)
    return "renamed"


def _tensor(change: Callable[[str, Tensors, random.Random], str | None]) -> Craft:
    def craft(path: Path, draws: random.Random) -> str | None:
        header, tensors = stored(path)
        name = _chosen(tensors, draws)
        what = change(name, tensors, draws)
        if what is None:
            return None
        write_tensors(path, header, tensors)
        return f"tensor {name} {what}"[:200]

    return craft


# ---- JSON


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths to all values in JSON."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, inner in items for place in _places(inner, (*path, key)))]


def _changed(value: Any, draws: random.Random, *, wrong: tuple[Any, ...] = WRONG) -> tuple[Any, str]:
    """JSON with one value of another type, missing or new, and what was done."""
    top = list(value) if isinstance(value, dict) else []
    places = _places(value)
    place = (draws.choice(top),) if top and draws.random() < 0.5 else draws.choice(places)
    sort = draws.random()
    if not place or sort < 0.1:
        if isinstance(value, dict) and sort < 0.8:
            return {**value, "unknown": draws.choice(wrong)}, "with an unknown key"
        return draws.choice(wrong), "replaced"
    outer = value
    for key in place[:-1]:
        outer = outer[key]
    if sort < 0.3:
        del outer[place[-1]]
        return value, f"without {place}"
    others = [one for one in wrong if _is_other(one, outer[place[-1]])]
    made = _deep(draws.choice((20, 40, 900, 20_000))) if draws.random() < 0.1 else draws.choice(others)
    outer[place[-1]] = made
    return value, f"{place} made {str(made)[:60]!r}"


def _is_other(one: Any, value: Any) -> bool:
    """Whether a value is of another type than one that is sound; of numbers, only those that no entry can be."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return isinstance(one, bool) or not isinstance(one, int | float) or one != one or abs(one) > 1 << 600
    return type(one) is not type(value)


def _deep(depth: int) -> Any:
    nested: Any = []
    for _ in range(min(depth, 400)):
        nested = [nested]
    return nested


def _header(path: Path, draws: random.Random) -> str | None:
    header, tensors = stored(path)
    header.pop(CHECKSUM)
    made, what = _changed(header, draws)
    if not isinstance(made, dict):
        return None
    try:
        write_tensors(path, made, tensors)
    except (ValueError, RecursionError):
        return None
    return f"header {what}"


def _entry(names: tuple[str, ...]) -> Craft:
    """An entry of a header, made wrong."""

    def craft(path: Path, draws: random.Random) -> str | None:
        header, tensors = stored(path)
        known = [name for name in names if name in header]
        if not known:
            return None
        name = draws.choice(known)
        inner = header[name]
        if isinstance(inner, dict | list) and inner and draws.random() < 0.7:
            made, what = _changed({"": inner}, draws) if draws.random() < 0.3 else _changed(inner, draws)
            header[name] = made.get("", made) if isinstance(made, dict) else made
        else:
            header[name] = draws.choice(WRONG)
            what = f"made {str(header[name])[:60]!r}"
        try:
            write_tensors(path, header, tensors)
        except (ValueError, RecursionError):
            return None
        return f"header {name} {what}"

    return craft


def _depth_of_header(path: Path, draws: random.Random) -> str:
    """A header that is nested too deeply for Python, written byte by byte."""
    deep = draws.choice((100, 2_000, 100_000))
    text = '{"format": 1, "task": "x", "options": ' + "[" * deep + "]" * deep + "}"
    _write_raw(path, {"__metadata__": {"nlpseq": text}}, b"")
    return f"header nested {deep} deep"


def _write_raw(path: Path, entries: dict[str, Any], data: bytes) -> None:
    head = json.dumps(entries).encode()
    path.write_bytes(struct.pack("<Q", len(head)) + head + data)


def _raw(path: Path, draws: random.Random) -> str:
    """A safetensors header that lies."""
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    entries, body = json.loads(data[8 : 8 + length]), data[8 + length :]
    name = draws.choice(sorted(set(entries) - {"__metadata__"}))
    entry = entries[name]
    sort = draws.randrange(8)
    if sort == 0:
        entry["dtype"] = draws.choice(("F8_E4M3", "F8_E5M2", "BF16", "F64", "F4", "C64", "", 7, None))
    elif sort == 1:
        entry["shape"] = draws.choice(([-1], [1 << 63], [1 << 32, 1 << 32], [], "x", None, [1.5], [0, 1 << 62]))
    elif sort == 2:
        entry["data_offsets"] = draws.choice(([0, 1 << 60], [-4, 0], [8, 4], [0], [], None, [0, 4]))
    elif sort == 3:
        entries["__metadata__"] = draws.choice(
            (None, {}, {"nlpseq": ""}, {"nlpseq": "[]"}, {"nlpseq": "7"}, {"nlpseq": 7})
        )
    elif sort == 4:
        del entries["__metadata__"]
    elif sort == 5:
        path.write_bytes(struct.pack("<Q", draws.choice((0, 1, 7, 1 << 40, (1 << 64) - 1))) + data[8:])
        return "header of another length"
    elif sort == 6:
        path.write_bytes(data + bytes(draws.randrange(1, 100)))
        return "bytes behind its end"
    else:
        path.write_bytes(struct.pack("<Q", 50_000) + b"[" * 50_000)
        return "safetensors header nested deeply"
    _write_raw(path, entries, body)
    return f"safetensors entry {name}: {str(entries.get(name))[:80]}, {str(entries.get('__metadata__'))[:20]}"


def _tokeniser_bytes(data: bytes, draws: random.Random) -> bytes:
    """A tokeniser that lies, or no tokeniser."""
    document = json.loads(data)
    sort = draws.randrange(8)
    if sort == 0:
        return draws.randbytes(draws.randrange(200))
    if sort == 1:
        return b"[" * 100_000
    if sort == 2:
        return train_tokeniser(draws.choice(("byte", "char", "word")), ["a b é ü ß c"] * 9, 300).to_bytes()
    if sort == 3:
        document["kind"] = draws.choice(("byte", "char", "word", "unigram", "bpe", "x", None, [], {}))
    elif sort == 4:
        document["payload"] = draws.choice(WRONG)
    elif sort == 5:
        payload = document["payload"]
        document["payload"] = payload[:-1] if payload else ["a" * 10_000]
    elif sort == 6:
        payload = document["payload"]
        document["payload"] = [*payload, "\ud800"] if isinstance(payload, list) else payload[: len(payload) // 8 * 4]
    else:
        document["nlpseq-tokeniser"] = draws.choice(WRONG)
    try:
        document["check"] = checksum(document["payload"])
        return json.dumps(document).encode()
    except (ValueError, RecursionError):
        return b"{}"


def _tokeniser(path: Path, draws: random.Random) -> str | None:
    header, tensors = stored(path)
    if TOKENISER not in tensors:
        return None
    before = load_tokeniser(tensors[TOKENISER].tobytes())
    made = _tokeniser_bytes(tensors[TOKENISER].tobytes(), draws)
    with suppress(TokeniserError):
        if load_tokeniser(made).size == before.size:
            return None  # another model, and a sound one
    tensors[TOKENISER] = np.frombuffer(made, np.uint8)
    write_tensors(path, header, tensors)
    return f"tokeniser made {made[:60]!r}"


def _storage(path: Path, draws: random.Random) -> str | None:
    """What the header says of the storage is a lie."""
    header, tensors = stored(path)
    entries = header.setdefault("storage", {})
    header["format"] = 2
    name = draws.choice(sorted(entries)) if entries and draws.random() < 0.8 else _chosen(tensors, draws)
    entry = entries.setdefault(
        name, {"shape": list(tensors[name].shape) if name in tensors else [1, 1], "format": "fp32"}
    )
    sort = draws.randrange(5)
    if sort == 0:
        entry["format"] = draws.choice(("fp32", "bf16", "int8", "int4", 7, None, []))
    elif sort == 1:
        entry["shape"] = draws.choice(
            ([1 << 40, 8], [1 << 62, 1 << 62], [-1, 3], [3], [], "x", None, [0, 0], [1.0, 2.0], [True, True])
        )
    elif sort == 2:
        entries[draws.choice(("none", f"{name}:rows"))] = dict(entry)
    elif sort == 3 and name in tensors and tensors[name].ndim == 2:
        rows = draws.choice(([0] * len(tensors[name]), [1 << 31], list(range(len(tensors[name]), 0, -1)), []))
        tensors[f"{name}:rows"] = np.array(rows, np.uint32)
        if not rows:
            tensors[name], entry["shape"] = tensors[name][:0], [1 << 33, tensors[name].shape[1]]
    else:
        header["storage"] = draws.choice(WRONG)
    try:
        write_tensors(path, header, tensors)
    except (ValueError, RecursionError):
        return None
    return f"storage of {name}: {str(entries.get(name))[:80]}"


def _last(path: Path, draws: random.Random) -> str:
    header, tensors = stored(path)
    header["last"] = draws.choice((-1, 10**9, 1.5, [], [10], "x", None, True, 256, {}, 10**400))
    write_tensors(path, header, tensors)
    return f"last {header['last']}"[:80]


def _counter(path: Path, draws: random.Random) -> str:
    header, tensors = stored(path)
    names = (
        "step",
        "begun",
        "total",
        "best",
        "best_step",
        "without_progress",
        "rate_scale",
        "retries",
        "tokens",
        "seconds",
    )
    name = draws.choice(names)
    header[name] = draws.choice((-1, "x", [], {}, True, 1.5, 10**400, float("nan"), -1e308))
    if name in ("best", "rate_scale", "seconds") and header[name] in (1.5, -1, -1e308):
        header[name] = "y"
    write_tensors(path, header, tensors)
    return f"{name} {str(header[name])[:40]}"


def _place(path: Path, draws: random.Random) -> str | None:
    header, tensors = stored(path)
    if "task/place" not in tensors:
        return None
    place = tensors["task/place"]
    place[draws.randrange(len(place))] = draws.choice((-1, -(10**15), 1 << 62))
    write_tensors(path, header, tensors)
    return f"place {place.tolist()}"


# ---- the run folder


def _config(path: Path, draws: random.Random) -> str | None:
    config = json.loads(path.read_bytes())
    config.pop(CHECKSUM, None)
    made, what = _changed(config, draws)
    if draws.random() < 0.1:
        path.write_bytes(draws.choice((b"", b"{}", b"[]", b"null", b"[" * 100_000, b'{"a":' * 100_000, b"\xff\xfe{}")))
        return "config replaced"
    try:
        if isinstance(made, dict):
            made[CHECKSUM] = config_checksum(made)
        path.write_text(json.dumps(made))
    except (ValueError, RecursionError):
        return None
    return f"config {what}"


def _history(path: Path, draws: random.Random) -> str:
    lines = path.read_bytes().splitlines()
    line = draws.choice(LINES)
    lines.insert(draws.randrange(len(lines) + 1), line)
    path.write_bytes(b"\n".join(lines) + b"\n")
    return f"history with {line[:40]!r}"


def _tokens(path: Path, draws: random.Random) -> str | None:
    """A file among a run's tokens, with a right seal."""
    made: bytes
    data = path.read_bytes()
    if path.suffix == ".json":
        if path.name == "tokeniser.json":
            made = _tokeniser_bytes(data, draws)
        else:
            facts, _ = _changed(json.loads(data), draws)
            try:
                made = json.dumps(facts).encode()
            except (ValueError, RecursionError):
                return None
    else:
        sort = draws.randrange(4)
        if sort == 0:
            made = data[:-8] + draws.randbytes(8)
        elif sort == 1:
            made = draws.randbytes(len(data))
        elif sort == 2:
            made = (
                b"\x93NUMPY\x01\x00v\x00" + b"{'descr': '|O', 'fortran_order': False, 'shape': (1,)}".ljust(117) + b"\n"
            )
        else:
            middle = len(data) // 2
            made = data[:middle] + bytes([255] * 16) + data[middle + 16 :]
    path.write_bytes(made)
    (path.parent / SEAL).unlink(missing_ok=True)
    seal(path.parent)
    return f"{path.name} made {made[:60]!r}"


_TENSORS = tuple(map(_tensor, (_drop, _reshape, _reshape, _retype, _poison, _add, _rename)))
CRAFTED: dict[str, tuple[Craft, ...]] = {
    "model": (
        *_TENSORS,
        _header,
        _entry(("options",)),
        _entry(
            (
                "labels",
                "temperature",
                "threshold",
                "several_labels",
                "scores",
                "data",
                "training",
                "task",
                "version",
                "format",
            )
        ),
        _tokeniser,
        _storage,
        _raw,
        _depth_of_header,
    ),
    "state": (*_TENSORS, _header, _last, _raw, _depth_of_header, _storage),
    "resume": (*_TENSORS, _header, _counter, _counter, _place, _raw, _depth_of_header, _storage),
    "config": (_config,),
    "history": (_history,),
    "tokens": (_tokens,),
}
