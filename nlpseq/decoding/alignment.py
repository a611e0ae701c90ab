"""The attention of a target's tokens to its source, with the tokens' texts."""

from __future__ import annotations

from nlpseq.decoding.beam import Rows, Values
from nlpseq.decoding.ensemble import Ensemble
from nlpseq.errors import OptionError
from nlpseq.models import translator
from nlpseq.models.attention import Alignment
from nlpseq.models.translator import LONGEST
from nlpseq.text.tokenisers import NEWLINE, Tokeniser


def aligned(ensemble: Ensemble, source: str, target: str) -> Alignment:
    """The attention of a target's tokens to its source. Raises OptionError for a text that is too long."""
    ids = [translator.line_ids(ensemble.tokeniser, text) for text in (source, target)]
    if max(map(len, ids)) > LONGEST:
        raise OptionError("TEXT", f"must have at most {LONGEST:,} tokens, but has {max(map(len, ids)):,}")
    (attention,) = ensemble.attention(ids[:1], ids[1:])
    return alignment_of(ensemble.tokeniser, ids[0], ids[1], attention)


def alignment_of(tokeniser: Tokeniser, source: Rows, target: Rows, attention: Values) -> Alignment:
    """The attention weights [T, S] of a target's tokens [T] to its source's [S], with the tokens' texts."""

    def spelled(tokens: Rows) -> list[str]:
        return ["\n" if token == NEWLINE else tokeniser.spell(token) for token in tokens.tolist()]

    return Alignment(spelled(source), spelled(target), attention)
