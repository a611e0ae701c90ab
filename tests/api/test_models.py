"""The models in Python give what the command line gives."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import nlpseq
from nlpseq.commands.cli import app
from nlpseq.errors import OptionError

Run = Callable[..., str]
SOURCES = ["A man is sleeping.", "Two dogs run.", ""]
TARGETS = ["Ein Mann schläft.", "Zwei Hunde laufen.", "x"]
REVIEWS = ["a dull film", "a wonderful end, und schön", "so-so"]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """The standard output of a command."""
    monkeypatch.chdir(tmp_path)

    def run(*words: object, input: Sequence[str] = ()) -> str:
        text = "".join(line + "\n" for line in input)
        done = CliRunner().invoke(app, [*map(str, words)], input=text, catch_exceptions=False)
        assert done.exit_code == 0, done.stderr
        return done.stdout

    return run


def _scores(model: Any, *corpora: Any, **options: Any) -> list[dict[str, Any]]:
    return [score.as_json() for score in model.evaluate(*corpora, **options)]


def test_a_language_model_generates_as_the_command_does(trained: dict[str, Path], run: Run) -> None:
    model = nlpseq.LanguageModel.load(trained["lm"])
    options = {"length": 40, "temperature": 0.7, "top_k": 5, "random_seed": 7}
    flags = ("--length", 40, "--temperature", 0.7, "--top-k", 5, "--random-seed", 7)
    shown = run("generate", "-m", trained["lm"], "--seed", "hello", *flags)
    assert model.generate("hello", **options) == shown.removesuffix("\n")
    assert "hello" + "".join(model.stream("hello", **options)) == shown.removesuffix("\n")
    assert model.generate("hello", echo=False, **options) == shown.removesuffix("\n").removeprefix("hello")
    several = run("generate", "-m", trained["lm"], "--seed", "hello", "-n", 3, "--json", *flags)
    texts = [json.loads(line)["text"] for line in several.splitlines()]
    assert model.samples("hello", 3, echo=False, **options) == texts
    lines = run("generate", "-m", trained["lm"], "--seed", "-", *flags, input=["one", "two"])
    assert model.generate(["one", "two"], stop=["\n"], **options) == lines.splitlines()


def test_a_stream_goes_on_from_a_saved_state(trained: dict[str, Path], tmp_path: Path) -> None:
    model = nlpseq.LanguageModel.load(trained["lm"])
    stream = model.stream("hello", length=5, temperature=0)
    begun = "".join(stream)
    stream.save(tmp_path / "here")
    later = "".join(model.stream("", length=7, temperature=0, state=tmp_path / "here"))
    assert begun + later == model.generate("hello", echo=False, length=12, temperature=0)


def test_a_language_model_scores_and_is_evaluated_as_by_the_command(trained: dict[str, Path], run: Run) -> None:
    model = nlpseq.LanguageModel.load(trained["lm"])
    shown = run("score", "-m", trained["lm"], input=["the cat", "où", ""])
    spelled = [
        f"{line.log_probability:.6f}\t{line.tokens}\t{line.perplexity:.6f}\t{line.bits_per_byte:.6f}"
        for line in model.score(["the cat", "où", ""])
    ]
    assert spelled == shown.splitlines()
    assert model.score("the cat") == model.score(["the cat"])[0]
    assert _scores(model) == json.loads(run("evaluate", "-m", trained["lm"], "--json"))["scores"]
    held_out = json.loads(run("evaluate", "-m", trained["lm"], "stories", "--held-out", "--json"))["scores"]
    assert _scores(model, "stories", held_out=True) == held_out


def test_a_classifier_labels_and_is_evaluated_as_by_the_command(trained: dict[str, Path], run: Run) -> None:
    model = nlpseq.Classifier.load(trained["sentiment"])
    shown = run("classify", "-m", trained["sentiment"], input=REVIEWS)
    decisions = model.classify(REVIEWS)
    assert [f"{decision.label}\t{decision.probability:.6f}" for decision in decisions] == shown.splitlines()
    assert model.classify(REVIEWS[0]).label == decisions[0].labels[0]
    assert set(decisions[0].labels) == set(model.labels)
    evaluated = json.loads(run("evaluate", "-m", trained["sentiment"], "--json"))
    assert _scores(model) == evaluated["scores"]
    assert model.report().confusion.tolist() == evaluated["confusion"]["table"]
    words = json.loads(run("inspect", "words", REVIEWS[0], "-m", trained["sentiment"], "--json"))
    explained = model.words(REVIEWS[0])
    assert (explained.label, [word.text.strip() for word in explained.words]) == (
        words["label"],
        [word["word"] for word in words["words"]],
    )


def test_a_translator_translates_and_is_evaluated_as_by_the_command(trained: dict[str, Path], run: Run) -> None:
    folder = trained["translation"]
    model = nlpseq.Translator.load(folder)
    shown = run("translate", "-m", folder, "--beam", 3, input=SOURCES)
    assert model.translate(SOURCES, beam=3) == shown.split("\n")[: len(SOURCES)]
    assert model.translate(SOURCES[0], beam=3) == shown.split("\n")[0]
    drawn = run("translate", "-m", folder, "--sample", 1, "--random-seed", 5, input=SOURCES)
    assert model.translate(SOURCES, sample=1, random_seed=5) == drawn.split("\n")[: len(SOURCES)]
    assert model.translate(SOURCES, beam=3, processes=2) == model.translate(SOURCES, beam=3)
    together = nlpseq.Translator.load(folder, folder)
    assert together.translate(SOURCES, beam=3) == model.translate(SOURCES, beam=3)
    pairs = Path("pairs.tsv")
    pairs.write_text(
        "".join(f"{source}\t{target}\n" for source, target in zip(SOURCES, TARGETS, strict=True) if source)
    )
    evaluated = json.loads(run("evaluate", "-m", folder, pairs, "--beam", 2, "--json"))["scores"]
    assert _scores(model, pairs, beam=2) == evaluated
    assert _scores(model, beam=1) == json.loads(run("evaluate", "-m", folder, "--beam", 1, "--json"))["scores"]
    Path("source.txt").write_text("".join(source + "\n" for source in SOURCES))
    scored = run("score", "-m", folder, "--source", "source.txt", input=TARGETS).splitlines()
    found = [score for score in model.score(TARGETS, SOURCES) if score is not None]
    assert [f"{score.log_probability:.6f}" for score in found] == [line.split("\t")[0] for line in scored]
    looked = json.loads(run("inspect", "attention", SOURCES[0], "-m", folder, "--json"))
    alignment = model.attention(SOURCES[0])
    assert (alignment.source, alignment.target) == (looked["source"], looked["target"])


@pytest.mark.parametrize(
    ("command", "ability", "arguments", "options", "said"),
    [
        ("lm", "generate", ("a",), {"temprature": 1}, "temprature: is no option of generation"),
        ("lm", "generate", (3,), {}, "prompt: must be a text or a list of texts, was 3"),
        ("lm", "generate", (["a", 3],), {}, "prompt: must be a text or a list of texts, was 3"),
        ("lm", "generate", ("a",), {"length": 0}, "length: must be at least 1, was 0"),
        ("lm", "samples", ("a", 0), {}, "count: must be a whole number of at least 1, was 0"),
        ("lm", "samples", ("a", "3"), {}, "count: must be a whole number of at least 1, was '3'"),
        ("lm", "stream", (["a"],), {}, "prompt: must be a text, was ['a']"),
        ("sentiment", "words", (None,), {}, "text: must be a text, was None"),
        ("translation", "attention", (["a"],), {}, "text: must be a text, was ['a']"),
        ("sentiment", "classify", ([None],), {}, "texts: must be a text or a list of texts, was None"),
        ("sentiment", "words", (" ",), {}, "TEXT: must not be blank"),
        ("sentiment", "words", ("a",), {"label": "x"}, "label: must be one of "),
        ("translation", "translate", ("a",), {"bream": 1}, "bream: is no option of translation"),
        ("translation", "translate", ("a",), {"temperature": 1.0}, "sample: is missing"),
        ("translation", "score", (["a"], []), {}, "sources: must be as many as lines, 1, were 0"),
        (
            "translation",
            "evaluate",
            (),
            {"source": "a.txt"},
            "CORPUS: must be tables of pairs, or --source and --target",
        ),
    ],
)
def test_a_wrong_argument_is_refused(
    trained: dict[str, Path], command: str, ability: str, arguments: tuple[Any, ...], options: dict[str, Any], said: str
) -> None:
    model = nlpseq.load(trained[command])
    with pytest.raises(OptionError) as refused:
        getattr(model, ability)(*arguments, **options)
    assert str(refused.value).startswith(said)


def test_columns_may_be_numbers(trained: dict[str, Path], tmp_path: Path) -> None:
    labelled, pairs = tmp_path / "a.tsv", tmp_path / "b.tsv"
    labelled.write_text("1\ta dull film\tnegative\n2\ta fine film\tpositive\n")
    pairs.write_text("1\tA man.\t7\tEin Mann.\n2\tA dog.\t8\tEin Hund.\n")
    classifier = nlpseq.Classifier.load(trained["sentiment"])
    assert _scores(classifier, labelled, label_column=3, text_column=2) == _scores(
        classifier, labelled, label_column="3", text_column="2"
    )
    translator = nlpseq.Translator.load(trained["translation"])
    assert _scores(translator, pairs, columns=(2, 4)) == _scores(translator, pairs, columns="2,4")


def test_pairs_with_a_blank_side_are_told_of(trained: dict[str, Path], tmp_path: Path) -> None:
    pairs, notes = tmp_path / "pairs.tsv", list[str]()
    pairs.write_text("A man.\tEin Mann.\nA dog.\t\n")
    nlpseq.Translator.load(trained["translation"]).evaluate(pairs, note=notes.append)
    assert "1 of 2 pairs have a blank side, and are counted" in notes
