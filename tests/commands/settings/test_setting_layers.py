"""Which value counts: the command line, a variable, a run file, or the run to repeat."""

from __future__ import annotations

import pytest

from nlpseq.commands.settings.layers import Value, merged, placed, without_corpus
from nlpseq.errors import BackendError, ConfigError, CorpusError, NlpseqError, OptionError


def _layer(where: str, **values: object) -> dict[str, Value]:
    return {
        name: Value(value, where, f"[table] {name}" if where != "VARIABLE" else "") for name, value in values.items()
    }


def test_a_higher_layer_wins_and_the_command_line_wins_over_all() -> None:
    high, low = _layer("VARIABLE", device="cuda", quiet=True), _layer("run.toml", device="cpu", quiet=False, out="x")
    values = merged(["quiet"], [high, low])
    assert {name: value.value for name, value in values.items()} == {"device": "cuda", "out": "x"}


@pytest.mark.parametrize(
    ("named", "layer", "left"),
    [
        ("minutes", ["steps", "clip"], ["clip"]),
        ("steps", ["epochs", "minutes"], []),
        ("batch_size", ["batch_tokens"], []),
        ("overwrite", ["resume"], []),
        ("corpus", ["source", "target", "valid"], ["valid"]),
        ("source", ["corpus", "target"], ["target"]),
        ("valid", ["corpus"], ["corpus"]),
    ],
)
def test_options_that_exclude_each_other_are_one_choice(named: str, layer: list[str], left: list[str]) -> None:
    assert list(merged([named], [_layer("run.toml", **dict.fromkeys(layer, 1))])) == left
    over = merged([], [_layer("a.toml", **{named: 1}), _layer("b.toml", **dict.fromkeys(layer, 1))])
    assert list(over) == [named, *left]


def test_contradiction_within_a_layer_stays_for_the_command_to_refuse() -> None:
    assert list(merged([], [_layer("run.toml", steps=1, minutes=1)])) == ["steps", "minutes"]


def test_another_corpus_replaces_all_that_belongs_to_the_first() -> None:
    layer = _layer("config.json", corpus=["a"], valid=["b"], columns="1,2", clip=1.0)
    assert list(without_corpus(layer, ["source"])) == ["clip"]
    assert without_corpus(layer, ["valid"]) == layer


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (OptionError("steps", "is wrong", "hint"), "run.toml: [table] steps is wrong"),
        (OptionError("--steps", "is wrong", "hint"), "run.toml: [table] steps is wrong"),
        (OptionError("steps and minutes", "differ", "hint"), "run.toml: [table] steps and [table] minutes differ"),
        (OptionError("steps and epochs", "differ", "hint"), "[table] steps of run.toml and --epochs: differ"),
        (OptionError("steps and device", "differ", "hint"), "[table] steps of run.toml and VARIABLE: differ"),
        (BackendError("device", "is none", "hint"), "VARIABLE: is none"),
    ],
)
def test_an_error_names_the_file_or_the_variable(error: NlpseqError, told: str) -> None:
    values = _layer("run.toml", steps=1, minutes=1) | _layer("VARIABLE", device="cuda")
    found = placed(error, values)
    assert (type(found), str(found), found.hint) == (ConfigError, told, "hint")


@pytest.mark.parametrize("error", [OptionError("clip", "is wrong"), CorpusError("steps", "no such file")])
def test_an_error_about_anything_else_stays_as_it_is(error: NlpseqError) -> None:
    assert placed(error, _layer("run.toml", steps=1)) is error
