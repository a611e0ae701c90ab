"""Translation: source texts, in batches of similar length, through encoder and search."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from nlpseq.decoding.alignment import aligned, alignment_of
from nlpseq.decoding.ancestral import draw
from nlpseq.decoding.beam import BeamOptions, Hypothesis, Rows, Values, search
from nlpseq.decoding.ensemble import Ensemble, Member
from nlpseq.decoding.loops import have_loops
from nlpseq.decoding.sampling import Sampler
from nlpseq.decoding.statuses import CUT
from nlpseq.decoding.translation_options import Drawing
from nlpseq.decoding.unknown_words import can_have_unknown, has_unknown, replace_unknown
from nlpseq.errors import OptionError
from nlpseq.models import translator
from nlpseq.models.attention import Alignment
from nlpseq.models.model_file import load_again
from nlpseq.models.translator import LONGEST, TranslatorOptions
from nlpseq.text.lines import OK, TOO_LONG
from nlpseq.text.padding import side_by_side, together
from nlpseq.text.tokenisers import NEWLINE, Tokeniser
from nlpseq.workers import portions_in_order

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


Ranked = list[Translation]  # the translations of a line, best first

Join = Callable[[Sequence[Sequence[Ranked]]], list[Ranked]]

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


class Group(NamedTuple):
    """Lines that are translated together."""

    numbers: list[int]  # of the lines, counted over all calls
    sources: list[Rows]


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

    def translate(self, lines: Sequence[str | None]) -> list[Ranked]:
        """The translations of each line, best first; an empty list for a line that is too long.

        The translation of a blank line, or of None, is blank.
        Raises BackendError if a single line does not fit a GPU's memory.
        """
        groups, join = self.divide(lines)
        return join(list(map(self.translate_group, groups)))

    def divide(self, lines: Sequence[str | None]) -> tuple[Iterator[Group], Join]:
        """The next lines in groups, and the function that brings the groups' translations into the lines' order.

        There is always a group, though it may be empty.
        """
        first, self.lines = self.lines, self.lines + len(lines)
        texts = [line or "" for line in lines]
        ids = [translator.line_ids(self.ensemble.tokeniser, text) for text in texts]
        waiting = [index for index, text in enumerate(texts) if text.strip() and len(ids[index]) <= LONGEST]
        lengths = np.array([len(ids[index]) for index in waiting], np.int64)
        batches = self.device.batches(lengths) if self.device else together(lengths, TOKENS_AT_ONCE)
        order: list[int] = []

        def groups() -> Iterator[Group]:
            for batch in batches if waiting else [()]:
                indices = [waiting[position] for position in batch]
                order.extend(indices)
                yield Group([first + index for index in indices], [ids[index] for index in indices])

        def join(results: Sequence[Sequence[Ranked]]) -> list[Ranked]:
            translated: list[Ranked] = [[] if len(tokens) > LONGEST else [Translation("", 0.0, 0.0)] for tokens in ids]
            for index, ranked in zip(order, chain(*results), strict=True):
                translated[index] = ranked
            return translated

        return groups(), join

    def translate_group(self, group: Group) -> list[Ranked]:
        """The translations of the lines of a group, best first."""
        if not group.sources:
            return []
        return self._translations(group.sources, self._hypotheses(group.sources, group.numbers))

    def by_workers(self, portions: Iterable[Any], processes: int) -> Generator[list[Ranked], None, None]:
        """As `translate` for one portion of lines after another, by worker processes: see `portions_in_order`.

        The translators must have been loaded from files; each worker loads them again.
        """
        settings = (self.ensemble.origins, self.beam, self.drawing, self.align, self.replaces_unknown)
        return portions_in_order(f"{__name__}:load_group_translator", settings, portions, self.divide, processes)

    def _hypotheses(self, sources: Sequence[Rows], numbers: Sequence[int]) -> list[list[Hypothesis]]:
        """Hypotheses for sources; `numbers` are the numbers of their lines, counted over all calls."""
        may_loop = have_loops(*side_by_side(sources))
        limits = [max(self.beam.shortest, self._limit(len(source))) for source in sources]
        if self.device is not None:
            return self.device.search(sources, limits, may_loop)
        if self.drawing is None:
            decoder = self.ensemble.begin(sources, self.beam.beam, coverage=self.beam.coverage_penalty > 0)
            return search(decoder, limits, NEWLINE, NEWLINE, self.beam, may_loop)
        count, options, seed = self.drawing
        samplers = [[Sampler(options, f"{seed}/{number}/{sample}") for sample in range(count)] for number in numbers]
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
            alignment = alignment_of(tokeniser, source, translator.end_with_newline(hypothesis.tokens), attention)
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


def load_group_translator(settings: tuple[Any, ...]) -> Callable[[Group], list[Ranked]]:
    """In a worker process: `Translations.translate_group` with the settings of `by_workers`.

    Raises ModelFileError if a file has changed.
    """
    origins, beam, drawing, align, replaces_unknown = settings
    ensemble = Ensemble.of([load_again(translator.load, origin) for origin in origins])
    return Translations(ensemble, beam, drawing, align=align, replace_unknown=replaces_unknown).translate_group


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
