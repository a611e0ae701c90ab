"""Reading a corpus: whoever watches is told how far it is; a fixed tokeniser and fixed labels are kept."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from nlpseq.errors import CorpusError
from nlpseq.text.progress import ROWS
from nlpseq.text.tokenisers import Tokeniser, train_tokeniser
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


def test_the_bytes_of_a_plain_file_are_known_and_not_those_in_a_compressed_one(tmp_path: Path) -> None:
    import gzip

    plain = _text_file(tmp_path, ending="\u00e9")
    packed = tmp_path / "text.txt.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    size = plain.stat().st_size
    for name, total in ((plain, size), (packed, None)):
        watch = Watcher()
        corpus = tokenise_corpus([str(name)], (), _new(tmp_path / "run"), tokens="byte", watch=watch)
        done = size if total else corpus.facts["characters"]
        assert watch.told["reading"][-1] == (done, total)
        assert done != size or total, "characters and bytes differ"


def _own_tokeniser() -> Tokeniser:
    return train_tokeniser("word", ["red green line", "blue label"], 300)


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
