"""Reading a corpus: whoever watches is told how far it is; a fixed tokeniser and fixed labels are kept."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from nlpseq.errors import CorpusError
from nlpseq.text import compression
from nlpseq.text.formats import open_corpus
from nlpseq.text.progress import ROWS, Meter
from nlpseq.text.tokenisers import TOKENISERS, Tokeniser, train_tokeniser
from nlpseq.training.data.corpus import tokenise_corpus
from nlpseq.training.data.labels import tokenise_labelled
from nlpseq.training.data.pairs import tokenise_pairs

WORDS = ("red", "green", "blue", "warm", "cold")


class Watcher:
    """Remembers what it was told: for each work, in order, what was done and the total."""

    def __init__(self) -> None:
        self.told: dict[str, list[tuple[int, int | None]]] = {}

    def __call__(self, work: str, done: int, total: int | None) -> None:
        self.told.setdefault(work, []).append((done, total))


def _new(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    return folder


def _text_file(folder: Path, lines: int = 3000, ending: str = ".") -> Path:
    path = folder / "text.txt"
    path.write_text("".join(f"line {number} is {WORDS[number % 5]}{ending}\n" for number in range(lines)), "utf-8")
    return path


def _labelled_file(folder: Path, labels: str = "abc", rows: int = 1200) -> Path:
    path = folder / f"{labels}.tsv"
    texts = (f"{labels[number % len(labels)]}\t{WORDS[number % 5]} {number}\n" for number in range(rows))
    path.write_text("label\ttext\n" + "".join(texts), "utf-8")
    return path


def _pairs_file(folder: Path, rows: int = 1200) -> Path:
    path = folder / "pairs.tsv"
    path.write_text("".join(f"{WORDS[number % 5]} {number}\t{number} is so\n" for number in range(rows)), "utf-8")
    return path


def _corpus(folder: Path, watch: Watcher) -> int:
    corpus = tokenise_corpus([str(_text_file(folder))], (), folder, tokens="bpe", vocabulary_size=300, watch=watch)
    return int(corpus.facts["characters"])


def _labelled(folder: Path, watch: Watcher) -> int:
    corpus = tokenise_labelled([str(_labelled_file(folder))], (), folder, vocabulary_size=300, watch=watch)
    return len(corpus.train) + len(corpus.valid)


def _pairs(folder: Path, watch: Watcher) -> int:
    name = str(_pairs_file(folder))
    corpus = tokenise_pairs([name], (), folder, two_files=False, tokens="bpe", vocabulary_size=300, watch=watch)
    return len(corpus.train) + len(corpus.valid)


@pytest.mark.parametrize("tokenise", [_corpus, _labelled, _pairs])
def test_each_work_starts_at_nothing_grows_and_ends_at_its_total(
    tokenise: Callable[[Path, Watcher], int], tmp_path: Path
) -> None:
    watch = Watcher()
    size = tokenise(tmp_path, watch)
    works = list(watch.told)
    assert works[:2] == ["reading", "learning a vocabulary"]
    assert works[2:] and all(work.startswith("tokenising") for work in works[2:])
    assert watch.told["reading"][-1][0] == size
    for work, told in watch.told.items():
        assert told[0][0] == 0
        for (before, total), (done, later) in pairwise(told):
            if done < before:  # the next part of the corpus
                assert total in (None, before)
            assert done >= before or done == 0, work
            assert later is None or done <= later
        assert told[-1][1] in (None, told[-1][0]), work


def test_rows_are_told_of_often_enough_for_a_bar(tmp_path: Path) -> None:
    watch = Watcher()
    _labelled(tmp_path, watch)
    assert [done for done, _ in watch.told["reading"]] == [0, ROWS, 2 * ROWS, 1200]


@pytest.mark.parametrize("compressed", [False, True])
def test_reading_is_told_in_bytes_of_the_files(compressed: bool, tmp_path: Path) -> None:
    path = _text_file(tmp_path, 60_000, ending="\u00e9")
    if compressed:
        packed = tmp_path / "text.txt.gz"
        packed.write_bytes(gzip.compress(path.read_bytes()))
        path = packed
    watch = Watcher()
    tokenise_corpus([str(path)], (), _new(tmp_path / "run"), tokens="byte", watch=watch)
    size = path.stat().st_size
    told = watch.told["reading"]
    assert {total for _, total in told} == {size}
    assert told[0][0] == 0 and told[-1][0] == size
    assert 0 < told[1][0] < size, "the first of two pieces"


def test_a_folder_is_told_in_bytes_with_what_is_left_out(tmp_path: Path) -> None:
    folder = tmp_path / "texts"
    (folder / "deep").mkdir(parents=True)
    _text_file(folder)
    (folder / ".hidden").write_bytes(b"x" * 1000)
    (folder / "picture.png").write_bytes(b"\x89PNG\0\0" * 500)
    (folder / "deep" / "more.txt.gz").write_bytes(gzip.compress(b"more text\n" * 900))
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    watch = Watcher()
    tokenise_corpus([str(folder)], (), _new(tmp_path / "run"), tokens="byte", watch=watch)
    assert watch.told["reading"][-1] == (size, size)
    meter = Meter()
    assert "".join(open_corpus(str(folder), meter)).count("more text") == 900
    assert meter.done == size


def test_standard_input_and_bundled_corpora_are_told_in_characters(tmp_path: Path) -> None:
    watch = Watcher()
    corpus = tokenise_corpus(["reviews"], (), _new(tmp_path / "run"), tokens="byte", watch=watch)
    assert watch.told["reading"][-1] == (corpus.facts["characters"], None)


@pytest.mark.parametrize("kind", ["char", "word", "bpe"])
def test_workers_do_not_hide_how_far_the_work_is(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TOKENISERS[kind], "encoded_alone", 1)
    monkeypatch.setattr(compression, "PIECE_BYTES", 5000)
    name, watch = str(_text_file(tmp_path)), Watcher()
    corpus = tokenise_corpus(
        [name], (), _new(tmp_path / "run"), tokens=kind, vocabulary_size=300, processes=2, watch=watch
    )
    told = watch.told["tokenising"]
    assert told[0][0] == 0 and len(told) > 5
    assert told[-1] == (corpus.facts["train_until"], corpus.facts["train_until"])
    assert all(before < after for (before, _), (after, _) in pairwise(told))


def _own_tokeniser() -> Tokeniser:
    return train_tokeniser("word", ["red green line", "blue label"] * 2, 300)


def test_a_fixed_tokeniser_is_kept_and_no_vocabulary_is_learned(tmp_path: Path) -> None:
    tokeniser, watch = _own_tokeniser(), Watcher()
    text = tokenise_corpus([str(_text_file(tmp_path))], (), _new(tmp_path / "1"), tokeniser=tokeniser, watch=watch)
    labelled = tokenise_labelled(
        [str(_labelled_file(tmp_path))], (), _new(tmp_path / "2"), tokeniser=tokeniser, watch=watch
    )
    pairs = tokenise_pairs(
        [str(_pairs_file(tmp_path))], (), _new(tmp_path / "3"), two_files=False, tokeniser=tokeniser, watch=watch
    )
    for corpus in (text, labelled, pairs):
        assert corpus.tokeniser.to_bytes() == tokeniser.to_bytes()
    assert "learning a vocabulary" not in watch.told


def test_fixed_labels_keep_their_order_and_may_be_absent(tmp_path: Path) -> None:
    name = str(_labelled_file(tmp_path, "abc"))
    free = tokenise_labelled([name], (), _new(tmp_path / "1"), vocabulary_size=300)
    fixed = tokenise_labelled([name], (), _new(tmp_path / "2"), vocabulary_size=300, labels=["c", "absent", "a", "b"])
    assert free.labels == ["a", "b", "c"] and fixed.labels == ["c", "absent", "a", "b"]
    assert fixed.facts["labels"] == fixed.labels and fixed.facts["label_counts"][1] == 0
    renamed = [fixed.labels.index(label) for label in free.labels]
    for one, other in ((free.train, fixed.train), (free.valid, fixed.valid)):
        assert np.array_equal(one.texts.ids, other.texts.ids)
        assert [renamed[index] for index in one.labels] == other.labels.tolist()


@pytest.mark.parametrize("part", ["train", "valid"])
def test_a_text_whose_label_is_not_one_of_the_fixed_ones_is_refused(part: str, tmp_path: Path) -> None:
    known, other = (str(_labelled_file(tmp_path, labels)) for labels in ("ab", "abx"))
    names, valid = ([other], ()) if part == "train" else ([known], (other,))
    with pytest.raises(CorpusError, match=r"no such labels: 'x' .400 texts.; known are 'b', 'a'") as caught:
        tokenise_labelled(names, valid, _new(tmp_path / "run"), vocabulary_size=300, labels=["b", "a"])
    assert caught.value.where == f"{other}:4"
    if part == "train":
        assert "train a new model" in caught.value.hint


def test_validation_texts_may_have_any_of_the_fixed_labels(tmp_path: Path) -> None:
    names, valid = str(_labelled_file(tmp_path, "ab")), str(_labelled_file(tmp_path, "cab"))
    corpus = tokenise_labelled([names], [valid], _new(tmp_path / "run"), vocabulary_size=300, labels=["c", "b", "a"])
    assert set(corpus.valid.labels.tolist()) == {0, 1, 2} and set(corpus.train.labels.tolist()) == {1, 2}
    with pytest.raises(CorpusError, match="no such labels: 'c'"):
        tokenise_labelled([names], [valid], _new(tmp_path / "other"), vocabulary_size=300)
