"""Translators as sides: each model's own translations of the same sources against the same references."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from nlpseq.decoding.beam import BeamOptions
from nlpseq.errors import OptionError
from nlpseq.evaluation import training_text
from nlpseq.evaluation.bleu import BleuOptions
from nlpseq.evaluation.comparison.measures import TOKEN_MEASURES, Measured
from nlpseq.evaluation.comparison.metrics import chosen_metrics
from nlpseq.evaluation.comparison.records import Outputs, Side, Units
from nlpseq.evaluation.comparison.too_few import check_units
from nlpseq.evaluation.comparison.translation_statistics import OUTPUT_METRICS, USUAL, translation_measured
from nlpseq.evaluation.evaluation_pairs import chosen_pairs, trained_on_pairs
from nlpseq.evaluation.perplexity import tokeniser_name
from nlpseq.evaluation.reader import placed
from nlpseq.evaluation.scores import Note
from nlpseq.evaluation.translation_scores import nats_and_tokens, token_measured, translated
from nlpseq.models.model_file import Model
from nlpseq.models.translator import TranslatorOptions
from nlpseq.text.signature import rows_sha256, short_names
from nlpseq.text.tables.pair_tables import Columns

OF_TOKENS = tuple(measure.name for measure in TOKEN_MEASURES)  # of references given their sources
METRICS = (*OUTPUT_METRICS, *OF_TOKENS)

Loaded = tuple[Model, TranslatorOptions]


class PairOptions(NamedTuple):
    """Which pairs are read, and how they are translated and scored."""

    corpora: Sequence[str]
    source: str | None
    targets: Sequence[str]
    columns: Columns | None
    search: BeamOptions
    bleu: BleuOptions
    device: str


def translator_sides(
    sides: Sequence[tuple[str, Sequence[Loaded]]], pairs: PairOptions, metrics: Sequence[str], note: Note
) -> tuple[list[Side], Units]:
    """Read the pairs once, and translate them with each model.

    Raises what `chosen_pairs` raises for the first model, CorpusError for too few pairs, and OptionError for a metric
    that is not of translators, or that tokenisers make incomparable.
    """
    loaded = [one for _, models in sides for one in models]
    names = chosen_metrics(metrics, METRICS, USUAL, "translators")
    of_tokens = [name for name in names if name in OF_TOKENS]
    if of_tokens and len({model.tokeniser.fingerprint for model, _ in loaded}) > 1:
        what = f"cannot be {of_tokens[0]} for models with different tokenisers: it is per token"
        raise OptionError("metric", what, "--metric bleu")
    read = chosen_pairs(loaded[0][0], pairs.corpora, pairs.source, pairs.targets, pairs.columns, note)
    for model, _ in loaded[1:]:
        if said := trained_on_pairs(training_text.facts_of(model), read[0]):
            note(f"{model.name}: {said}")
    sources, references = read[0].sources, [each.targets for each in read]
    where = [*pairs.corpora, *filter(None, [pairs.source]), *pairs.targets]
    check_units(len(sources), " ".join(where) or loaded[0][0].name, "pairs")
    found = []
    for side, models in sides:
        outputs = []
        for model, options in models:
            texts = translated([(model, options)], sources, pairs.search, device=pairs.device, note=note)
            measured = translation_measured(texts, references, names, pairs.bleu)
            if of_tokens:
                measured |= _given_source((placed(model, pairs.device), options), sources, references[0])
            outputs.append(Outputs(model.name, [measured[name] for name in names]))
        found.append(Side(side, outputs))
    digest = rows_sha256(zip(sources, *references, strict=True))[:8]
    name = short_names(where) if where else "training:validation"
    return found, Units(len(sources), f"beam:{pairs.search.beam}|lines:{len(sources)}|text:{name}#{digest}")


def _given_source(loaded: Loaded, sources: Sequence[str], targets: Sequence[str]) -> dict[str, Measured]:
    """Loss and perplexity of targets given their sources, line by line; a pair that is too long counts nothing."""
    model, options = loaded
    field = f"unit:token|{tokeniser_name(model.tokeniser)}|given:source"
    found = token_measured(nats_and_tokens(model, options, sources, targets), field)
    return {each.measure.name: each for each in found}
