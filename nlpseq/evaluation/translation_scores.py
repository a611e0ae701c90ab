"""Scores of a translator: its translations against references, and its perplexity on the references.

BLEU (Papineni et al., 2002), chrF (Popovic, 2015) and TER (Snover et al., 2006) and their signatures come from
sacrebleu (Post, 2018), whose command prints the same numbers for the same files. Accuracy counts translations that
equal a reference. Perplexity is that of the reference's tokens, each given the source and the tokens before it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import compress
from typing import Any

import numpy as np

from nlpseq.decoding.beam import BeamOptions
from nlpseq.decoding.ensemble import Ensemble
from nlpseq.decoding.translation import Translations
from nlpseq.errors import OptionError
from nlpseq.evaluation.bleu import BleuOptions, bleu_metric, is_unspaced, spaced_words, suited_tokens
from nlpseq.evaluation.comparison.measures import TOKEN_MEASURES, Measured
from nlpseq.evaluation.comparison.records import Units
from nlpseq.evaluation.comparison.resampling import ResamplingOptions
from nlpseq.evaluation.comparison.score_intervals import with_intervals
from nlpseq.evaluation.comparison.too_few import check_units
from nlpseq.evaluation.comparison.translation_statistics import OUTPUT_METRICS, translation_measured
from nlpseq.evaluation.perplexity import tokeniser_name
from nlpseq.evaluation.reader import PairReader, placed
from nlpseq.evaluation.scores import Note, Score, say_nothing, token_scores
from nlpseq.models import translator
from nlpseq.models.model_file import Model
from nlpseq.models.translator import TranslatorOptions
from nlpseq.text.tables.parallel import Pairs

LONG = 500  # sentences: a note says how many are translated


def bleu_score(translations: Sequence[str], references: Sequence[Sequence[str]], options: BleuOptions) -> Score:
    """BLEU of N translations against one or more lists of N references. Raises OptionError as `BleuOptions` says."""
    metric = bleu_metric(options)
    lists = [translations, *references]
    texts, *others = spaced_words(lists) if options.bleu_tokens == "space" else lists
    score = _score("bleu", metric, texts, others)
    return replace(score, signature=score.signature.replace("tok:none", f"tok:{options.bleu_tokens}"))


def reference_scores(
    translations: Sequence[str], references: Sequence[Sequence[str]], options: BleuOptions
) -> list[Score]:
    """BLEU, chrF, TER and accuracy of N translations against one or more lists of N references."""
    from sacrebleu.metrics.chrf import CHRF
    from sacrebleu.metrics.ter import TER

    scores = [bleu_score(translations, references, options)]
    scores += [_score(name, metric, translations, references) for name, metric in (("chrf", CHRF()), ("ter", TER()))]
    right = sum(text in group for text, *group in zip(translations, *references, strict=True))
    parts = {"right": float(right), "texts": float(len(translations))}
    signature = f"accuracy|whole-texts|refs:{len(references)}"
    return [*scores, Score("accuracy", 100 * right / max(1, len(translations)), "text", signature, parts)]


def _score(name: str, metric: Any, texts: Sequence[str], references: Sequence[Sequence[str]]) -> Score:
    score = metric.corpus_score(list(texts), [list(reference) for reference in references])
    return Score(name, float(score.score), "corpus", f"{name}|{metric.get_signature()}", _parts(score))


def _parts(score: object) -> dict[str, float]:
    names = ("sys_len", "ref_len", "bp", "num_edits", "ref_length")
    return {name: float(getattr(score, name)) for name in names if hasattr(score, name)}


def nats_and_tokens(
    model: Model, options: TranslatorOptions, sources: Sequence[str], targets: Sequence[str]
) -> list[tuple[float, int]]:
    """The loss of each target given its source, and its number of tokens; both are 0 if the pair is too long."""
    source_ids, target_ids = (
        [translator.line_ids(model.tokeniser, text) for text in side] for side in (sources, targets)
    )
    fits = [max(map(len, pair)) <= translator.LONGEST for pair in zip(source_ids, target_ids, strict=True)]
    kept = [list(compress(side, fits)) for side in (source_ids, target_ids)]
    losses = iter(PairReader(model.weights, options).losses(*kept))
    return [(next(losses), len(ids)) if fit else (0.0, 0) for fit, ids in zip(fits, target_ids, strict=True)]


def translated(
    models: Sequence[tuple[Model, TranslatorOptions]],
    sources: Sequence[str],
    search: BeamOptions,
    *,
    device: str = "cpu",
    note: Note = say_nothing,
) -> list[str]:
    """The translations by one model or an ensemble; "" of a source that is too long.

    Raises OptionError if the search returns several translations of a source, and BackendError if the device is
    missing.
    """
    if search.n_best != 1:
        raise OptionError(
            "n_best", "is an option of `translate`: only one translation of a source is evaluated", "leave out --n-best"
        )
    if len(sources) >= LONG:
        note(f"translating {len(sources):,} sentences")
    translations = Translations(Ensemble.of(models, device), search).translate(sources)
    if missing := sum(not best for best in translations):
        note(f"{missing} of {len(translations):,} sources are too long and have no translation")
    return [best[0].text if best else "" for best in translations]


def given_source_scores(
    model: Model, options: TranslatorOptions, sources: Sequence[str], targets: Sequence[str]
) -> list[Score]:
    """Loss and perplexity of targets given their sources; pairs that are too long for the model are left out."""
    return _token_scores(model, nats_and_tokens(model, options, sources, targets))


def _token_scores(model: Model, found: Sequence[tuple[float, int]]) -> list[Score]:
    """Loss and perplexity of targets of which `nats_and_tokens` found the losses."""
    nats, tokens = sum(nats for nats, _ in found), sum(tokens for _, tokens in found)
    left_out = sum(not tokens for _, tokens in found)
    signature = f"{tokeniser_name(model.tokeniser)}|given:source"
    return token_scores(nats, tokens, f"{signature}|left-out:{left_out}" if left_out else signature)


def token_measured(found: Sequence[tuple[float, int]], signature: str = "") -> list[Measured]:
    """Loss and perplexity of targets of which `nats_and_tokens` found the losses; none without targets."""
    statistics = np.array(found, np.float64)
    return [Measured(measure, statistics, signature) for measure in TOKEN_MEASURES] if found else []


def translator_scores(
    models: Sequence[tuple[Model, TranslatorOptions]],
    pairs: Sequence[Pairs],
    search: BeamOptions,
    bleu: BleuOptions,
    *,
    device: str = "cpu",
    note: Note = say_nothing,
    resampling: ResamplingOptions | None = None,
) -> list[Score]:
    """The scores of one translator or an ensemble; several lists of pairs hold several references of the same sources.

    A single model is also scored by its loss and perplexity on the first references. With `resampling` the scores have
    intervals. Raises OptionError if the search returns several translations of a source, BackendError if the device is
    missing, and CorpusError if the pairs are too few for intervals.
    """
    sources, references = pairs[0].sources, [each.targets for each in pairs]
    if resampling is not None:
        check_units(len(sources), "the text", "pairs")
    texts = translated(models, sources, search, device=device, note=note)
    suited = suited_tokens(references[0])
    if bleu.bleu_tokens == BleuOptions().bleu_tokens != suited and is_unspaced(references[0]):
        note(f"BLEU of such texts is usually counted with --bleu-tokens {suited}, here with {bleu.bleu_tokens}")
    scores = reference_scores(texts, references, bleu)
    found: list[tuple[float, int]] = []
    if len(models) == 1:
        ((model, options),) = models
        found = nats_and_tokens(placed(model, device), options, sources, references[0])
        scores += _token_scores(model, found)
    if resampling is None:
        return scores
    measured = [*translation_measured(texts, references, OUTPUT_METRICS, bleu).values(), *token_measured(found)]
    return with_intervals(scores, measured, Units(len(texts), f"lines:{len(texts)}"), resampling)
