"""Vocabularies of corpora of any size, from their text in pieces, in constant memory.

Characters and words are counted, by worker processes if the corpus is large; subwords are learned from a sample of the
lines, evenly over the whole corpus.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping

from nlpseq.text.formats import LONGEST_LEARNED, split_lines
from nlpseq.text.tokenisers.counts import CountedTokeniser
from nlpseq.text.tokenisers.sharing import share_pieces
from nlpseq.text.tokenisers.table import TOKENISERS, check_request
from nlpseq.text.tokenisers.tokeniser import Tokeniser


def learn_tokeniser(kind: str, pieces: Iterable[str], vocabulary_size: int, processes: int | None = None) -> Tokeniser:
    """The tokeniser that `train_tokeniser` learns from the lines of the pieces; see `share_pieces`."""
    check_request(kind, vocabulary_size)
    tokeniser = TOKENISERS[kind]
    if not issubclass(tokeniser, CountedTokeniser):
        return tokeniser.train(split_lines(pieces), vocabulary_size)
    words = cut_at_spaces(pieces)
    function = f"{__name__}:counter"
    found = share_pieces(tokeniser.candidates, function, kind, words, processes, tokeniser.counted_alone)
    return tokeniser.of_candidates(found, vocabulary_size)


def counter(kind: str) -> Callable[[str], Mapping[str, int]]:
    """A function that counts the candidates in a piece, in a worker process."""
    tokeniser = TOKENISERS[kind]
    assert issubclass(tokeniser, CountedTokeniser)
    return lambda piece: Counter(tokeniser.candidates(piece))


def cut_at_spaces(pieces: Iterable[str]) -> Iterator[str]:
    """The same text in pieces that end before a space or a newline, or within a word of LONGEST_LEARNED characters."""
    unfinished: list[str] = []
    waiting = 0
    for piece in pieces:
        end = max(piece.rfind(" "), piece.rfind("\n"))
        if end < 0 and waiting < LONGEST_LEARNED:
            unfinished.append(piece)
            waiting += len(piece)
            continue
        yield "".join([*unfinished, piece[:end]])
        unfinished, waiting = [piece[end:]], len(piece) - end
    yield "".join(unfinished)
