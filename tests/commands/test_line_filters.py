"""The loop that all filters share: a line for each line, and nothing of the user's objects lost."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import Result

from nlpseq.commands.filters import Answers, added, filter_texts, read_object
from nlpseq.commands.inputs import LineOptions

Run = Callable[..., Result]
OWN_FIELDS = (Path(__file__).parents[2] / "../shared/data/tables_made/own_fields.jsonl").resolve()
NAMES = ("label", "score")
RESERVED = {*NAMES, "status"}


@pytest.mark.parametrize(
    ("line", "status"),
    [
        (b'{"text": "a"}', "ok"),
        (b'{"text": 1}', "no-text"),
        (b"{}", "no-text"),
        (b"[]", "invalid-json"),
        (b"", "invalid-json"),
        (b"{", "invalid-json"),
        (b"[" * 100_000, "invalid-json"),
        (b'{"text": "\xff"}', "invalid-utf8"),
    ],
    ids=lambda value: str(value)[:12],
)
def test_objects_are_read_or_their_fault_is_told(line: bytes, status: str) -> None:
    assert read_object(line)[1] == status


def _filtered(data: bytes, *, objects: bool = True, whole_batches: bool = False) -> list[bytes]:
    """The lines that a filter writes which counts words, and scores only texts of more than one."""

    def answer(texts: Sequence[str | None]) -> list[int | None]:
        return [None if text is None else len(text.split()) for text in texts]

    def as_fields(words: int | None) -> dict[str, Any]:
        return {"label": words, "score": words} if words and words > 1 else {"label": words}

    answers = Answers(answer, lambda number, words: f"{number} {words}", as_fields, NAMES)
    output = io.TextIOWrapper(io.BytesIO())
    with mock.patch.object(sys, "stdin", io.TextIOWrapper(io.BytesIO(data))), mock.patch.object(sys, "stdout", output):
        lines = LineOptions(jsonl=objects)
        source = lines.find("nlpseq classify", quiet=True)
        filter_texts(answers, source, lines, quiet=True, whole_batches=whole_batches)
    output.flush()
    written = output.buffer.getvalue()  # type: ignore[attr-defined]
    assert written.endswith(b"\n") or not written
    return written.split(b"\n")[:-1]


_names = st.sampled_from(["label", "score", "status", "text", "id", "given_label", "given_given_label", "given_status"])
_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)
_objects = st.dictionaries(_names | st.text(max_size=4), _values, max_size=9)
_garbage = st.binary(max_size=20).map(lambda data: data.replace(b"\n", b"").replace(b"\r", b""))


def _kept(fields: dict[str, Any], written: dict[str, Any]) -> bool:
    """Whether each field is there under its name, or behind `given_` if the filter writes that name."""
    for name, value in fields.items():
        if name not in RESERVED:
            if written[name] != value:
                return False
        elif not any(key.startswith("given_") and key.endswith(name) and written[key] == value for key in written):
            return False
    return True


@settings(deadline=None, max_examples=150)
@given(st.lists(st.builds(lambda fields: fields, _objects) | _garbage, max_size=8), st.booleans())
def test_no_field_of_the_user_is_lost_and_each_line_has_an_object(lines: list[Any], whole_batches: bool) -> None:
    data = [line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines]
    written = [
        json.loads(line) for line in _filtered(b"".join(line + b"\n" for line in data), whole_batches=whole_batches)
    ]
    assert len(written) == len(data)
    for line, found in zip(lines, written, strict=True):
        fields = line if isinstance(line, dict) else {}
        assert _kept(fields, found)
        if isinstance(line, dict):
            text = fields.get("text")
            assert found["status"] == ("ok" if isinstance(text, str) else "no-text")
            assert found["label"] == (len(text.split()) if isinstance(text, str) else None)
            expected = len(fields) + len(RESERVED) - ("score" not in found)
            assert len(found) == expected, "a field was lost or made up"
        assert ("score" in found) == ((found["label"] or 0) > 1), "a field of the user stands for one of the filter's"


@settings(deadline=None, max_examples=50)
@given(st.lists(_garbage, max_size=200), st.booleans())
def test_each_line_has_a_line(lines: list[bytes], whole_batches: bool) -> None:
    written = _filtered(b"".join(line + b"\n" for line in lines), objects=False, whole_batches=whole_batches)
    assert [int(line.split()[0]) for line in written] == list(range(1, len(lines) + 1))


def test_a_field_whose_given_name_is_taken_gets_another() -> None:
    fields = {"label": 1, "given_label": 2, "given_given_label": 3, "x": 4}
    found = added(fields, {"label": "ours"})
    assert found == {"given_given_given_label": 1, "given_label": 2, "given_given_label": 3, "x": 4, "label": "ours"}


def test_a_name_is_the_filters_even_where_it_is_not_written() -> None:
    assert added({"score": 1}, {"label": None}, NAMES) == {"given_score": 1, "label": None}


def _translator(folder: Path) -> Path:
    """A translator of random weights over the bytes of a few words."""
    from dataclasses import asdict

    from nlpseq.models import translator
    from nlpseq.models.model_file import save_model
    from nlpseq.models.translator import TranslatorOptions
    from nlpseq.text.tokenisers import ByteTokeniser

    options = TranslatorOptions(hidden_size=8, embedding_size=6)
    weights = translator.initial_weights(options, 256, 1)
    save_model(folder / "model.safetensors", translator.TASK, asdict(options), weights, ByteTokeniser(()))
    return folder / "model.safetensors"


OWN = {
    "text": "A man is sleeping.",
    "translation": "REFERENCE",
    "given_translation": "older",
    "status": "approved",
    "score": 0.9,
    "log_probability": 1,
    "tokens": ["A", "man"],
    "perplexity": None,
    "bits_per_byte": {"x": 1},
    "others": [],
    "attention": "a",
}
TRANSLATES = ("translate", "--jsonl", "--n-best", 2, "--longest", 4, "--attention", "-")


@pytest.mark.parametrize("text", ["A man is sleeping.", "", 7, "a" * 3000], ids=["text", "blank", "none", "long"])
def test_translate_keeps_the_users_fields(nlpseq: Run, tmp_path: Path, text: object) -> None:
    own = {**OWN, "text": text}
    done = nlpseq(*TRANSLATES, "-m", _translator(tmp_path), input=json.dumps(own).encode())
    found = json.loads(done.stdout)
    assert (found["given_given_translation"], found["given_translation"]) == ("REFERENCE", "older")
    for name in ("status", "score", "log_probability", "others", "attention"):
        assert found[f"given_{name}"] == own[name]
    for name in ("text", "tokens", "perplexity", "bits_per_byte"):
        assert found[name] == own[name]
    assert found["translation"] is None or isinstance(found["translation"], str)
    assert found["status"] in ("ok", "cut", "no-text", "too-long")
    assert ("score" in found) == (found["translation"] is not None)


def test_score_keeps_the_users_fields(nlpseq: Run, model_path: Path) -> None:
    done = nlpseq("score", "-m", model_path, "--jsonl", input=json.dumps(OWN).encode())
    found = json.loads(done.stdout)
    for name in ("status", "log_probability", "tokens", "perplexity", "bits_per_byte"):
        assert found[f"given_{name}"] == OWN[name]
    for name in ("translation", "given_translation", "score"):
        assert found[name] == OWN[name]
    assert (found["tokens"], found["status"]) == (19, "ok") and found["log_probability"] < 0


@pytest.mark.skipif(not OWN_FIELDS.exists(), reason="the made tables are not beside this checkout")
@pytest.mark.parametrize("verb", ["translate", "score"])
def test_the_made_input_keeps_its_fields(nlpseq: Run, model_path: Path, tmp_path: Path, verb: str) -> None:
    (line,) = OWN_FIELDS.read_bytes().splitlines()
    own = json.loads(line)
    model, settings_ = (model_path, ()) if verb == "score" else (_translator(tmp_path), ("--longest", 4))
    found = json.loads(nlpseq(verb, "-m", model, "--jsonl", *settings_, input=line).stdout)
    ours = {"translate": ("translation", "status", "score", "log_probability")}
    ours["score"] = ("log_probability", "tokens", "status")
    for name, value in own.items():
        assert found[f"given_{name}" if name in ours[verb] else name] == value
    assert found["status"] in ("ok", "cut")
