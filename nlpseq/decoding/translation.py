"""Translation: source texts, in batches of similar length, through encoder and search."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from nlpseq.decoding.ancestral import draw
from nlpseq.decoding.beam import BeamOptions, Hypothesis, Rows, Values, search
from nlpseq.decoding.ensemble import Ensemble, Member
from nlpseq.decoding.loops import have_loops
from nlpseq.decoding.sampling import Sampler, SamplingOptions
from nlpseq.decoding.statuses import CUT
from nlpseq.decoding.unknown_words import can_have_unknown, has_unknown, replace_unknown
from nlpseq.errors import OptionError
from nlpseq.models import translator
from nlpseq.models.attention import Alignment
from nlpseq.models.translator import LONGEST, TranslatorOptions
from nlpseq.options import check, option
from nlpseq.text.lines import OK, TOO_LONG
from nlpseq.text.padding import side_by_side, together
from nlpseq.text.tokenisers import NEWLINE, Tokeniser

if TYPE_CHECKING:
    from nlpseq.decoding.device.search import DeviceSearch

TOKENS_AT_ONCE = 2048  # of sources, padding included
FACTOR, EXTRA = 2, 20  # a translation has at most FACTOR times the tokens of its source, plus EXTRA


class Translation(NamedTuple):
    """A translation of a line."""

    text: str
    log_probability: float  # nats, the end included
    score: float  # ranks the translations of a line
    cut: bool = False  # whether it was too long or looped, instead of ending by itself
    alignment: Alignment | None = None

    def as_json(self) -> dict[str, Any]:
        """The text and its scores."""
        return {"text": self.text, "log_probability": self.log_probability, "score": self.score}

    def as_row(self, number: int) -> str:
        """The number of the line, the text and its scores, separated by tabs."""
        text = self.text.replace("\t", " ")
        return f"{number}\t{text}\t{self.log_probability:.6f}\t{self.score:.6f}"


FIELDS = ("translation", "log_probability", "score")
NO_TRANSLATION = Translation("", float("nan"), float("nan"))


def translation_fields(translations: Sequence[Translation] | None) -> dict[str, Any]:
    """The translations of a line as fields of an object: FIELDS of the best, and `others` if there are more."""
    if not translations:
        return {"translation": None}
    first, *others = (translation.as_json() for translation in translations)
    return {"translation": first.pop("text"), **first, **({"others": others} if others else {})}


def translation_status(translations: Sequence[Translation] | None) -> str:
    """The status of a line, given its translations, best first: OK, CUT or TOO_LONG."""
    if not translations:
        return TOO_LONG
    return CUT if translations[0].cut else OK


class Drawing(NamedTuple):
    """Drawing of translations, instead of a search: their number for each line, and the sampling options."""

    samples: int
    options: SamplingOptions
    random_seed: int | None = None  # None: by chance


@dataclass(frozen=True, kw_only=True)
class TranslationOptions:
    """How each line is translated."""

    sample: int = option(0, "draw N translations of each line; 0: search for the best", minimum=0)
    random_seed: int | None = option(
        None, "seed of the random draws; the same seed gives the same translations [default: by chance]", minimum=0
    )
    replace_unknown: bool = option(
        False, "copy words without a token from the source, where attention looks", switch=True
    )

    def __post_init__(self) -> None:
        check(self)

    def drawing(self, search: BeamOptions, sampling: SamplingOptions) -> Drawing | None:
        """How translations are drawn, or None if they are searched for.

        Raises OptionError for options without an effect: sampling options in a search, or the reverse.
        """
        if not self.sample:
            if sampling != SamplingOptions() or self.random_seed is not None:
                raise OptionError("sample", "is missing, so nothing is drawn", "--sample 1")
            return None
        if (search.beam, search.n_best) != (BeamOptions().beam, 1):
            what = "draws translations, but a beam searches for them: choose one of the two"
            raise OptionError("sample", what, f"--sample {self.sample}")
        return Drawing(self.sample, sampling, self.random_seed)


class Translations:
    """Translates lines with one or several translators."""

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
        """With `align` the best translation of a line gets its alignment.

        `on_device` says whether the beam is searched on the device of weights that are tensors; None: only on a GPU.
        Raises OptionError for `replace_unknown` if no word can be unknown.
        """
        self.ensemble = ensemble
        self.beam = beam
        self.drawing = drawing
        seed = None if drawing is None else drawing.random_seed
        self.random_seed = int.from_bytes(os.urandom(4), "big") if seed is None else seed
        self.align = align
        self.replaces_unknown = replace_unknown
        self.lines = 0
        on_device = ensemble.members[0].on_gpu if on_device is None else on_device
        self.device = _device_search(ensemble, beam) if on_device and drawing is None else None
        if replace_unknown and not can_have_unknown(ensemble.tokeniser):
            what = f"has nothing to replace: the model's tokens are {ensemble.tokeniser.kind}s, not words"
            raise OptionError("replace_unknown", what, "leave out --replace-unknown")

    @classmethod
    def load(
        cls, paths: Sequence[Path], beam: BeamOptions, drawing: Drawing | None = None, *, device: str, **settings: bool
    ) -> Translations:
        """Load model files or run folders that work together; the settings are those of the class.

        Raises ModelFileError if a model does not exist or the vocabularies differ, BackendError if there is no such
        device, and as the class does.
        """
        ensemble = Ensemble.of([translator.load(path) for path in paths], device)
        return cls(ensemble, beam, drawing, **settings)

    @property
    def several(self) -> bool:
        """Whether a line may have several translations."""
        return (self.beam.n_best if self.drawing is None else self.drawing.samples) > 1

    @property
    def names(self) -> tuple[str, ...]:
        """The fields that `translation_fields` may return."""
        return (*FIELDS, "others") if self.several else FIELDS

    def as_line(self, number: int, ranked: Sequence[Translation] | None) -> str:
        """The best translation of a line; if there may be several, a row for each, with the line's number."""
        if self.several:
            return "\n".join(translation.as_row(number) for translation in ranked or [NO_TRANSLATION])
        return ranked[0].text if ranked else ""

    def translate(self, lines: Sequence[str]) -> list[list[Translation]]:
        """The translations of each line, best first; "" for a blank line, an empty list for a line that is too long.

        Raises BackendError if a single line does not fit a GPU's memory.
        """
        ids = [translator.line_ids(self.ensemble.tokeniser, line) for line in lines]
        translated = [[] if len(tokens) > LONGEST else [Translation("", 0.0, 0.0)] for tokens in ids]
        waiting = [index for index, line in enumerate(lines) if line.strip() and len(ids[index]) <= LONGEST]
        lengths = np.array([len(ids[index]) for index in waiting], np.int64)
        for batch in self.device.batches(lengths) if self.device else together(lengths, TOKENS_AT_ONCE):
            indices = [waiting[position] for position in batch]
            sources = [ids[index] for index in indices]
            hypotheses = self._hypotheses(sources, [self.lines + index for index in indices])
            for index, translations in zip(indices, self._translations(sources, hypotheses), strict=True):
                translated[index] = translations
        self.lines += len(lines)
        return translated

    def _hypotheses(self, sources: Sequence[Rows], numbers: Sequence[int]) -> list[list[Hypothesis]]:
        """Hypotheses for sources; `numbers` are the numbers of their lines, counted over all calls."""
        may_loop = have_loops(*side_by_side(sources))
        limits = [max(self.beam.shortest, self._limit(len(source))) for source in sources]
        if self.device is not None:
            return self.device.search(sources, limits, may_loop)
        if self.drawing is None:
            decoder = self.ensemble.begin(sources, self.beam.beam, coverage=self.beam.coverage_penalty > 0)
            return search(decoder, limits, NEWLINE, NEWLINE, self.beam, may_loop)
        count, options = self.drawing.samples, self.drawing.options
        samplers = [
            [Sampler(options, f"{self.random_seed}/{number}/{sample}") for sample in range(count)] for number in numbers
        ]
        decoder = self.ensemble.begin(sources, count)
        return draw(decoder, limits, NEWLINE, NEWLINE, samplers, shortest=self.beam.shortest, may_loop=may_loop)

    def _limit(self, length: int) -> int:
        return FACTOR * length + EXTRA if self.beam.longest is None else self.beam.longest

    def _translations(
        self, sources: Sequence[Rows], hypotheses: Sequence[Sequence[Hypothesis]]
    ) -> list[list[Translation]]:
        """The translations that hypotheses spell, for each source, best first."""
        translations: list[list[Translation]] = [[] for _ in sources]
        for rank in range(max(map(len, hypotheses), default=0)):
            rows = [row for row, ranked in enumerate(hypotheses) if rank < len(ranked)]
            chosen_sources = [sources[row] for row in rows]
            chosen = [hypotheses[row][rank] for row in rows]
            align = self.align and rank == 0
            weights = self._attention(chosen_sources, chosen, align=align)
            for row, source, hypothesis, attention in zip(rows, chosen_sources, chosen, weights, strict=True):
                translations[row].append(self._translation(source, hypothesis, attention, align=align))
        return translations

    def _translation(
        self, source: Rows, hypothesis: Hypothesis, attention: Values | None, *, align: bool
    ) -> Translation:
        tokeniser = self.ensemble.tokeniser
        text, alignment = tokeniser.decode_bytes(hypothesis.tokens), None
        if attention is not None and self.replaces_unknown:
            text = b" ".join(replace_unknown(tokeniser, source, hypothesis.tokens, attention))
        if attention is not None and align:
            alignment = _alignment(tokeniser, source, translator.end_with_newline(hypothesis.tokens), attention)
        spelled = text.decode("utf-8", "replace")
        return Translation(spelled, hypothesis.log_probability, hypothesis.score, hypothesis.cut, alignment)

    def _attention(self, sources: Sequence[Rows], chosen: Sequence[Hypothesis], *, align: bool) -> list[Values | None]:
        """The attention weights [T, S] of each hypothesis; None if they are not needed."""
        tokeniser = self.ensemble.tokeniser
        weights: list[Values | None] = [None] * len(chosen)
        rows = [
            row
            for row, hypothesis in enumerate(chosen)
            if align or (self.replaces_unknown and has_unknown(tokeniser, hypothesis.tokens))
        ]
        if rows:
            targets = [translator.end_with_newline(chosen[row].tokens) for row in rows]
            attention = self.ensemble.attention([sources[row] for row in rows], targets)
            for row, matrix in zip(rows, attention, strict=True):
                weights[row] = matrix
        return weights


def _device_search(ensemble: Ensemble, beam: BeamOptions) -> DeviceSearch:
    from nlpseq.decoding.device.search import DeviceSearch

    return DeviceSearch(ensemble.members, beam)


def greedy_translations(
    weights: translator.Weights, options: TranslatorOptions, tokeniser: Tokeniser, texts: Sequence[str]
) -> list[str]:
    """The greedy translation of each text by the present weights; "" for a text that is too long."""
    translations = Translations(Ensemble([Member(weights, options)], tokeniser), BeamOptions(beam=1))
    try:
        return [best[0].text if best else "" for best in translations.translate(texts)]
    finally:
        if translations.device is not None:
            translations.device.forget()


def explain_translation(
    ensemble: Ensemble, text: str, target: str | None, search_options: BeamOptions
) -> tuple[str, Alignment]:
    """A target and the attention of its tokens to the source `text`; without a target the best translation.

    Raises OptionError for a text that is blank or too long, and for a search of several translations.
    """
    if search_options.n_best != 1:
        raise OptionError("n_best", "is for `translate`; only one translation is shown here", "leave out --n-best")
    if not text.strip():
        raise OptionError("TEXT", "must not be blank", 'nlpseq inspect attention "some words"')
    if target is None:
        (best,) = Translations(ensemble, search_options).translate([text])
        if not best:
            raise OptionError("TEXT", f"must have at most {LONGEST:,} tokens, but has more")
        target = best[0].text
    return target, aligned(ensemble, text, target)


def aligned(ensemble: Ensemble, source: str, target: str) -> Alignment:
    """The attention of a target's tokens to its source. Raises OptionError for a text that is too long."""
    ids = [translator.line_ids(ensemble.tokeniser, text) for text in (source, target)]
    if max(map(len, ids)) > LONGEST:
        raise OptionError("TEXT", f"must have at most {LONGEST:,} tokens, but has {max(map(len, ids)):,}")
    (attention,) = ensemble.attention(ids[:1], ids[1:])
    return _alignment(ensemble.tokeniser, ids[0], ids[1], attention)


def _alignment(tokeniser: Tokeniser, source: Rows, target: Rows, attention: Values) -> Alignment:
    def spelled(tokens: Rows) -> list[str]:
        return ["\n" if token == NEWLINE else tokeniser.spell(token) for token in tokens.tolist()]

    return Alignment(spelled(source), spelled(target), attention)
