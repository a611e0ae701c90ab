"""The facts of a model file: its task, options, tokeniser, data, training, tensors and scores."""

from __future__ import annotations

from typing import Any

from nlpseq.models.linear import IDF, KEYS
from nlpseq.models.model_file import Model

NO_PARAMETERS = (KEYS, IDF)  # the names of n-grams, and how rare they are


def model_facts(model: Model) -> dict[str, Any]:
    """The facts by section, as values of JSON."""
    tokeniser = model.tokeniser
    tensors = {name: list(tensor.shape) for name, tensor in model.weights.items()}
    linear = {"linear": {"kind": model.options.get("linear"), "ngrams": tensors[KEYS][0]}} if KEYS in tensors else {}
    return {
        "model": {
            "path": str(model.path),
            "task": model.task,
            "version": model.header.get("version"),
            "format": model.header.get("format"),
            "checksum": model.header["checksum"],
            "parameters": sum(tensor.size for name, tensor in model.weights.items() if name not in NO_PARAMETERS),
            "bytes": model.path.stat().st_size,
        },
        "options": model.options,
        "tokeniser": {"kind": tokeniser.kind, "size": tokeniser.size, "fingerprint": tokeniser.fingerprint},
        **linear,
        "data": model.header.get("data") or {},
        "training": model.header.get("training") or {},
        "tensors": tensors,
        "scores": model.header.get("scores") or [],
    }
