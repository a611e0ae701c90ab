"""What a translator reads in training: the corpus and synthetic pairs, how often, and how they are cut into pieces."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nlpseq.text.padding import Ids
from nlpseq.text.tokenisers import NEWLINE
from nlpseq.training.data.mixture import TAG, JoinedLengths, Mixture, repeats
from nlpseq.training.data.pairs import Batch, ParallelCorpus, tokenise_pairs
from nlpseq.training.data.sentences import Lengths
from nlpseq.training.data.shuffled import Shuffled

PAIRS, SYNTHETIC = 100, 130


def _corpus(folder: Path, *, synthetic: bool = True, tokens: str = "bpe") -> ParallelCorpus:
    (folder / "pairs.tsv").write_text("".join(f"the old {n}. text\tDer alte {n}. Text, ü\n" for n in range(PAIRS)))
    (folder / "made.tsv").write_text("".join(f"made {n} texts\tGemachte {n} Texte\n" for n in range(SYNTHETIC)))
    names = [str(folder / "made.tsv")] if synthetic else []
    corpus = [str(folder / "pairs.tsv")]
    return tokenise_pairs(corpus, corpus, folder, two_files=False, tokens=tokens, vocabulary_size=300, synthetic=names)


def _mixture(corpus: ParallelCorpus, *, share: float = 0.5, tagged: bool = True, dropout: float = 0.0) -> Mixture:
    return Mixture(corpus, share, tagged=tagged, dropout=dropout, seed=3)


def _columns(ids: Ids, lengths: Ids) -> list[list[int]]:
    assert (ids[lengths - 1, np.arange(len(lengths))] == NEWLINE).all()
    return [ids[: length - 1, column].tolist() for column, length in enumerate(lengths)]


def _read(corpus: ParallelCorpus, batch: Batch) -> list[tuple[bytes, str]]:
    """The pairs of a batch: sources as bytes, because a tag is no text, and targets."""
    sources = _columns(batch.sources, batch.source_lengths)
    targets = _columns(batch.targets, batch.target_lengths)
    assert (batch.inputs[0] == NEWLINE).all() and (batch.inputs[1:] == batch.targets[:-1]).all()
    return [
        (corpus.tokeniser.decode_bytes(source), corpus.tokeniser.decode(target))
        for source, target in zip(sources, targets, strict=True)
    ]


def _in_a_pass(corpus: ParallelCorpus, mixture: Mixture) -> Counter[tuple[bytes, str]]:
    batches = Shuffled(mixture.target_lengths, 16, 1, ties=mixture.source_lengths)
    found: Counter[tuple[bytes, str]] = Counter()
    for _ in range(len(batches)):
        chosen = batches.next()
        found.update(_read(corpus, mixture.batch(chosen, (batches.passes, batches.position))))
    assert batches.passes == 0
    return found


@pytest.mark.parametrize("dropout", [0.0, 0.3])
@pytest.mark.parametrize(("tagged", "tag"), [(True, bytes([TAG])), (False, b"")])
@pytest.mark.parametrize(("share", "times"), [(0.5, 2), (0.25, 4), (0.9, 1)])
def test_a_pass_has_each_synthetic_pair_once_and_the_others_as_often_as_asked(
    share: float, times: int, tagged: bool, tag: bytes, dropout: float, tmp_path: Path
) -> None:
    corpus = _corpus(tmp_path)
    mixture = _mixture(corpus, share=share, tagged=tagged, dropout=dropout)
    expected = {(f"the old {n}. text".encode(), f"Der alte {n}. Text, ü"): times for n in range(PAIRS)}
    expected |= {(tag + f"made {n} texts".encode(), f"Gemachte {n} Texte"): 1 for n in range(SYNTHETIC)}
    assert _in_a_pass(corpus, mixture) == expected
    assert len(mixture) == sum(expected.values())


def test_no_text_contains_the_tag() -> None:
    assert all(TAG not in chr(code).encode() for code in [*range(0xD800), *range(0xE000, 0x110000)])


@given(pairs=st.integers(1, 10**6), synthetic=st.integers(1, 10**6), share=st.floats(0.01, 0.99))
def test_the_corpus_is_repeated_no_more_than_the_share_needs(pairs: int, synthetic: int, share: float) -> None:
    times = repeats(pairs, synthetic, share)
    assert synthetic / (synthetic + times * pairs) <= share + 1e-6
    assert times == 1 or synthetic / (synthetic + (times - 1) * pairs) >= share - 1e-6


@given(
    counts=st.lists(st.lists(st.integers(1, 9), max_size=5), min_size=1, max_size=4),
    cut=st.tuples(st.integers(0, 22), st.integers(0, 22)),
)
def test_joined_lengths_are_sliced_as_one_list(counts: list[list[int]], cut: tuple[int, int]) -> None:
    joined = JoinedLengths([Lengths(np.cumsum([0, *part])) for part in counts])
    whole = [count for part in counts for count in part]
    assert len(joined) == len(whole)
    assert joined[slice(*cut)].tolist() == whole[slice(*cut)]


@pytest.mark.parametrize("tokens", ["bpe", "unigram", "char"])
def test_without_synthetic_pairs_and_dropout_batches_are_those_of_the_corpus(tokens: str, tmp_path: Path) -> None:
    corpus = _corpus(tmp_path, synthetic=False, tokens=tokens)
    chosen = np.random.default_rng(1).permutation(PAIRS)[:17]
    for found, expected in zip(_mixture(corpus).batch(chosen, (0, 1)), corpus.train.batch(chosen), strict=True):
        assert found.tolist() == expected.tolist()


@pytest.mark.parametrize("tokens", ["bpe", "unigram"])
def test_each_batch_cuts_the_same_texts_into_other_pieces(tokens: str, tmp_path: Path) -> None:
    corpus = _corpus(tmp_path, tokens=tokens)
    chosen = np.arange(40)
    first, second, other = (
        mixture.batch(chosen, number)
        for mixture, number in ((_mixture(corpus, dropout=0.5), number) for number in ((0, 1), (0, 2), (1, 1)))
    )
    texts = _read(corpus, corpus.train.batch(chosen))
    assert _read(corpus, first) == _read(corpus, second) == _read(corpus, other) == texts
    cut = [_columns(batch.sources, batch.source_lengths) for batch in (first, second, other)]
    assert cut[0] != cut[1] != cut[2] != cut[0]


def test_a_batch_does_not_depend_on_earlier_ones(tmp_path: Path) -> None:
    corpus = _corpus(tmp_path)
    mixture = _mixture(corpus, dropout=0.5)
    chosen = np.array([3, 300, 7, 250])
    mixture.batch(np.arange(200), (0, 1))
    fresh = _mixture(corpus, dropout=0.5).batch(chosen, (2, 5))
    for found, expected in zip(mixture.batch(chosen, (2, 5)), fresh, strict=True):
        assert found.tolist() == expected.tolist()


def test_the_vocabulary_and_the_first_bias_know_the_synthetic_texts(tmp_path: Path) -> None:
    corpus = _corpus(tmp_path, tokens="char")
    assert corpus.synthetic is not None
    counts = Counter(text for n in range(PAIRS) for text in f"Der alte {n}. Text, ü")
    counts += Counter(text for n in range(SYNTHETIC) for text in f"Gemachte {n} Texte")
    frequencies = corpus.frequencies
    for character, count in counts.items():
        (token,) = corpus.tokeniser.encode(character).tolist()
        assert frequencies[token] == count, character
    assert len(corpus.valid) == PAIRS
