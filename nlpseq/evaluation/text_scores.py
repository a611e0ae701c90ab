"""A language model's scores on a corpus, on the end of one, or on the validation text of its own training.

The text is tokenised piece by piece as in training, so the validation text has the scores that the training run
reported. The tokens are held in memory, one or two bytes each; the text is not. For several models the text is read
once, and tokenised by each of their tokenisers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from nlpseq.errors import CorpusError
from nlpseq.evaluation import perplexity, training_text
from nlpseq.evaluation.adaptation import Adaptive
from nlpseq.evaluation.comparison.blocks import LineSizes, Numbers, cut
from nlpseq.evaluation.comparison.measures import NATS
from nlpseq.evaluation.comparison.records import Units
from nlpseq.evaluation.comparison.resampling import ResamplingOptions
from nlpseq.evaluation.comparison.score_intervals import with_intervals
from nlpseq.evaluation.comparison.text_statistics import block_statistics, text_measured
from nlpseq.evaluation.reader import Reader
from nlpseq.evaluation.scores import Note, Score, TextSize, language_model_scores, say_nothing
from nlpseq.models.language_model import LanguageModelOptions
from nlpseq.models.model_file import Model
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
    whole_sha256: str | None = None  # of the whole corpus, if the text is its end


class TokenisedText(NamedTuple):
    """A text to evaluate on, in tokens, and the common part of its scores' signatures."""

    tokens: np.ndarray  # [T]
    size: TextSize
    signature: str
    lines: Numbers | None = None  # [L, 3], words, characters and bytes of each line, if they were asked for


def held_out_text(names: Sequence[str], kind: str) -> EvaluationText:
    """The end of a corpus that training with a `kind` of tokens holds out. Raises CorpusError if it is too short."""
    _, held_out, whole = hold_out(names, kind)
    if held_out is None:
        what = f"is too short to hold out a part of it: {whole.characters:,} characters"
        raise CorpusError(" ".join(names), what, "leave out --held-out")
    return EvaluationText(held_out, "held out", whole_sha256=whole.sha256)


def recorded_text(model: Model) -> EvaluationText:
    """The validation text of the model's training. Raises ModelFileError if the model file does not name it."""
    facts = training_text.validation_facts(model)
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
    """The scores of a text; as `read_text`."""
    return tokenised_scores(model, options, read_text(model, text, note))


def tokenised_scores(
    model: Model,
    options: LanguageModelOptions,
    text: TokenisedText,
    adaptive: Adaptive | None = None,
    resampling: ResamplingOptions | None = None,
) -> list[Score]:
    """The scores of a text that was read; `adaptive` is how the model adapts to it, if it does.

    With `resampling` they have intervals; the text must have been read by line, and CorpusError is raised if it is too
    short.
    """
    if adaptive is not None:
        nats = adaptive.text_loss(model, options, text.tokens)
        return language_model_scores(nats, text.size, f"{text.signature}|{adaptive.adaptation.signature}")
    if resampling is None or text.lines is None:
        nats = Reader(model.weights, options).text_loss(text.tokens)
        return language_model_scores(nats, text.size, text.signature)
    blocks = cut(text.lines, "the text", resampling.block_bytes)
    statistics = block_statistics(model, options, text.tokens, blocks)
    scores = language_model_scores(float(statistics[:, NATS].sum()), text.size, text.signature)
    return with_intervals(scores, text_measured(statistics, model), Units(len(blocks), blocks.signature), resampling)


def read_text(model: Model, text: EvaluationText, note: Note = say_nothing, *, by_line: bool = False) -> TokenisedText:
    """Read a text; `note` is told if the model was trained on it, or if it has changed since training.

    The sizes of its lines are found if `by_line`. Raises CorpusError if the text cannot be read or is empty, and
    ModelFileError if it is that of training and gone.
    """
    return read_texts([model], text, note, by_line=by_line)[0]


def read_texts(
    models: Sequence[Model], text: EvaluationText, note: Note = say_nothing, *, by_line: bool = False
) -> list[TokenisedText]:
    """Read a text once for several models: `read_text` for each of them. A text of training is that of the first."""
    lines = LineSizes() if by_line else None
    try:
        tokens, size, sha256 = _tokenised([model.tokeniser for model in models], text.span, lines)
    except CorpusError as error:
        if text.sha256 is None:
            raise
        raise training_text.unreadable(models[0], error) from None
    if text.sha256 not in (None, sha256):
        note(training_text.changed(training_text.facts_of(models[0])))
    named = {"valid": text.span.names, "valid_is": text.origin, "valid_sha256": sha256}
    sizes, read = None if lines is None else lines.finish(), []
    for model, ids in zip(models, tokens, strict=True):
        if trained_on := _trained_on(training_text.facts_of(model), text, sha256):
            note(trained_on if len(models) == 1 else f"{model.name}: {trained_on}")
        signature = perplexity.signature(model.tokeniser, perplexity.text_name(named))
        read.append(TokenisedText(ids, replace(size, tokens=len(ids)), signature, sizes))
    return read


def _trained_on(facts: Mapping[str, Any], text: EvaluationText, sha256: str) -> str:
    """A sentence that says that the model was trained on a text; empty if it was not, as far as hashes tell."""
    if facts.get("sha256") != (text.whole_sha256 or sha256):
        return ""
    if facts.get("train_until") is None:
        return "the model was trained on this text: its scores are too good"
    if text.whole_sha256 is not None:
        return ""
    return "the model was trained on this text but its end: the scores are too good; --held-out scores the end"


def _tokenised(
    tokenisers: Sequence[Tokeniser], span: CorpusSpan, lines: LineSizes | None
) -> tuple[list[np.ndarray], TextSize, str]:
    """The tokens of a span of a corpus by each tokeniser, its size without them, and its SHA-256.

    Equal tokenisers tokenise once. `lines` takes the sizes of its lines.
    """
    pieces: dict[str, list[np.ndarray]] = {}
    different = {tokeniser.fingerprint: tokeniser for tokeniser in tokenisers}
    for name, tokeniser in different.items():
        pieces[name] = [np.empty(0, token_type(tokeniser.size))]
    size, digest = TextSize(), TextHash()
    for piece in span.pieces():
        for name, tokeniser in different.items():
            pieces[name].append(tokeniser.encode(piece, exact=False).astype(pieces[name][0].dtype))
        size.add(piece)
        digest.add(piece)
        if lines is not None:
            lines.add(piece)
    tokens = {name: np.concatenate(found) for name, found in pieces.items()}
    if not all(map(len, tokens.values())):
        raise CorpusError(" ".join(span.names), "is empty: there is no text to evaluate")
    return [tokens[tokeniser.fingerprint] for tokeniser in tokenisers], size, digest.sha256
