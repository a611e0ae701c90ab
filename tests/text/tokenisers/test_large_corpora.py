"""Vocabularies and tokens of large corpora: the same from any pieces and by any number of processes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nlpseq.errors import TokeniserError
from nlpseq.text import compression, formats
from nlpseq.text.formats import split_lines
from nlpseq.text.heap import without_holes
from nlpseq.text.tokenisers import TOKENISERS, Tokeniser, counts, subwords, train_tokeniser
from nlpseq.text.tokenisers.counts import CountedTokeniser
from nlpseq.text.tokenisers.encoding import EncodedPiece, encode_pieces
from nlpseq.text.tokenisers.learning import learn_tokeniser
from nlpseq.training.data.corpus import tokenise_corpus

FILES = ("train.arrow", "valid.arrow", "frequencies.npy", "tokeniser.json", "corpus.json")
WORDS = ("the", "boat", "came", "h\u00f4me", "at", "dusk.", "\u732b", "a\tb", "", "\u2581x", "quay-side")


def _text(lines: int = 1500) -> str:
    generator = np.random.default_rng(1)
    return "".join(
        " ".join(WORDS[index] for index in generator.integers(len(WORDS), size=generator.integers(14)))
        + f" {generator.integers(400)}\n"
        for _ in range(lines)
    )


def _cut(text: str, lengths: Sequence[int]) -> Iterator[str]:
    start = 0
    for length in lengths:
        yield text[start : start + length]
        start += length
    yield text[start:]


@pytest.fixture(scope="module")
def trained() -> dict[str, Tokeniser]:
    return {kind: train_tokeniser(kind, _text().split("\n"), 400) for kind in TOKENISERS}


@settings(deadline=None, max_examples=40)
@given(lengths=st.lists(st.integers(1, 3000), max_size=30))
@pytest.mark.parametrize("kind", TOKENISERS)
def test_a_vocabulary_does_not_depend_on_the_pieces(
    kind: str, lengths: list[int], trained: dict[str, Tokeniser]
) -> None:
    learned = learn_tokeniser(kind, _cut(_text(), lengths), 400, processes=1)
    assert learned.to_bytes() == trained[kind].to_bytes()


@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lengths=st.lists(st.integers(1, 3000), max_size=30), alone=st.integers(0, 5000))
def test_tokens_are_those_of_each_piece(lengths: list[int], alone: int, trained: dict[str, Tokeniser]) -> None:
    pieces = list(_cut(_text(), lengths))
    for tokeniser in trained.values():
        found = list(encode_pieces(tokeniser, pieces, 1))
        for encoded, piece in zip(found, pieces, strict=True):
            expected = tokeniser.encode(piece, exact=False)
            assert encoded.ids.tolist() == expected.tolist()
            assert encoded.characters == len(piece)
            assert Counter(expected.tolist()) == {token: n for token, n in enumerate(encoded.counts.tolist()) if n}


@pytest.mark.parametrize("kind", TOKENISERS)
def test_workers_encode_as_this_process_does(
    kind: str, trained: dict[str, Tokeniser], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(TOKENISERS[kind], "encoded_alone", 500)
    pieces = list(_cut(_text(), [100, 1, 3000, 20, 7, 4000, 900]))

    def plain(found: Iterator[EncodedPiece]) -> list[tuple[list[int], list[int], int]]:
        return [(encoded.ids.tolist(), encoded.counts.tolist(), encoded.characters) for encoded in found]

    alone = plain(encode_pieces(trained[kind], pieces, 1))
    for processes in (2, 3):
        assert plain(encode_pieces(trained[kind], iter(pieces), processes)) == alone


def test_a_corpus_has_the_same_files_with_any_number_of_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compression, "PIECE_BYTES", 3000)
    path = tmp_path / "text.txt"
    path.write_text(_text() + "x" * 20_000 + " y" * 3000, "utf-8")
    for kind, tokeniser in TOKENISERS.items():
        found = set()
        for processes in (1, 2, 3):
            monkeypatch.setattr(tokeniser, "encoded_alone", 5000)
            monkeypatch.setattr(tokeniser, "counted_alone", 5000, raising=False)
            folder = tmp_path / f"{kind}{processes}"
            folder.mkdir()
            tokenise_corpus([str(path)], (), folder, tokens=kind, vocabulary_size=400, processes=processes)
            found.add(tuple((folder / name).read_bytes() for name in FILES))
        assert len(found) == 1, kind


@pytest.mark.parametrize("kind", ["char", "word"])
def test_the_most_frequent_units_survive_a_limit_of_what_is_counted(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    frequent = [chr(0x4E00 + number) for number in range(20)]
    rare = [chr(0x5000 + number) for number in range(900)]
    text = "\n".join(" ".join([*frequent, *rare[9 * line : 9 * line + 9]]) for line in range(100)) + "\n"
    whole = learn_tokeniser(kind, [text], 276, processes=1)
    assert whole.units == tuple(frequent)
    monkeypatch.setattr(counts, "MOST_COUNTED", 60)
    monkeypatch.setattr(counts, "UNITS_COUNTED", 0)
    pieces = [line + "\n" for line in text.splitlines()]
    assert learn_tokeniser(kind, pieces, 276, processes=1).units == whole.units


def test_counts_are_bounded_and_exact_below_the_bound() -> None:
    texts = [[f"{number}" for number in range(start, start + 50)] + ["often"] * 3 for start in range(0, 1000, 50)]
    assert counts.merge_counts(texts, 5000) == Counter(word for words in texts for word in words)
    bounded = counts.merge_counts(texts, 100)
    assert len(bounded) <= 100 and max(bounded, key=bounded.__getitem__) == "often"


def test_the_most_frequent_come_first_and_ties_in_code_point_order() -> None:
    assert counts.most_frequent({"b": 2, "a": 2, "c": 5, "d": 2, "e": 1}, 3) == ["c", "a", "b"]
    assert counts.most_frequent({"b": 2, "a": 2}, 9) == ["a", "b"]
    assert counts.most_frequent({"b": 2, "a": 2}, 0) == counts.most_frequent({}, 4) == []


def test_a_line_without_an_end_is_learned_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(formats, "LONGEST_LEARNED", 100)
    lines = list(split_lines(["a" * 60, "b" * 60, "c" * 60 + "\nd", "e"]))
    assert lines == ["a" * 60 + "b" * 60, "c" * 60, "de"]


def test_a_bad_request_is_refused_before_the_text_is_read() -> None:
    def unread() -> Iterator[str]:
        raise AssertionError("the text was read")
        yield ""

    for kind, size in (("wrod", 400), ("word", 200)):
        with pytest.raises(TokeniserError):
            learn_tokeniser(kind, unread(), size)


@pytest.fixture
def notes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], tuple[list[str], object]]:
    """The notes on a corpus, and the recorded size of the sample, with a sample of this number of characters."""

    def of_sample(characters: int) -> tuple[list[str], object]:
        monkeypatch.setattr(subwords, "SAMPLE_CHARACTERS", characters)
        path = tmp_path / "text.txt"
        path.write_text("the boat came home\n" * 20_000, "utf-8")
        facts = tokenise_corpus([str(path)], (), tmp_path, tokens="bpe", vocabulary_size=300).facts
        return facts.get("notes", []), facts.get("vocabulary_from")

    return of_sample


def test_a_sample_is_noted_and_recorded(notes: Callable[[int], tuple[list[str], object]]) -> None:
    found, recorded = notes(200_000)  # every second of 18,000 lines of 19 characters
    assert found == ["the vocabulary is learned from a sample of 0.2 of 0.3 million characters"]
    assert recorded == 9000 * 19


def test_a_vocabulary_of_the_whole_text_is_not_noted(notes: Callable[[int], tuple[list[str], object]]) -> None:
    assert notes(5_000_000) == ([], None)


def test_a_counted_tokeniser_says_when_workers_help() -> None:
    counted = [kind for kind in TOKENISERS.values() if issubclass(kind, CountedTokeniser)]
    assert {kind.kind for kind in counted} == {"char", "word"}
    for kind in TOKENISERS.values():
        assert kind.encoded_alone is None or kind.encoded_alone > 1_000_000


def test_pieces_pass_the_release_of_memory_unchanged() -> None:
    assert list(without_holes(str(number) for number in range(100))) == [str(number) for number in range(100)]
