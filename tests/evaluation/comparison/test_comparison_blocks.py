"""Blocks of a text: the same text for every tokeniser, and nothing lost."""

from __future__ import annotations

import numpy as np
import pytest

from nlpseq.errors import CorpusError
from nlpseq.evaluation.comparison.blocks import LineSizes, block_starts, block_sums, cut
from nlpseq.text.tokenisers import train_tokeniser

TEXT = "".join(f"line {number} of größe {'word ' * (number % 9)}end\n" for number in range(400)) + "no end"
LONG = "ab cd " * 4000


def _sizes(text: str, step: int = 37) -> np.ndarray:
    sizes = LineSizes()
    for start in range(0, len(text), step):
        sizes.add(text[start : start + step])
    return sizes.finish()


def test_sizes_of_lines_are_those_of_the_text() -> None:
    expected = [(len(line.split()) + 1, len(line) + 1, len(line.encode()) + 1) for line in TEXT.split("\n")]
    expected[-1] = (2, 6, 6)
    assert _sizes(TEXT).tolist() == [list(row) for row in expected]
    assert _sizes("a\n").tolist() == [[2, 2, 2]]


@pytest.mark.parametrize("text", [TEXT, LONG, TEXT + LONG + "\n" + TEXT])
@pytest.mark.parametrize("kind", ["byte", "char", "word", "bpe"])
def test_blocks_hold_the_whole_text_once(text: str, kind: str) -> None:
    tokeniser = train_tokeniser(kind, text.split("\n"), 300)
    tokens = tokeniser.encode(text, exact=False)
    blocks = cut(_sizes(text), "text")
    starts = block_starts(blocks, tokens, tokeniser)
    assert starts[0] == 0 and (np.diff(starts) >= 0).all() and len(starts) == len(blocks) >= 20
    assert blocks.sizes[:, 2].sum() == pytest.approx(len(text.encode()))
    losses = np.random.default_rng(1).random(len(tokens))
    sums = block_sums(starts, len(tokens), np.array_split(losses, 7))
    assert sums.sum(0) == pytest.approx([losses.sum(), len(tokens)])
    for block in range(0, len(blocks), 5):
        last = starts[block + 1] if block + 1 < len(blocks) else len(tokens)
        assert sums[block, 0] == pytest.approx(losses[starts[block] : last].sum())
        spelled = len(tokeniser.decode_bytes(tokens[starts[block] : last]))
        assert spelled == pytest.approx(blocks.sizes[block, 2], abs=16)  # cuts within a line are at whole tokens


def test_blocks_end_where_lines_end() -> None:
    tokeniser = train_tokeniser("char", TEXT.split("\n"), 300)
    tokens = tokeniser.encode(TEXT, exact=False)
    starts = block_starts(cut(_sizes(TEXT), "text"), tokens, tokeniser)
    assert all(tokens[start - 1] == ord("\n") for start in starts[1:])


def test_length_of_blocks_can_be_chosen() -> None:
    sizes = _sizes(TEXT)
    assert len(cut(sizes, "text", 100)) > len(cut(sizes, "text")) and cut(sizes, "text", 100).length == 100
    assert "100-bytes" in cut(sizes, "text", 100).signature


def test_short_text_is_refused_with_a_length_that_works() -> None:
    sizes = _sizes("a line of text\n" * 200)
    with pytest.raises(CorpusError, match="an interval needs 20 blocks") as caught:
        cut(sizes, "text")
    length = int(caught.value.hint.removeprefix("--block-bytes "))
    assert len(cut(sizes, "text", length)) >= 20
    with pytest.raises(CorpusError) as caught:
        cut(_sizes("a line\n"), "text")
    assert caught.value.hint == "a longer text"
