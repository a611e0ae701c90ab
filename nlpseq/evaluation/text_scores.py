"""A language model's scores on a corpus, on the end of one, or on the validation text of its own training.

The text is tokenised piece by piece as in training, so the validation text has the scores that the training run
reported. The tokens are held in memory, one or two bytes each; the text is not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nlpseq.errors import CorpusError, ModelFileError
from nlpseq.evaluation import perplexity
from nlpseq.evaluation.reader import Reader
from nlpseq.evaluation.scores import Note, Score, TextSize, language_model_scores, say_nothing
from nlpseq.models.language_model import LanguageModelOptions
from nlpseq.models.model_file import Model
from nlpseq.text.compression import STANDARD_INPUT
from nlpseq.text.signature import TextHash
from nlpseq.text.splits import CorpusSpan, hold_out
from nlpseq.text.stream import token_type
from nlpseq.text.tokenisers import Tokeniser


@dataclass(frozen=True)
class EvaluationText:
    """A span of a corpus to evaluate on."""

    span: CorpusSpan
    origin: str = "given"  # or "held out" or "training text"
    sha256: str | None = None  # of the text in training, if it was validated on


def held_out_text(names: Sequence[str], kind: str) -> EvaluationText:
    """The end of a corpus that training with a `kind` of tokens holds out. Raises CorpusError if it is too short."""
    _, held_out, whole = hold_out(names, kind)
    if held_out is None:
        what = f"is too short to hold out a part of it: {whole.characters:,} characters"
        raise CorpusError(" ".join(names), what, "leave out --held-out")
    return EvaluationText(held_out, "held out")


def recorded_text(model: Model) -> EvaluationText:
    """The validation text of the model's training. Raises ModelFileError if the model file does not name it."""
    facts = model.header.get("data") or {}
    if "valid" not in facts:
        raise ModelFileError(str(model.path), "does not say what text it was validated on", "name a corpus")
    if STANDARD_INPUT in facts["valid"]:
        raise ModelFileError(str(model.path), "was validated on standard input, which is gone", "name a corpus")
    start = facts["train_until"] if facts["valid_is"] == "held out" else 0
    span = CorpusSpan(tuple(facts["valid"]), start)
    return EvaluationText(span, facts["valid_is"], facts["valid_sha256"])


def chosen_text(model: Model, corpora: Sequence[str], *, held_out: bool = False) -> EvaluationText:
    """The text of corpora or, with `held_out`, their end; without corpora the model's validation text."""
    if not corpora:
        return recorded_text(model)
    if held_out:
        return held_out_text(corpora, model.tokeniser.kind)
    return EvaluationText(CorpusSpan(tuple(corpora)))


def text_scores(
    model: Model, options: LanguageModelOptions, text: EvaluationText, note: Note = say_nothing
) -> list[Score]:
    """The scores of a text; a note is made if the text has changed since the model was trained.

    Raises CorpusError if the text cannot be read or is empty.
    """
    tokens, size, sha256 = _tokenised(model.tokeniser, text.span)
    facts = {"valid": text.span.names, "valid_is": text.origin, "valid_sha256": sha256}
    signature = perplexity.signature(model.tokeniser, perplexity.text_name(facts))
    nats = Reader(model.weights, options).text_loss(tokens)
    if text.sha256 not in (None, sha256):
        note(f"{' '.join(text.span.names)} has changed since the model was trained on it")
    return language_model_scores(nats, size, signature)


def _tokenised(tokeniser: Tokeniser, span: CorpusSpan) -> tuple[np.ndarray, TextSize, str]:
    """The tokens of a span of a corpus, its size and its SHA-256."""
    dtype = token_type(tokeniser.size)
    pieces, size, digest = [np.empty(0, dtype)], TextSize(), TextHash()
    for piece in span.pieces():
        pieces.append(tokeniser.encode(piece, exact=False).astype(dtype))
        size.add(piece)
        digest.add(piece)
    tokens = np.concatenate(pieces)
    size.tokens = len(tokens)
    if not size.tokens:
        raise CorpusError(" ".join(span.names), "is empty: there is no text to evaluate")
    return tokens, size, digest.sha256
