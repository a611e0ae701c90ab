"""Corpora that need no download.

    stories        short stories
    english-german pairs of made-up sentences, for a translator
    reviews        made-up reviews with a label each, for a classifier
    python-docs    the texts of Python's own help(), from the running interpreter

The first three were written for this project; they are in the checkout's corpora/ and in the installed package. All are
small: for a first run in a minute, for tests and for teaching, not for a useful model. `python-docs` differs between
Python versions, so a score on it names the version.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Literal, NamedTuple

from nlpseq.errors import CorpusError

Kind = Literal["text", "pairs", "labels"]  # the kind of a corpus


class BundledCorpus(NamedTuple):
    """One corpus: its name, description and licence, a function that reads its text in pieces, and its kind."""

    name: str
    description: str
    licence: str
    read: Callable[[], Iterator[str]]
    kind: Kind = "text"


def corpus_files(name: str, suffix: str = ".txt") -> list[Traversable]:
    """The files of a corpus with a suffix, sorted by name: in the installed package, else in the checkout."""
    for folder in (
        resources.files("nlpseq") / "corpora" / name,
        Path(__file__).parents[2] / "corpora" / name,
    ):
        if folder.is_dir():
            files = [entry for entry in folder.iterdir() if entry.name.endswith(suffix)]
            return sorted(files, key=lambda entry: entry.name)
    return []


def _read_stories() -> Iterator[str]:
    """The stories, one file after the other, each ending in a newline."""
    files = corpus_files("stories")
    if not files:
        raise CorpusError("stories", "the bundled corpus is missing", "pip install --force-reinstall nlpseq")
    for file in files:
        text = file.read_bytes().decode("utf-8")
        yield text if text.endswith("\n") else text + "\n"


def _read_english_german() -> Iterator[str]:
    """Lines of an English sentence, a tab and a German sentence."""
    yield _read_table("english-german")


def _read_reviews() -> Iterator[str]:
    """A header, then lines of a label, a tab and a review."""
    yield _read_table("reviews")


def _read_table(name: str) -> str:
    files = corpus_files(name, ".tsv")
    if not files:
        raise CorpusError(name, "the bundled corpus is missing", "pip install --force-reinstall nlpseq")
    return files[0].read_bytes().decode("utf-8")


def _read_python_docs() -> Iterator[str]:
    """The topics of Python's help(), in the order of their names, each ending in a newline."""
    try:
        from pydoc_data.topics import topics
    except ImportError:
        raise CorpusError(
            "python-docs", "this Python has no help texts", "use the corpus `stories`, or a file"
        ) from None
    for name in sorted(topics):
        text = topics[name]
        yield text if text.endswith("\n") else text + "\n"


BUNDLED: dict[str, BundledCorpus] = {
    corpus.name: corpus
    for corpus in (
        BundledCorpus("stories", "short stories written for this project", "MIT", _read_stories),
        BundledCorpus(
            "english-german", "9,000 pairs made by a grammar, to translate", "MIT", _read_english_german, "pairs"
        ),
        BundledCorpus("reviews", "5,000 made-up reviews with labels, to classify", "MIT", _read_reviews, "labels"),
        BundledCorpus("python-docs", "the texts of Python's help()", "PSF-2.0", _read_python_docs),
    )
}
