"""README.md and docs/ say what is so: commands and snippets are run, pages made from the program are up to date."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import chdir, contextmanager
from pathlib import Path
from typing import Any

import pytest

import nlpseq

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "docs" / "tools"))

import blocks  # noqa: E402
import generate  # noqa: E402
import program  # noqa: E402
import tour  # noqa: E402

PAGES = blocks.pages()
README, OTHERS = PAGES[0], PAGES[1:]
WRITTEN = [path for path in PAGES if path.name not in generate.PAGES]
LINKED = [*PAGES, ROOT / "CONTRIBUTING.md", ROOT / "examples" / "README.md"]
RUN = {"console", "python"}  # languages of blocks that are run
OTHER_PROGRAMS = {"--no-deps", "--paired-bs", "--paired-ar"}  # flags of programs that are not ours

pytestmark = pytest.mark.skipif(sys.platform == "win32" or shutil.which("sh") is None, reason="needs a POSIX shell")


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def _languages(path: Path) -> set[str]:
    return {block.language for block in blocks.read_blocks(_read(path))}


def _run_page(path: Path, folder: Path, variables: dict[str, str]) -> list[str]:
    """What is wrong with the examples of a page, run with a few steps of training."""
    shell, faults = blocks.Shell(folder, variables, quick=True), []
    for block in blocks.read_blocks(_read(path)):
        for example in blocks.read_examples(block) if block.language in RUN else ():
            found, status = shell.run(block, example)
            wrong = blocks.difference(example, found, measured=block.measured)
            if status and not any(line.startswith("error: ") for line in example.output):
                wrong = "\n".join([f"status {status}", *found])
            if wrong:
                faults.append(f"{path.name}:{block.line}: {example.source}\n{wrong}")
    return faults


@pytest.fixture(scope="session")
def variables(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment in which `nlpseq` is this checkout's program."""
    return blocks.environment(tmp_path_factory.mktemp("bin"))


@contextmanager
def _quick_training() -> Iterator[None]:
    """`nlpseq.train` with a few steps in place of minutes."""
    train = nlpseq.train

    def quick(*arguments: Any, minutes: float | None = None, **options: Any) -> Any:
        return train(*arguments, **({**options, **blocks.QUICK} if minutes else options))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nlpseq, "train", quick)
        yield


@pytest.fixture(scope="session")
def readme_run(tmp_path_factory: pytest.TempPathFactory, variables: dict[str, str]) -> tuple[Path, list[str]]:
    """The folder in which the README was run, with the models that it trains, and what is wrong with it."""
    folder = tmp_path_factory.mktemp("readme")
    with chdir(folder), _quick_training():
        return folder, _run_page(README, folder, variables)


@pytest.fixture
def page_folder(readme_run: tuple[Path, list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to be in, but for the models."""
    shutil.copytree(readme_run[0] / "checkpoints", tmp_path / "checkpoints")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_readme_runs_as_it_stands(readme_run: tuple[Path, list[str]]) -> None:
    assert not readme_run[1]


@pytest.mark.parametrize("path", [path for path in OTHERS if RUN & _languages(path)], ids=lambda path: path.stem)
def test_page_runs_as_it_stands(path: Path, page_folder: Path, variables: dict[str, str]) -> None:
    with _quick_training():
        assert not _run_page(path, page_folder, variables)


def _shell_commands(path: Path) -> Iterator[list[str]]:
    for block in blocks.read_blocks(_read(path)):
        if block.language == "sh":
            yield from blocks.shell_words(block.text)


@pytest.mark.parametrize("path", WRITTEN, ids=lambda path: path.stem)
def test_commands_that_are_not_run_are_well_spelled(path: Path) -> None:
    for words in _shell_commands(path):
        if words[0] == "nlpseq":
            program.parse(words)


def test_misspelled_command_is_found() -> None:
    usage_error: Any = program.typer.BadParameter.__base__
    for line in ("nlpseq train lm --hiden-size 5", "nlpseq trane", "nlpseq train lm --cell perceptron"):
        with pytest.raises((usage_error, nlpseq.NlpseqError)):
            program.parse(line.split())


def test_every_flag_in_the_text_exists() -> None:
    known = program.flags() | OTHER_PROGRAMS
    for path in WRITTEN:
        prose = blocks.FENCE.sub("", _read(path))
        for code in re.findall(r"`([^`]+)`", prose):
            assert set(re.findall(r"(?<![\w-])--[a-z][\w-]*", code)) <= known, f"{path.name}: {code}"


@pytest.mark.parametrize("name", generate.PAGES)
def test_generated_page_is_up_to_date(name: str) -> None:
    assert _read(ROOT / "docs" / name) == generate.generated(name), "run `make docs`"


def test_python_pages_list_everything_that_the_package_offers() -> None:
    listed = re.findall(r"^## nlpseq\.(\w+)$", _read(ROOT / "docs" / "python-reference.md"), re.MULTILINE)
    assert sorted(listed) == sorted(nlpseq.__all__)
    shown = set(re.findall(r"nlpseq\.(\w+)", _read(ROOT / "docs" / "python.md")))
    assert set(nlpseq.__all__) <= shown


def _anchors(path: Path) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", _read(path), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", LINKED, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(path: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", blocks.FENCE.sub("", _read(path))):
        target, _, anchor = link.partition("#")
        if re.match(r"\w+:", target):
            continue
        found = (path.parent / target).resolve() if target else path
        assert found.exists(), link
        assert not anchor or anchor in _anchors(found), link


def test_every_page_is_listed() -> None:
    index, navigation = _read(ROOT / "docs" / "index.md"), _read(ROOT / "mkdocs.yml")
    for path in OTHERS:
        assert path.name == "index.md" or f"]({path.name})" in index
        assert path.name in navigation


def test_picture_shows_the_commands_that_made_it() -> None:
    """The text of the picture, its spaces aside: each command, and no traceback."""
    drawn = re.sub(r"<style>.*?</style>|<[^>]*>", "", _read(tour.PICTURE), flags=re.DOTALL)
    text = "".join(html.unescape(drawn).split())
    assert all("$" + "".join(command.split()) in text for command in tour.SHOWN)
    assert "Traceback" not in text


def test_readme_is_short_and_names_the_two_commands() -> None:
    lines = _read(README).splitlines()
    assert len(lines) <= 175
    assert {"make demo", "make test"} <= {line.partition("#")[0].strip() for line in lines}


def test_difference_is_found() -> None:
    """The comparison itself: what passes, and what does not."""

    def wrong(source: str, expected: list[str], found: list[str], **settings: bool) -> bool:
        return bool(blocks.difference(blocks.Example(source, expected), found, **settings))

    assert not wrong("$ a", ["a ... c"], ["a b c"])
    assert wrong("$ a", ["a ... c"], ["a b d"])
    assert wrong("$ a", ["a"], ["a", "b"])
    assert not wrong("$ nlpseq classify", ["x\t1"], ["y\t2"], measured=True)
    assert wrong("$ nlpseq classify", ["x\t1"], ["y"], measured=True)
    assert not wrong("$ nlpseq evaluate", ["loss  1", "", "time  2"], ["loss  3", "time  4"], measured=True)
    assert wrong("$ nlpseq evaluate", ["loss  1"], ["cost  1"], measured=True)
    assert wrong("$ nlpseq generate", ["text"], [], measured=True)


Command = Callable[..., list[str]]


@pytest.fixture
def command(page_folder: Path, variables: dict[str, str]) -> Command:
    """`command("score", input="a line")`: the lines that a command writes."""

    def run(*words: str, input: str = "") -> list[str]:
        arguments = [sys.executable, "-m", "nlpseq", *words]
        done = subprocess.run(
            arguments, input=input, capture_output=True, text=True, check=True, cwd=page_folder, env=variables
        )
        return done.stdout.removesuffix("\n").split("\n")

    return run


LINES = ["The tired doctor thanked the brothers.", "A dull film; I was bored.", ""]


def test_python_generates_the_command_lines_text(command: Command) -> None:
    model = nlpseq.load("checkpoints/lm")
    assert isinstance(model, nlpseq.LanguageModel)
    options = ["--length", "40", "--temperature", "0.8", "--random-seed", "3"]
    expected = "\n".join(command("generate", "--seed", "hello", *options))
    settings: dict[str, Any] = {"length": 40, "temperature": 0.8, "random_seed": 3}
    assert model.generate("hello", **settings).rstrip("\n") == expected.rstrip("\n")
    assert ("hello" + "".join(model.stream("hello", **settings))).rstrip("\n") == expected.rstrip("\n")


def test_python_scores_as_the_command_line(command: Command) -> None:
    model = nlpseq.load("checkpoints/lm")
    assert isinstance(model, nlpseq.LanguageModel)
    found = [json.loads(line) for line in command("score", "--json", input="\n".join(LINES) + "\n")]
    assert [score.log_probability for score in model.score(LINES)] == [line["log_probability"] for line in found]


def test_python_classifies_as_the_command_line(command: Command) -> None:
    model = nlpseq.load("checkpoints/sentiment")
    assert isinstance(model, nlpseq.Classifier)
    found = [line.split("\t") for line in command("classify", input="\n".join(LINES[:2]) + "\n")]
    decisions = model.classify(LINES[:2])
    assert [[each.labels[0], f"{each.probabilities[0]:.6f}"] for each in decisions] == found


def test_python_translates_and_scores_as_the_command_line(command: Command) -> None:
    model = nlpseq.load("checkpoints/translation")
    assert isinstance(model, nlpseq.Translator)
    assert model.translate(LINES, beam=5) == command("translate", input="\n".join(LINES) + "\n")
    Path("source.txt").write_text(LINES[0] + "\n")
    (line,) = command("score", "-m", "checkpoints/translation", "--source", "source.txt", "--json", input="Der Arzt.\n")
    (score,) = model.score(["Der Arzt."], [LINES[0]])
    assert score is not None
    assert score.log_probability == json.loads(line)["log_probability"]


@pytest.mark.parametrize("task", ["lm", "sentiment", "translation"])
def test_python_evaluates_as_the_command_line(task: str, command: Command) -> None:
    corpus = []
    if task == "translation":
        lines = command("corpus", "show", "english-german")
        Path("test.tsv").write_text("\n".join(lines[-20:]) + "\n", encoding="utf-8")
        corpus = ["test.tsv"]
    found = json.loads("\n".join(command("evaluate", "-m", f"checkpoints/{task}", *corpus, "--json")))["scores"]
    scores = nlpseq.load(f"checkpoints/{task}").evaluate(*corpus)
    assert [(score.name, score.signature) for score in scores] == [(each["name"], each["signature"]) for each in found]
    # NumPy's products are rounded by its number of threads, which the command sets by how busy the machine is.
    assert [score.value for score in scores] == pytest.approx([each["value"] for each in found], rel=1e-6)
