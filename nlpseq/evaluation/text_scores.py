"""A language model's scores on a corpus, on the end of one, or on the very text that its training was validated on.

The text is tokenised piece by piece as in training, so that the last of these gives the numbers that the run
reported. Its tokens stand in memory, one or two bytes each; the text itself does not.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nlpseq.errors import CorpusError, ModelFileError
from nlpseq.evaluation import perplexity
from nlpseq.evaluation.reader import Reader
from nlpseq.evaluation.scores import Note, Score, TextSize, language_model_scores, say_nothing
from nlpseq.models.language_model import LanguageModelOptions
from nlpseq.models.model_file import Model
from nlpseq.text.splits import CorpusSpan, hold_out
from nlpseq.text.stream import token_type
from nlpseq.text.tokenisers import Tokeniser, to_utf8


@dataclass(frozen=True)
class EvaluationText:
    """A part of a corpus, what part it is, and its SHA-256 where that is known."""

    part: CorpusSpan
    part_is: str = "given"
    sha256: str | None = None


def held_out_text(names: Sequence[str], kind: str) -> EvaluationText:
    """The end of a corpus, as training with a `kind` of tokens holds it out. Raises CorpusError if it is too short."""
    _, held_out, whole = hold_out(names, kind)
    if held_out is None:
        what = f"is too short to hold a part of it out: {whole.characters:,} characters"
        raise CorpusError(" ".join(names), what, "leave out --held-out")
    return EvaluationText(held_out, "held out")


def recorded_text(model: Model) -> EvaluationText:
    """The text that the model's training was validated on. Raises ModelFileError if the file does not say."""
    facts = model.header.get("data") or {}
    if "valid" not in facts:
        raise ModelFileError(str(model.path), "does not say what text it was validated on", "name a corpus")
    start = facts["train_until"] if facts["valid_is"] == "held out" else 0
    part = CorpusSpan(tuple(facts["valid"]), start)
    return EvaluationText(part, facts["valid_is"], facts["valid_sha256"])


def chosen_text(model: Model, corpora: Sequence[str], *, held_out: bool = False) -> EvaluationText:
    """The text of corpora or, with `held_out`, their end; without any what the model's training was validated on."""
    if not corpora:
        return recorded_text(model)
    if held_out:
        return held_out_text(corpora, model.tokeniser.kind)
    return EvaluationText(CorpusSpan(tuple(corpora)))


def text_scores(
    model: Model, options: LanguageModelOptions, text: EvaluationText, note: Note = say_nothing
) -> list[Score]:
    """The scores of a text; a note says if it has changed since the model was trained.

    Raises CorpusError if the text cannot be read or there is none.
    """
    tokens, size, sha256 = _tokenised(model.tokeniser, text.part)
    facts = {"valid": text.part.names, "valid_is": text.part_is, "valid_sha256": sha256}
    signature = perplexity.signature(model.tokeniser, perplexity.part_name(facts))
    nats = Reader(model.weights, options).text_loss(tokens)
    if text.sha256 not in (None, sha256):
        note(f"{' '.join(text.part.names)} has changed since the model was trained on it")
    return language_model_scores(nats, size, signature)


def _tokenised(tokeniser: Tokeniser, part: CorpusSpan) -> tuple[np.ndarray, TextSize, str]:
    """All tokens of a part of a corpus, its size and its SHA-256."""
    kind = token_type(tokeniser.size)
    pieces, size, digest = [np.empty(0, kind)], TextSize(), hashlib.sha256()
    for piece in part.pieces():
        pieces.append(tokeniser.encode(piece, exact=False).astype(kind))
        size.add(piece)
        digest.update(to_utf8(piece))
    tokens = np.concatenate(pieces)
    size.tokens = len(tokens)
    if not size.tokens:
        raise CorpusError(" ".join(part.names), "there is no text to evaluate")
    return tokens, size, digest.hexdigest()
