"""Corpora to token streams: the split, what is held out, and short corpora."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from nlpseq.errors import CorpusError, RunError
from nlpseq.text.formats import open_corpus
from nlpseq.training.data.corpus import (
    CorpusSpan,
    TokenisedCorpus,
    choose_tokens,
    measure,
    open_tokenised,
    split,
    tokenise_corpus,
)

Write = Callable[[str], str]

TINY_SHAKESPEARE = (Path(__file__).parents[3] / "../shared/data/tinyshakespeare/input.txt").resolve()
LINE = "the cat sat on the mat, and the dog lay by the door.\n"


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """A function from a text to the name of a file that holds it."""
    made: list[Path] = []

    def to_file(text: str) -> str:
        made.append(tmp_path / f"{len(made)}.txt")
        made[-1].write_text(text, encoding="utf-8", newline="")
        return str(made[-1])

    return to_file


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder for tokens."""
    path = tmp_path / "tokens"
    path.mkdir()
    return path


def _text(part: CorpusSpan | None) -> str:
    assert part is not None
    return "".join(part.pieces())


def _halves(name: str, *, at_line_end: bool) -> tuple[str, str]:
    train, valid = split([name], measure(CorpusSpan((name,))), at_line_end=at_line_end)
    return _text(train), _text(valid)


@pytest.mark.parametrize("length", [10_000, 10_001, 12_345, 19_999])
def test_characters_are_split_as_nanogpt_does(length: int, write: Write) -> None:
    text = "".join(chr(97 + place % 26) if place % 50 else "\n" for place in range(length))
    assert _halves(write(text), at_line_end=False) == (text[: int(0.9 * length)], text[int(0.9 * length) :])


def test_tiny_shakespeare_is_split_as_nanogpt_does(tmp_path: Path) -> None:
    if not TINY_SHAKESPEARE.exists():
        pytest.skip(f"{TINY_SHAKESPEARE} is not here")
    corpus = tokenise_corpus([str(TINY_SHAKESPEARE)], (), tmp_path, tokens="char")
    assert (len(corpus.train), len(corpus.valid)) == (1_003_854, 111_540)  # the figures of nanoGPT's prepare.py


def test_characters_are_counted_and_not_bytes(write: Write) -> None:
    text = "é" * 20_000
    train, valid = _halves(write(text), at_line_end=False)
    assert (len(train), len(valid)) == (18_000, 2_000)


def test_words_are_split_at_the_end_of_a_line(write: Write) -> None:
    text = LINE * 400
    train, valid = _halves(write(text), at_line_end=True)
    assert train + valid == text
    assert train.endswith("\n")
    assert 0 <= len(train) - int(0.9 * len(text)) < len(LINE)


def test_a_split_that_falls_on_a_lines_end_stays_there(write: Write) -> None:
    text = ("x" * 99 + "\n") * 200
    train, _ = _halves(write(text), at_line_end=True)
    assert len(train) == 18_000


def test_several_files_are_one_corpus(write: Write) -> None:
    names = [write("a" * 6000), write("b" * 6000)]
    whole = measure(CorpusSpan(tuple(names)))
    train, valid = split(names, whole, at_line_end=False)
    assert whole.characters == 12_000
    assert _text(train) == "a" * 6000 + "b" * 4800
    assert _text(valid) == "b" * 1200


def test_a_short_corpus_is_not_split(write: Write) -> None:
    name = write("x" * 9000)
    train, valid = split([name], measure(CorpusSpan((name,))), at_line_end=False)
    assert valid is None
    assert len(_text(train)) == 9000


def test_a_part_is_what_slicing_gives(write: Write) -> None:
    text = "".join(chr(0x100 + place % 300) for place in range(5000))
    name = write(text)
    for start, stop in ((0, None), (0, 10), (10, 20), (4990, None), (0, 9999), (30, 30)):
        assert "".join(CorpusSpan((name,), start, stop).pieces()) == text[start:stop]
    assert "".join(open_corpus(name)) == text


def _tokenised(write: Write, folder: Path, text: str, **given: object) -> TokenisedCorpus:
    return tokenise_corpus([write(text)], (), folder, **given)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["char", "byte", "word", "unigram", "bpe"])
def test_streams_hold_the_text(kind: str, write: Write, folder: Path) -> None:
    corpus = _tokenised(write, folder, LINE * 400, tokens=kind)
    both = [int(token) for part in (corpus.train, corpus.valid) for token in part[:]]
    assert corpus.tokeniser.kind == kind
    assert corpus.tokeniser.decode(both) == LINE * 400
    assert np.array_equal(corpus.frequencies, np.bincount(corpus.train[:], minlength=corpus.tokeniser.size))
    assert corpus.valid_size.tokens == len(corpus.valid)
    assert corpus.valid_size.characters + (corpus.facts["train_until"] or 0) == len(LINE * 400)


def test_what_was_written_is_opened_again(write: Write, folder: Path) -> None:
    corpus = _tokenised(write, folder, LINE * 400)
    again = open_tokenised(folder)
    assert np.array_equal(corpus.train[:], again.train[:])
    assert corpus.facts == again.facts
    assert corpus.tokeniser.fingerprint == again.tokeniser.fingerprint
    assert corpus.valid_size == again.valid_size


def test_the_tokeniser_sees_the_training_part_alone(write: Write, folder: Path) -> None:
    corpus = _tokenised(write, folder, "a" * 18_000 + "é" * 2_000, tokens="char")
    assert corpus.tokeniser.size == 256
    assert len(corpus.valid) == 4_000, "an unseen character is spelled in bytes"


def test_a_validation_file_may_hold_what_training_never_saw(write: Write, folder: Path) -> None:
    valid = "ünseen ☃ 文\n"
    corpus = tokenise_corpus([write(LINE * 10)], [write(valid)], folder, tokens="word")
    assert corpus.facts["valid_is"] == "given"
    assert corpus.tokeniser.decode(corpus.valid[:]) == valid
    assert corpus.facts["train_until"] is None


def test_a_corpus_of_few_characters_validates_on_itself(write: Write, folder: Path) -> None:
    corpus = _tokenised(write, folder, "hello")
    assert corpus.facts["valid_is"] == "training text"
    assert np.array_equal(corpus.train[:], corpus.valid[:])


def test_a_corpus_of_one_character_is_refused(write: Write, folder: Path) -> None:
    with pytest.raises(CorpusError, match="at least 2 tokens, has 1"):
        _tokenised(write, folder, "x")


def test_a_missing_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="cannot be read"):
        open_tokenised(tmp_path)


def test_a_name_with_undecodable_bytes_is_a_name(tmp_path: Path, folder: Path) -> None:
    path = Path(str(tmp_path) + "/caf\udce9.txt")
    path.write_text(LINE * 400)
    corpus = tokenise_corpus([str(path)], (), folder)
    assert corpus.facts["corpus"] == [str(path)]


def test_characters_are_for_small_corpora_and_pieces_for_large_ones() -> None:
    assert choose_tokens("auto", 1_000_000) == "char"
    assert choose_tokens("auto", 100_000_000) == "bpe"
    assert choose_tokens("word", 10) == "word"
