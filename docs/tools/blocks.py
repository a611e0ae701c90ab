"""The code blocks of a Markdown page: read, run and compared with the output that the page shows.

The language of a block says what is done with it.

    console   each command after `$ ` is run by the shell, in order, in the page's own folder; the lines after it are
              its output, and `...` stands for any text
    python    run in order, with one namespace for the page; after `>>> ` as in a doctest
    sh        not run: every command of `nlpseq` in it is parsed, so that no option is misspelled
    others    shown only

A comment before a block of `console` or `python` says that its output comes from models which `docs/tools/tour.py`
trained for as long as the page says:

    <!-- measured -->

Elsewhere training takes a few steps, so only the form of the output is compared: the number of fields in each line if
they lie between tabs, the first word of each line if scores are written, and else that there is some. Of what training
writes, the page shows the first three lines and the result.
"""

from __future__ import annotations

import contextlib
import doctest
import io
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]
QUICK = {"steps": 2, "hidden_size": 16, "validations": 1}  # in place of minutes of training
TIMEOUT = 900  # seconds
TRAINING = re.compile(r"nlpseq train ")
RESULT = re.compile(r"\S+model\.safetensors  ")  # the line of a finished run
SCORES = re.compile(r"nlpseq evaluate\b")

FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
MARK = "<!-- measured -->\n"
MINUTES = re.compile(r"(nlpseq train .*?)--minutes [\d.]+")


@dataclass(frozen=True)
class Block:
    """A code block: its language, its text, whether its output is measured, and where its text lies in the page."""

    language: str
    text: str
    measured: bool
    line: int
    start: int

    @property
    def end(self) -> int:
        """The offset behind the block's text."""
        return self.start + len(self.text)


@dataclass
class Example:
    """A command, or a statement of Python, as the page shows it, and the lines of output below it."""

    source: str
    output: list[str] = field(default_factory=list)


def pages() -> list[Path]:
    """README.md and every page of docs/, the README first."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def read_blocks(page: str) -> list[Block]:
    """The code blocks of a page's text, in order."""
    blocks = []
    for match in FENCE.finditer(page):
        measured = page[: match.start()].endswith(MARK)
        line = page.count("\n", 0, match.start()) + 1
        blocks.append(Block(match[1], match[2], measured, line, match.start(2)))
    return blocks


def read_examples(block: Block) -> list[Example]:
    """The commands of a `console` block, or the statements of a `python` block.

    A command's continuation begins with `> `. A `python` block without `>>> ` is one example without output.
    """
    if block.language == "python" and not block.text.startswith(">>> "):
        return [Example(block.text)]
    if block.language == "python":
        found = doctest.DocTestParser().get_examples(block.text)
        return [Example(prompt(example.source), example.want.splitlines()) for example in found]
    examples: list[Example] = []
    for line in block.text.splitlines():
        if line.startswith("$ "):
            examples.append(Example(line))
        elif line.startswith("> ") and examples and not examples[-1].output:
            examples[-1].source += "\n" + line
        else:
            examples[-1].output.append(line)
    return examples


def prompt(source: str) -> str:
    """A statement as at Python's prompt."""
    first, *rest = source.rstrip("\n").split("\n")
    return "\n".join([f">>> {first}", *(f"... {line}".rstrip() for line in rest)])


def without_prompts(source: str) -> str:
    """What is typed behind the prompts."""
    return re.sub(r"^(\$|>>>|\.\.\.|>)(?: |$)", "", source, flags=re.MULTILINE) + "\n"


class Shell:
    """A folder in which a page is run."""

    def __init__(self, folder: Path, variables: dict[str, str], *, quick: bool) -> None:
        self.folder = folder
        self.variables = variables
        self.quick = quick
        self.namespace: dict[str, object] = {"__name__": "__main__"}

    def run(self, block: Block, example: Example) -> tuple[list[str], int]:
        """The lines that an example writes, errors included, and its exit status."""
        if block.language == "python":
            return run_python(example.source, self.namespace), 0
        command = without_prompts(example.source)
        if self.quick:
            flags = " ".join(f"--{name.replace('_', '-')} {value}" for name, value in QUICK.items())
            command = MINUTES.sub(rf"\1{flags}", command)
        return run(command, self.folder, self.variables)


def environment(folder: Path) -> dict[str, str]:
    """An environment in which `nlpseq` is this checkout's program; `folder` is where the program's stub is written."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("nlpseq", "python"):
        words = [sys.executable, *(("-m", "nlpseq") if name == "nlpseq" else ())]
        stub = folder / name
        stub.write_text(f'#!/bin/sh\nexec {shlex.join(words)} "$@"\n')
        stub.chmod(0o755)
    known = {**os.environ, "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"}
    return {**known, "PYTHONPATH": str(ROOT), "COLUMNS": "80", "NO_COLOR": "1", "LC_ALL": "C.UTF-8"}


def run(command: str, folder: Path, variables: dict[str, str]) -> tuple[list[str], int]:
    """The lines that a shell command writes, errors included, and its exit status."""
    done = subprocess.run(
        ["sh", "-c", command],
        cwd=folder,
        env=variables,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=TIMEOUT,
        check=False,
    )
    return [line.rstrip() for line in done.stdout.decode("utf-8", "replace").splitlines()], done.returncode


def difference(example: Example, found: list[str], *, measured: bool = False) -> str:
    """What is wrong with the lines that an example wrote, or "" if they are as the page shows them."""
    expected = example.output
    if not measured:
        pattern = re.escape("\n".join(line.rstrip() for line in expected)).replace(r"\.\.\.", ".*")
        wrong = not re.fullmatch(pattern, "\n".join(found), re.DOTALL)
    elif any("\t" in line for line in expected):
        wrong = [line.count("\t") for line in expected] != [line.count("\t") for line in found]
    elif SCORES.search(example.source):
        wrong = _first_words(expected) != _first_words(found)
    else:
        wrong = bool(expected) and not found
    return "\n".join(["expected:", *expected, "found:", *found]) if wrong else ""


def _first_words(lines: list[str]) -> list[str]:
    """The first word of each line; of a signature without what depends on versions of sacrebleu and sentencepiece."""
    return [re.sub(r"\|version:[\d.]+$|#[0-9a-f]{8}", "", line.split()[0]) for line in lines if line.strip()]


def shown(example: Example, found: list[str]) -> list[str]:
    """The lines of what was found that a page shows."""
    if not TRAINING.search(example.source) or len(found) <= 5:
        return found
    result = next((line for line in found if RESULT.match(line)), found[-1])
    return [*found[:3], "...", result]


def shell_words(text: str) -> Iterator[list[str]]:
    """The simple commands of a shell text as lists of words, without redirections and assignments."""
    for line in text.replace("\\\n", " ").splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        words: list[str] = []
        skip = False
        for word in lexer:
            if set(word) <= set("();|&"):
                if words:
                    yield words
                words = []
            elif set(word) <= set("<>"):
                skip = True
            elif skip:
                skip = False
            elif words or not re.match(r"\w+=", word):
                words.append(word)
        if words:
            yield words


def run_python(source: str, namespace: dict[str, object]) -> list[str]:
    """The lines that a statement prints, its value included, as at Python's prompt."""
    written = io.StringIO()
    mode = "single" if source.startswith(">>> ") else "exec"
    with contextlib.redirect_stdout(written):
        exec(compile(without_prompts(source), "<page>", mode), namespace)
    return written.getvalue().rstrip().splitlines()
