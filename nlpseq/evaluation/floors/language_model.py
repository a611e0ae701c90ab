"""The baseline of a language model: Kneser-Ney n-grams of the text that the model was trained on, in its tokens.

The training text is read and tokenised again. At most MOST_TOKENS of it are counted, which takes less than 8 GB.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nlpseq import __version__
from nlpseq.errors import CorpusError, OptionError
from nlpseq.evaluation import perplexity, training_text
from nlpseq.evaluation.floors.baseline import Baseline
from nlpseq.evaluation.floors.kneser_ney import KneserNey
from nlpseq.evaluation.scores import Note, language_model_scores, say_nothing
from nlpseq.evaluation.text_scores import TokenisedText
from nlpseq.models.model_file import Model
from nlpseq.text.signature import TextHash, short_names
from nlpseq.text.splits import CorpusSpan, parted
from nlpseq.text.stream import token_type
from nlpseq.text.tokenisers.encoding import encode_pieces

NAME = "kneser-ney"
ORDER = 5
LONGEST_ORDER = 10
MOST_TOKENS = 1 << 26  # of the training text


class TrainingTokens(NamedTuple):
    """The tokens of a model's training text, or of its start, and the name of the text in a signature."""

    ids: NDArray[Any]  # [T], of the smallest unsigned type
    name: str


def kneser_ney_baseline(
    model: Model, text: TokenisedText, order: int = ORDER, note: Note = say_nothing, most: int = MOST_TOKENS
) -> Baseline:
    """A Kneser-Ney model of the model's training text, and its scores on a text.

    `note` is told if the training text has more than `most` tokens. Raises OptionError for an order out of range, and
    ModelFileError if the training text is unknown, cannot be read or has changed.
    """
    if not isinstance(order, int) or not 1 <= order <= LONGEST_ORDER:
        raise OptionError("order", f"must be a whole number from 1 to {LONGEST_ORDER}, was {order!r}", "--order 5")
    tokeniser = model.tokeniser
    train = training_tokens(model, note, most)
    counted = KneserNey(train.ids, tokeniser.size, order)
    fallback = "+".join(map(str, counted.fallback_orders))
    fields = [
        NAME,
        f"order:{order}",
        "discounts:modified" + (f",fallback:{fallback}" if fallback else ""),
        perplexity.tokeniser_name(tokeniser),
        f"trained-on:{train.name}",
        f"version:{__version__}",
    ]
    scores = language_model_scores(counted.text_loss(text.tokens), text.size, text.signature)
    return Baseline(NAME, "|".join(fields), scores)


def training_tokens(model: Model, note: Note = say_nothing, most: int = MOST_TOKENS) -> TrainingTokens:
    """Read the training text of a model again: its first `most` tokens. Raises ModelFileError as above."""
    facts = training_text.training_facts(model)
    names, stop = facts["corpus"], facts.get("train_until")
    whole, part = TextHash(), TextHash()
    try:
        pieces = _hashed(CorpusSpan(tuple(names)).pieces(), whole)
        first, rest = (pieces, iter(())) if stop is None else parted(pieces, stop)
        ids, total = _encoded(model, _hashed(first, part), most)
        for _ in rest:
            pass
    except CorpusError as error:
        raise training_text.unreadable(model, error, training_text.WITHOUT_BASELINE) from None
    if whole.sha256 != facts["sha256"]:
        raise training_text.has_changed(model, "texts have")
    name = f"{short_names(names)}{'' if stop is None else f':first-{stop}'}#{part.sha256[:8]}"
    if total > len(ids):
        note(f"the baseline counts the first {len(ids):,} of {total:,} tokens of the training text")
        name += f":tokens-{len(ids)}"
    return TrainingTokens(ids, name)


def _hashed(pieces: Iterable[str], digest: TextHash) -> Iterator[str]:
    for piece in pieces:
        digest.add(piece)
        yield piece


def _encoded(model: Model, pieces: Iterable[str], most: int) -> tuple[NDArray[Any], int]:
    """The first `most` tokens of a text, and the number of all."""
    kept, total = [np.empty(0, token_type(model.tokeniser.size))], 0
    for piece in encode_pieces(model.tokeniser, pieces):
        kept.append(piece.ids[: max(0, most - total)])
        total += len(piece.ids)
    return np.concatenate(kept), total
