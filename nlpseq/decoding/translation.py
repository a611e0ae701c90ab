"""Translating: source texts in batches of about one length through encoder and search."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from nlpseq.decoding.ancestral import draw
from nlpseq.decoding.beam import BeamOptions, Hypothesis, Rows, Values, search
from nlpseq.decoding.ensemble import Ensemble, Member
from nlpseq.decoding.loops import have_loops
from nlpseq.decoding.sampling import Sampler, SamplingOptions
from nlpseq.decoding.unknown_words import can_have_unknown, has_unknown, replace_unknown
from nlpseq.errors import OptionError
from nlpseq.models import translator
from nlpseq.models.attention import Alignment
from nlpseq.models.translator import LONGEST, TranslatorOptions
from nlpseq.text.padding import side_by_side, together
from nlpseq.text.tokenisers import NEWLINE, Tokeniser

if TYPE_CHECKING:
    from nlpseq.decoding.device.search import DeviceSearch

TOKENS_AT_ONCE = 2048  # of sources, padding included
LONGER = 2  # a translation has at most so many times the tokens of its source
AND_MORE = 20  # and so many more


class Translation(NamedTuple):
    """One translation of a line."""

    text: str
    log_probability: float  # nats, the end included
    score: float  # what translations are ranked by
    cut: bool = False  # it did not end by itself
    alignment: Alignment | None = None


class Drawing(NamedTuple):
    """Texts to be drawn in place of the likeliest ones: how many for a line, and how."""

    samples: int
    options: SamplingOptions
    random_seed: int | None = None  # None: by chance


class Translations:
    """Translators at work on lines."""

    def __init__(
        self,
        ensemble: Ensemble,
        beam: BeamOptions,
        drawing: Drawing | None = None,
        *,
        align: bool = False,
        replace_unknown: bool = False,
        on_device: bool | None = None,
    ) -> None:
        """With `align` translations say what was looked at.

        `on_device` is for translators whose weights are tensors: whether the beam is searched on their device; None: on
        a GPU. Raises OptionError where no word can be unknown.
        """
        self.ensemble = ensemble
        self.beam = beam
        self.drawing = drawing
        given = None if drawing is None else drawing.random_seed
        self.seed = int.from_bytes(os.urandom(4), "big") if given is None else given
        self.align = align
        self.replaces_unknown = replace_unknown
        self.lines = 0
        on_device = ensemble.members[0].on_gpu if on_device is None else on_device
        self.device = _device_search(ensemble, beam) if on_device and drawing is None else None
        if replace_unknown and not can_have_unknown(ensemble.tokeniser):
            what = f"has nothing to replace: the model's tokens are {ensemble.tokeniser.kind}s, not words"
            raise OptionError("--replace-unknown", what, "leave out --replace-unknown")

    def translate(self, lines: Sequence[str]) -> list[list[Translation]]:
        """The best translations of each line, best first; of a blank line "", of too long a line none.

        Raises BackendError if a single line does not fit a GPU's memory.
        """
        ids = [translator.line_ids(self.ensemble.tokeniser, line) for line in lines]
        found = [[] if len(one) > LONGEST else [Translation("", 0.0, 0.0)] for one in ids]
        waiting = [number for number, line in enumerate(lines) if line.strip() and len(ids[number]) <= LONGEST]
        lengths = np.array([len(ids[number]) for number in waiting], np.int64)
        for places in self.device.batches(lengths) if self.device else together(lengths, TOKENS_AT_ONCE):
            group = [waiting[place] for place in places]
            sources = [ids[number] for number in group]
            hypotheses = self._hypotheses(sources, [self.lines + number for number in group])
            for number, made in zip(group, self._translations(sources, hypotheses), strict=True):
                found[number] = made
        self.lines += len(lines)
        return found

    def _hypotheses(self, sources: Sequence[Rows], numbers: Sequence[int]) -> list[list[Hypothesis]]:
        """Texts for sources, the lines of which are so many of all that came."""
        may_loop = have_loops(*side_by_side(sources))
        limits = [max(self.beam.shortest, self._limit(len(source))) for source in sources]
        if self.device is not None:
            return self.device.search(sources, limits, may_loop)
        if self.drawing is None:
            decoder = self.ensemble.begin(sources, self.beam.beam, coverage=self.beam.coverage_penalty > 0)
            return search(decoder, limits, NEWLINE, NEWLINE, self.beam, may_loop)
        count, options = self.drawing.samples, self.drawing.options
        samplers = [[Sampler(options, f"{self.seed}/{number}/{one}") for one in range(count)] for number in numbers]
        decoder = self.ensemble.begin(sources, count)
        return draw(decoder, limits, NEWLINE, NEWLINE, samplers, shortest=self.beam.shortest, may_loop=may_loop)

    def _limit(self, length: int) -> int:
        return LONGER * length + AND_MORE if self.beam.longest is None else self.beam.longest

    def _translations(
        self, sources: Sequence[Rows], hypotheses: Sequence[Sequence[Hypothesis]]
    ) -> list[list[Translation]]:
        tokeniser = self.ensemble.tokeniser
        made: list[list[Translation]] = [[] for _ in sources]
        ranks = max(map(len, hypotheses), default=0)
        for rank in range(ranks):
            places = [place for place, one in enumerate(hypotheses) if rank < len(one)]
            read = [sources[place] for place in places]
            chosen = [hypotheses[place][rank] for place in places]
            shares = self._shares(read, chosen, align=self.align and rank == 0)
            for place, source, one, looked in zip(places, read, chosen, shares, strict=True):
                text, alignment = tokeniser.decode_bytes(one.tokens), None
                if looked is not None and self.replaces_unknown:
                    text = b" ".join(replace_unknown(tokeniser, source, one.tokens, looked))
                if looked is not None and self.align and rank == 0:
                    alignment = _alignment(tokeniser, source, translator.closed(one.tokens), looked)
                spelled = text.decode("utf-8", "replace")
                made[place].append(Translation(spelled, one.log_probability, one.score, one.cut, alignment))
        return made

    def _shares(self, sources: Sequence[Rows], chosen: Sequence[Hypothesis], *, align: bool) -> Sequence[Values | None]:
        """What each hypothesis looked at, where somebody asks for it."""
        tokeniser = self.ensemble.tokeniser
        shares: list[Values | None] = [None] * len(chosen)
        wanted = [
            place
            for place, one in enumerate(chosen)
            if align or (self.replaces_unknown and has_unknown(tokeniser, one.tokens))
        ]
        if wanted:
            targets = [translator.closed(chosen[place].tokens) for place in wanted]
            looked = self.ensemble.attention([sources[place] for place in wanted], targets)
            for place, one in zip(wanted, looked, strict=True):
                shares[place] = one
        return shares


def _device_search(ensemble: Ensemble, beam: BeamOptions) -> DeviceSearch:
    from nlpseq.decoding.device.search import DeviceSearch

    return DeviceSearch(ensemble.members, beam)


def greedy_translations(
    weights: translator.Weights, options: TranslatorOptions, tokeniser: Tokeniser, texts: Sequence[str]
) -> list[str]:
    """The greedy translation of each text, by weights as they are now; of too long a text ""."""
    translations = Translations(Ensemble([Member(weights, options)], tokeniser), BeamOptions(beam=1))
    try:
        return [best[0].text if best else "" for best in translations.translate(texts)]
    finally:
        if translations.device is not None:
            translations.device.forget()


def aligned(ensemble: Ensemble, source: str, target: str) -> Alignment:
    """What a given target's tokens look at. Raises OptionError for too long a text."""
    ids = [translator.line_ids(ensemble.tokeniser, text) for text in (source, target)]
    if max(map(len, ids)) > LONGEST:
        raise OptionError("TEXT", f"must have at most {LONGEST:,} tokens, has {max(map(len, ids)):,}")
    (shares,) = ensemble.attention(ids[:1], ids[1:])
    return _alignment(ensemble.tokeniser, ids[0], ids[1], shares)


def _alignment(tokeniser: Tokeniser, source: Rows, target: Rows, shares: Values) -> Alignment:
    def spelled(tokens: Rows) -> list[str]:
        return ["\n" if token == NEWLINE else tokeniser.spell(token) for token in tokens.tolist()]

    return Alignment(spelled(source), spelled(target), shares)
