"""A run file sets the options of commands, and whatever it says, the answer is a value or a sentence."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

from nlpseq.commands import cli
from nlpseq.commands.settings.config_file import parse, read_config
from nlpseq.commands.settings.declared import COMMANDS, TOP, Declared, declare
from nlpseq.errors import ConfigError, NlpseqError
from nlpseq.tasks import CLASSIFIER, LANGUAGE_MODEL, TRANSLATOR, Task

Write = Callable[[str], Path]
ANY_FOLDER = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


def _request_of(task: Task) -> Declared:
    def train(request: Any) -> None:
        """Stand in for the command that trains."""

    train.__annotations__["request"] = task.load("request")
    return declare(train)


LM = _request_of(LANGUAGE_MODEL)


def _values(path: Path, command: Declared = LM) -> dict[str, Any]:
    return {name: value.value for name, value in read_config(path, command, "help").items()}


def test_tables_are_called_like_parameters_or_dataclasses(ask: Any, write: Write) -> None:
    for model, training in (("model", "training"), ("LanguageModelOptions", "LanguageModelTraining")):
        config = write(f"[{model}]\nhidden_size = 24\n[{training}]\nsteps = 7\n[corpus_options]\ntokens = 'byte'\n")
        request = ask("lm", "--config", config)
        assert (request.model.hidden_size, request.training.steps) == (24, 7)
        assert request.corpus_options.tokens == "byte"
        assert request.given >= {"hidden_size", "steps", "tokens"}


def test_keys_above_the_first_table_are_the_options_of_the_command(ask: Any, write: Write) -> None:
    config = write('corpus = ["a.txt", "b.txt"]\nvalid = "c.txt"\nout = "there"\noverwrite = true\n')
    request = ask("lm", "--config", config)
    assert (request.corpus, request.valid) == (("a.txt", "b.txt"), ("c.txt",))
    assert (request.out, request.overwrite, request.resume) == (Path("there"), True, False)
    assert {"corpus", "valid", "out", "overwrite"} <= request.given


def test_dashes_in_keys_are_those_of_flags(ask: Any, write: Write) -> None:
    assert ask("lm", "--config", write("[model]\nhidden-size = 24\n")).model.hidden_size == 24


def test_the_table_of_a_dataclass_adds_to_the_general_one(ask: Any, write: Write) -> None:
    config = write("[training]\nsteps = 5\nclip = 2\n[TranslationTraining]\nsteps = 9\n")
    assert ask("lm", "--config", config).training.steps == 5
    translator = ask("translation", "--config", config).training
    assert (translator.steps, translator.clip) == (9, 2.0)


def test_the_device_of_all_commands_is_that_of_training_too(ask: Any, write: Write) -> None:
    assert ask("lm", "--config", write('device = "cpu"\n')).training.device == "cpu"
    assert ask("lm", "--config", write('device = "cpu"\n[training]\ndevice = "auto"\n')).training.device == "auto"
    assert "device must be one of auto, cpu, cuda" in ask.refused("train", "lm", "--config", write("device = 1\n"))


def test_the_command_line_wins(ask: Any, write: Write) -> None:
    config = write('corpus = "a.txt"\nout = "there"\n[model]\nhidden_size = 24\nlayers = 2\n')
    request = ask("lm", "b.txt", "--config", config, "--hidden-size", 8)
    assert (request.corpus, request.out) == (("b.txt",), Path("there"))
    assert (request.model.hidden_size, request.model.layers) == (8, 2)


def test_a_budget_on_the_command_line_replaces_that_of_the_file(ask: Any, write: Write) -> None:
    training = ask("lm", "--config", write("[training]\nsteps = 10\n"), "--minutes", 1).training
    assert (training.steps, training.minutes) == (None, 1.0)


def test_without_a_file_nothing_is_given(ask: Any) -> None:
    assert ask("lm").given == frozenset()


def test_one_file_serves_several_commands(write: Write, model_path: Path) -> None:
    config = write(
        f"model = '{model_path}'\nout = 'there'\nsamples = 2\n"
        "[training]\nsteps = 5\n[GenerationOptions]\nlength = 3\n[search]\nbeam = 2\nn_best = 2\n"
        "[sampling]\ntop_k = 1\n"
    )
    generated = _run("generate", "--config", config, "--json").stdout.splitlines()
    assert [json.loads(line)["tokens"] for line in generated] == [3, 3]
    assert _run("score", "--config", config, input="a\n").exit_code == 0


def _run(*arguments: object, **settings: Any) -> Result:
    return CliRunner().invoke(cli.app, [str(one) for one in arguments], catch_exceptions=False, **settings)


@pytest.mark.parametrize(
    ("text", "said", "hint"),
    [
        ("[model]\nhidden_sise = 5", "[model] hidden_sise is no key of a run file", "did you mean hidden_size?"),
        ("[modell]\nlayers = 5", "[modell] is a table of no command", "did you mean model?"),
        ("[train]\nsteps = 5", "[train] is no table", "nlpseq train lm --help-all"),
        ("outt = 'x'", "outt is no key above the first table", "did you mean out?"),
        ("hidden_size = 5", "hidden_size is a key of the table [model]", "write [model] above hidden_size"),
        ("training = 5", "training must be a table, was 5", "[training]"),
        ("[out]\nx = 1", "out must be a path, was a table", ""),
        ("[a.b]\nx = 1", "[a.b] is a table in a table", ""),
        ("[training]\nlabel_smoothing = 0.1", "is no option of nlpseq train lm", "Training] is for the command"),
        ("[model]\nhidden_size = 1.5", "[model] hidden_size must be a whole number, was 1.5", "--help-all"),
        ("[model]\nhidden_size = 64.0", "must be a whole number, was 64.0", "hint:  hidden_size = 64\n"),
        ("[model]\nhidden_size = '64'", "must be a whole number, was '64'", "hint:  hidden_size = 64\n"),
        ("[model]\nhidden_size = true", "must be a whole number, was true", ""),
        ("[model]\nhidden_size = [64]", "must be a whole number, was a list", ""),
        ("[model]\nhidden_size = 1979-05-27", "must be a whole number, was the date or time 1979-05-27", ""),
        ("[model]\nhidden_size = 0", "run.toml: [model] hidden_size must be at least 1, was 0\n", ""),
        ("[training]\nclip = 'fast'", "[training] clip must be a number, was 'fast'", ""),
        ("[training]\nclip = nan", "[training] clip must be a number, was nan", ""),
        ("[model]\ncell = 'gruu'", "was 'gruu'", "did you mean gru?"),
        ("overwrite = 1", "overwrite must be true or false, was 1", ""),
        ("out = 5", "out must be a path, was 5", 'out = "5"'),
        ("corpus = ['a', 5]", "corpus must be a text, was 5", ""),
        ('out = "a\\u0000b"', "out must be a path, was 'a\\x00b'", ""),
        ("[model]\nhidden_size = 5\nhidden-size = 6", "[model] hidden_size is set twice", ""),
        ("[training]\nsteps = 5\nminutes = 1", "[training] steps and [training] minutes are different budgets", ""),
        ("[model]\ncell = gru", "is not valid TOML: invalid value (at line 2, column 8)", "a text has quotes"),
        ("[model", "is not valid TOML: expected ']' at the end of a table declaration (at end of document)", ""),
        ("[model]\nlayers = 1\nlayers = 2", "is not valid TOML: cannot overwrite a value (at ", ""),
    ],
)
def test_what_cannot_be_is_refused_in_one_sentence(ask: Any, write: Write, text: str, said: str, hint: str) -> None:
    told = ask.refused("train", "lm", "--config", write(text))
    assert told.startswith("error: run.toml: ")
    assert said in told
    assert hint in told
    assert told.count("\n") <= 2


def test_faults_of_a_file_have_status_1(write: Write) -> None:
    assert _run("train", "lm", "--config", write("[model]\nhidden_size = 0\n")).exit_code == 1
    assert _run("train", "lm", "--hidden-size", 0).exit_code == 2


def test_contradiction_of_file_and_command_line_names_both(write: Write) -> None:
    told = _run(
        "train", "translation", "--config", write('columns = "en,de"\n'), "--source", "a", "--target", "b"
    ).stderr
    assert "run.toml: columns is for tables" in told


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda path: None, "no such file"),
        (lambda path: path.mkdir(), "is a folder, not a file"),
        (lambda path: path.write_bytes(b"\xff\xfe\x00"), "is no text in UTF-8"),
        (lambda path: path.write_bytes(b"#" * 1_000_001), "is no run file: it has more than 1,000,000 bytes"),
        (lambda path: path.write_text("a = " + "[" * 50_000), "is not valid TOML"),
        (lambda path: path.write_text("a = " + "1" * 5_000), "is not valid TOML"),
    ],
)
def test_file_that_cannot_be_read_is_refused(tmp_path: Path, make: Callable[[Path], Any], said: str) -> None:
    make(tmp_path / "run.toml")
    with pytest.raises(ConfigError, match=said):
        parse(tmp_path / "run.toml")


def test_missing_file_has_a_neighbour(tmp_path: Path) -> None:
    (tmp_path / "run.toml").touch()
    with pytest.raises(ConfigError) as refused:
        parse(tmp_path / "rnu.toml")
    assert refused.value.hint == f"did you mean {tmp_path / 'run.toml'}?"


@pytest.mark.parametrize("task", [LANGUAGE_MODEL, CLASSIFIER, TRANSLATOR], ids=lambda task: task.command)
def test_every_option_of_training_can_be_set(task: Task, write: Write) -> None:
    """Each key of each table, set to a value of its type, comes back."""
    command = _request_of(task)
    text, expected = "", {}
    examples = {bool: True, int: 3, float: 0.5, str: "x", Path: "x"}
    for table in (TOP, "corpus_options", "model", "training"):
        text += f"[{table}]\n" if table else ""
        for key, setting in command.tables[table].items():
            assert setting is not None
            value = setting.choices[0] if setting.choices else examples[setting.kind]
            text += f"{key} = {json.dumps(value)}\n"
            expected[setting.name] = [value] if setting.many else value
    assert _values(write(text), command) == expected
    assert len(expected) > 40


def test_the_values_of_all_commands_have_types_of_toml() -> None:
    for name in cli.COMMANDS:
        import_module(f"nlpseq.commands.{name}")
    kinds = {setting.kind for command in COMMANDS for setting in command.settings.values()}
    assert kinds <= {bool, int, float, str, Path}


@ANY_FOLDER
@given(st.text() | st.binary().map(lambda data: data.decode("latin-1")))
@example("\ufeff[model]\nlayers = 2")
@example("[model]\r\nlayers = 2\r\n")
@example("layers = 0x")
def test_any_text_is_a_run_file_or_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "run.toml"
    path.write_bytes(text.encode("utf-8", "surrogateescape") if text.isascii() else text.encode("utf-8", "replace"))
    try:
        values = _values(path)
    except ConfigError as refused:
        assert "\n" not in refused.what or "\n" in text
    else:
        assert set(values) <= set(LM.settings)


@ANY_FOLDER
@given(st.binary())
def test_any_bytes_are_a_run_file_or_are_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "run.toml").write_bytes(data)
    try:
        _values(tmp_path / "run.toml")
    except ConfigError as refused:
        assert refused.where == str(tmp_path / "run.toml")


TEXTS = st.text(st.characters(exclude_categories=["Cs", "Cc"]))
VALUES = st.recursive(
    st.booleans() | st.integers() | st.floats() | TEXTS | st.sampled_from(["inf", "1e999", 10**400, "gru", "byte", ""]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("ab"), inner, max_size=2),
    max_leaves=3,
)
KEYS = sorted({key for keys in LM.tables.values() for key in keys} | {"hidden-size", "like", "quiet", "samples", "no"})
TABLES = st.sampled_from([*LM.tables, "search", "nothing"])


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, list):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {_toml(item)}" for key, item in value.items()) + "}"
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else repr(value)


@ANY_FOLDER
@given(st.dictionaries(TABLES, st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=3), max_size=3))
def test_any_tables_make_a_request_or_a_sentence(ask: Any, write: Write, tables: dict[str, dict[str, Any]]) -> None:
    """Through the whole program, which would show a traceback: all exceptions but our own come through."""
    lines = [f"{key} = {_toml(value)}" for key, value in tables.pop(TOP, {}).items() if key != "like"]
    for table, contents in tables.items():
        lines += [f"[{table}]", *(f"{key} = {_toml(value)}" for key, value in contents.items())]
    done = _run("train", "lm", "--config", write("\n".join(lines)))
    assert done.exit_code in (0, 1, 2)
    assert done.exit_code == 0 or done.stderr.startswith("error: ")
    ask.requests.clear()


@settings(deadline=None)
@given(VALUES)
def test_a_value_is_read_as_its_type_or_refused(value: Any) -> None:
    for setting in LM.settings.values():
        try:
            read = setting.read(value)
        except ValueError:
            continue
        for item in read if setting.many else [read]:
            assert isinstance(item, str if setting.kind is Path else setting.kind)
            assert setting.kind is bool or not isinstance(item, bool)


def test_errors_that_are_not_about_options_pass(write: Write) -> None:
    with pytest.raises(NlpseqError) as refused:
        parse(write("a = 1\n").with_name("no.toml"))
    assert refused.value.exit_status == 1
