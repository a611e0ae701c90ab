"""Rows of texts to token ids, by one process or by several.

Rows are handed out ROWS at a time, however many processes there are, so their number does not change the result. Fewer
than ENOUGH characters are encoded in less time than it takes to start processes, about 0.4 seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nlpseq.models.classifier import text_ids
from nlpseq.models.translator import line_ids
from nlpseq.text.padding import Ids
from nlpseq.text.stream import token_type
from nlpseq.text.tokenisers import Tokeniser, load_tokeniser
from nlpseq.text.tokenisers.subwords import MANY_WORDS
from nlpseq.workers import available_cores, in_order

ROWS = 512
ENOUGH = 5_000_000  # characters


class Encoded(NamedTuple):
    """Texts as ids, one after the other, and the number of ids of each."""

    ids: NDArray[Any]
    lengths: Ids  # [N]

    def chosen(self, which: NDArray[np.bool_]) -> Encoded:
        """The texts for which `which` [N] is true."""
        return Encoded(self.ids[np.repeat(which, self.lengths)], self.lengths[which])


class TextSettings(NamedTuple):
    """How the texts of a classifier are encoded."""

    tokeniser: bytes
    lowercase: bool
    longest: int | None  # tokens; the middle of a longer text is left out


def encode_pairs(
    tokeniser: Tokeniser, pairs: Iterable[tuple[str, str]], count: int, processes: int | None = None
) -> Iterator[tuple[Encoded, Encoded]]:
    """The sources and the targets of `count` pairs as ids, each ended by a newline, some pairs at a time.

    `processes` is the largest number of processes; None means one for each core.
    """
    return _in_order("pairs_encoder", tokeniser.to_bytes(), pairs, count, processes)


def encode_texts(
    tokeniser: Tokeniser,
    texts: Iterable[str],
    count: int,
    processes: int | None = None,
    *,
    lowercase: bool,
    longest: int | None,
) -> Iterator[tuple[Encoded, int]]:
    """`count` texts as ids between two newlines, some texts at a time, and the number of those that were cut.

    The middle of a text of more than `longest` tokens is left out. `processes` is the largest number of processes; None
    means one for each core.
    """
    settings = TextSettings(tokeniser.to_bytes(), lowercase, longest)
    return _in_order("texts_encoder", settings, texts, count, processes)


def _in_order(name: str, settings: Any, rows: Iterable[Any], count: int, processes: int | None) -> Iterator[Any]:
    iterator = iter(rows)
    first = list(islice(iterator, ROWS))
    characters = len("".join(chain(*first))) / max(1, len(first)) * count
    if characters < ENOUGH:
        processes = 1
    items = chain([first] if first else [], iter(lambda: list(islice(iterator, ROWS)), []))
    return in_order(f"{__name__}:{name}", settings, items, available_cores() if processes is None else processes)


def pairs_encoder(tokeniser: bytes) -> Callable[[Sequence[tuple[str, str]]], tuple[Encoded, ...]]:
    """The function that encodes pairs, for a worker process."""
    loaded = load_tokeniser(tokeniser)
    loaded.remember(MANY_WORDS)

    def encode(pairs: Sequence[tuple[str, str]]) -> tuple[Encoded, ...]:
        sides = zip(*pairs, strict=True)
        return tuple(_joined([line_ids(loaded, text) for text in side], loaded.size) for side in sides)

    return encode


def texts_encoder(settings: TextSettings) -> Callable[[Sequence[str]], tuple[Encoded, int]]:
    """The function that encodes texts, for a worker process."""
    loaded = load_tokeniser(settings.tokeniser)
    loaded.remember(MANY_WORDS)
    longest = settings.longest

    def encode(texts: Sequence[str]) -> tuple[Encoded, int]:
        whole = [text_ids(loaded, text, lowercase=settings.lowercase) for text in texts]
        if longest is None:
            return _joined(whole, loaded.size), 0
        cut = [_without_middle(ids, longest) if len(ids) > longest else ids for ids in whole]
        return _joined(cut, loaded.size), sum(len(ids) > longest for ids in whole)

    return encode


def _without_middle(ids: NDArray[Any], longest: int) -> NDArray[Any]:
    head, tail = longest // 2, longest - longest // 2
    return np.concatenate([ids[:head], ids[-tail:]])


def _joined(texts: Sequence[NDArray[Any]], vocabulary_size: int) -> Encoded:
    ids = np.concatenate(texts).astype(token_type(vocabulary_size))
    return Encoded(ids, np.array([len(text) for text in texts], np.int64))
