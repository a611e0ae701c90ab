"""`nlpseq inspect`: what is in a model file."""

from __future__ import annotations

from typing import Any

from nlpseq.commands import output
from nlpseq.commands.flags import LANGUAGE_MODEL, Json, ModelPath, application, command
from nlpseq.models.model_file import Model, load_model

app = application("What is in a model file.")


@app.callback()
def inspect() -> None:
    """What is in a model file."""


@command(app)
def model(model: ModelPath = LANGUAGE_MODEL, json: Json = False) -> None:
    """Write what a model is made of, how it was trained and how good it is."""
    loaded = load_model(model)
    facts = _facts(loaded)
    if json:
        output.write_json(facts)
    else:
        output.write_text("\n\n".join(_section(name, value) for name, value in facts.items()) + "\n")


def _facts(model: Model) -> dict[str, Any]:
    tokeniser = model.tokeniser
    tensors = {name: list(tensor.shape) for name, tensor in model.weights.items()}
    return {
        "model": {
            "path": str(model.path),
            "task": model.task,
            "version": model.header.get("version"),
            "format": model.header.get("format"),
            "checksum": model.header["checksum"],
            "parameters": sum(int(tensor.size) for tensor in model.weights.values()),
            "bytes": model.path.stat().st_size,
        },
        "options": model.options,
        "tokeniser": {"kind": tokeniser.kind, "size": tokeniser.size, "fingerprint": tokeniser.fingerprint},
        "data": model.header.get("data") or {},
        "training": model.header.get("training") or {},
        "tensors": tensors,
        "scores": model.header.get("scores") or [],
    }


def _section(name: str, value: dict[str, Any] | list[dict[str, Any]]) -> str:
    """A heading and its lines; every score is a line of its own."""
    if isinstance(value, list):
        rows = [(one["name"], f"{one['value']:.6g} per {one['unit']}", one["signature"]) for one in value]
    else:
        rows = [(key, _spelled(one), "") for key, one in value.items()]
    width = max((len(row[0]) for row in rows), default=0)
    return "\n".join([name, *(f"  {key:{width}}  {one}  {more}".rstrip() for key, one, more in rows)])


def _spelled(value: Any) -> str:
    if isinstance(value, list) and all(isinstance(one, int) for one in value):
        return " x ".join(map(str, value))
    if isinstance(value, list):
        return " ".join(map(str, value))
    if isinstance(value, dict):
        return ", ".join(f"{key} {one}" for key, one in value.items())
    if value is None:
        return "-"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
