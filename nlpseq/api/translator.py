"""A translator in Python, or several that translate together: translate, score, look inside, evaluate."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, overload

from nlpseq import tasks
from nlpseq.api.model import Texts, TrainedModel, as_list, check_text, make_options
from nlpseq.api.paths import as_names, as_path
from nlpseq.decoding.beam import BeamOptions
from nlpseq.decoding.ensemble import Ensemble
from nlpseq.decoding.sampling import SamplingOptions
from nlpseq.decoding.translation import Translation, Translations, explain_translation
from nlpseq.decoding.translation_options import TranslationOptions
from nlpseq.errors import OptionError
from nlpseq.evaluation.bleu import BleuOptions
from nlpseq.evaluation.comparison.resampling import ResamplingOptions, when_confident
from nlpseq.evaluation.evaluation_pairs import chosen_pairs
from nlpseq.evaluation.floors.baseline import Report
from nlpseq.evaluation.floors.translation import translation_baselines
from nlpseq.evaluation.line_scores import LineScore
from nlpseq.evaluation.pair_scores import PairScorer
from nlpseq.evaluation.reader import placed
from nlpseq.evaluation.scores import Note, Score, say_nothing
from nlpseq.evaluation.translation_scores import translator_scores
from nlpseq.models import translator
from nlpseq.models.attention import Alignment
from nlpseq.training.columns import as_columns, read_pair_columns
from nlpseq.workers import check_processes


class Translator(TrainedModel):
    """A translator, or an ensemble of several with one vocabulary."""

    task = tasks.TRANSLATOR
    together = True

    def __init__(self, *paths: str | bytes | Path, device: str = "cpu") -> None:
        """Raises ModelFileError if there is no such model or vocabularies differ, BackendError for no such device."""
        if not paths:
            raise OptionError("path", "is missing")
        self.models = [translator.load(as_path(path)) for path in paths]
        self.model, self.options = self.models[0]
        self.device = device
        self.ensemble = Ensemble.of(self.models, device)

    @classmethod
    def load(cls, *paths: str | bytes | Path, device: str = "cpu") -> Translator:
        """The translator in a file or run folder; of several paths, translators that work together."""
        return cls(*paths, device=device)

    @overload
    def translate(self, lines: str, **options: Any) -> str: ...

    @overload
    def translate(self, lines: Texts, **options: Any) -> list[str]: ...

    def translate(self, lines: str | Texts, **options: Any) -> str | list[str]:
        """The best translation of a line, or of each of several; "" of a line that is too long.

        Options: `beam` (5), `length_penalty`, `coverage_penalty`, `shortest`, `longest`, `replace_unknown`; or `sample`
        with `temperature` and the other options of sampling, and `random_seed`. With `processes` above 1, that many
        worker processes translate; each loads the models again, so it is for thousands of lines. Raises OptionError for
        an option that is unknown or out of range.
        """
        best = [found[0].text if found else "" for found in self.translations(as_list(lines, "lines"), **options)]
        return best[0] if isinstance(lines, str) else best

    def translations(
        self, lines: Sequence[str], *, align: bool = False, processes: int = 1, **options: Any
    ) -> list[list[Translation]]:
        """The translations of each line, best first, with their scores; an empty list for a line that is too long.

        With `align` the best one has its alignment. Options as of `translate`, and `n_best`.
        """
        check_processes(processes, self.device)
        kinds = [TranslationOptions, BeamOptions, SamplingOptions]
        own, search, sampling = make_options(kinds, options, "translation")
        drawing = own.drawing(search, sampling)
        made = Translations(self.ensemble, search, drawing, align=align, replace_unknown=own.replace_unknown)
        texts = as_list(lines, "lines")
        return made.translate(texts) if processes == 1 else next(made.by_workers([texts], processes))

    def score(self, lines: Sequence[str], sources: Sequence[str]) -> list[LineScore | None]:
        """How likely each line is, given the source of the same index; None if either is too long.

        Raises OptionError if there are more of one than of the other, or for an ensemble.
        """
        lines, sources = as_list(lines, "lines"), as_list(sources, "sources")
        if len(self.models) > 1:
            raise OptionError("lines", "are scored by one model, and this is an ensemble")
        if len(lines) != len(sources):
            raise OptionError("sources", f"must be as many as lines, {len(lines)}, were {len(sources)}")
        placed_model = placed(self.model, self.device)
        return PairScorer(placed_model, self.options, "sources", iter(sources)).score_lines(lines)

    def attention(self, text: str, target: str | None = None) -> Alignment:
        """The attention of a target's tokens to a text's, by default of the model's own translation.

        Raises OptionError for a text that is blank or too long.
        """
        return explain_translation(self.ensemble, check_text(text, "text"), target, BeamOptions())[1]

    def evaluate(
        self,
        *corpora: object,
        source: object = None,
        target: object = (),
        columns: str | Sequence[str | int] | None = None,
        confidence: bool = False,
        note: Note = say_nothing,
        **options: Any,
    ) -> list[Score]:
        """BLEU, chrF, TER, exact matches and the references' perplexity, on tables of pairs or on two files.

        `target` is a file of references, or a list of several for the same sources. Without `columns` a table is read
        by those of training, if it has them. Without any text the pairs are those that training was validated on.
        `note` is called with what a reader of the scores should know. Options are those of the search and of BLEU:
        `beam`, `bleu_tokens`, `bleu_smoothing`. With `confidence` the scores have 95 % intervals, by the options
        `samples` and `random_seed`. Raises CorpusError for files that cannot be read, are out of step or are too short
        for intervals, and ModelFileError if the pairs of training are needed and gone.
        """
        files: dict[str, Any] = {"source": source, "target": target, "columns": columns}
        return self.report(*corpora, **files, confidence=confidence, note=note, **options).scores

    def report(
        self,
        *corpora: object,
        source: object = None,
        target: object = (),
        columns: str | Sequence[str | int] | None = None,
        baseline: bool = False,
        confidence: bool = False,
        note: Note = say_nothing,
        **options: Any,
    ) -> Report:
        """The scores and, with `baseline`, those of copied sources and of the nearest training sources' targets.

        As `evaluate`; raises ModelFileError if the training pairs are needed and are gone or have changed.
        """
        search, bleu, chosen = make_options([BeamOptions, BleuOptions, ResamplingOptions], options, "evaluation")
        resampling = when_confident(chosen, confidence=confidence, by_line=True)
        references = as_names(target if isinstance(target, list | tuple) else [target])
        source_name = None if source is None else as_names([source])[0]
        pair_columns = read_pair_columns(as_columns(columns))
        pairs = chosen_pairs(self.model, as_names(corpora), source_name, references, pair_columns, note)
        baselines = translation_baselines(self.model, pairs, bleu, note) if baseline else []
        run: dict[str, Any] = {"device": self.device, "note": note, "resampling": resampling}
        scores = translator_scores(self.models, pairs, search, bleu, **run)
        return Report(scores, baselines)
