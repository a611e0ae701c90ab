"""Language models as sides: the loss of each block of a text, read with the state carried as `evaluate` reads it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from nlpseq.errors import OptionError
from nlpseq.evaluation.comparison.blocks import cut
from nlpseq.evaluation.comparison.measures import Measured
from nlpseq.evaluation.comparison.metrics import chosen_metrics
from nlpseq.evaluation.comparison.records import Outputs, Side, Units
from nlpseq.evaluation.comparison.text_statistics import OF_TOKENS, block_statistics, text_measured
from nlpseq.evaluation.scores import Note
from nlpseq.evaluation.text_scores import chosen_text, read_texts
from nlpseq.models.language_model import LanguageModelOptions
from nlpseq.models.model_file import Model

METRICS = ("bits_per_byte", "perplexity", "loss", "bits_per_character")
SAME_TEXT = ("bits_per_byte",)  # what is compared if tokenisers differ

Loaded = tuple[Model, LanguageModelOptions]  # on the device that reads


class TextOptions(NamedTuple):
    """Which text is read, and how it is cut."""

    corpora: Sequence[str]
    held_out: bool = False
    block_bytes: int | None = None


def language_model_sides(
    sides: Sequence[tuple[str, Sequence[Loaded]]], text: TextOptions, metrics: Sequence[str], note: Note
) -> tuple[list[Side], Units]:
    """Read a text once, and then with each model.

    Raises OptionError for a metric that tokenisers make incomparable, CorpusError if the text cannot be read or is too
    short, and ModelFileError if it is that of training and gone.
    """
    loaded = [one for _, models in sides for one in models]
    names = _checked_metrics([model for model, _ in loaded], metrics)
    chosen = chosen_text(loaded[0][0], text.corpora, held_out=text.held_out)
    texts = read_texts([model for model, _ in loaded], chosen, note, by_line=True)
    assert texts[0].lines is not None
    blocks = cut(texts[0].lines, " ".join(chosen.span.names), text.block_bytes)
    read = iter(zip(loaded, texts, strict=True))
    found = []
    for side, models in sides:
        outputs = []
        for (model, options), tokenised in (next(read) for _ in models):
            statistics = block_statistics(model, options, tokenised.tokens, blocks)
            measured = {each.measure.name: each for each in text_measured(statistics, model) if _is_chosen(each)}
            outputs.append(Outputs(model.name, [measured[name] for name in names]))
        found.append(Side(side, outputs))
    fields = [field for field in texts[0].signature.split("|") if field.startswith(("context:", "start:", "text:"))]
    return found, Units(len(blocks), "|".join([*fields, blocks.signature]), "block")


def _checked_metrics(models: Sequence[Model], metrics: Sequence[str]) -> Sequence[str]:
    """The measures of models. Raises OptionError for those of tokens if their tokens differ."""
    names = chosen_metrics(metrics, METRICS, (), "language models")
    same = len({model.tokeniser.fingerprint for model in models}) == 1
    for name in names:
        if name in OF_TOKENS and not same:
            what = f"cannot be {name} for models with different tokenisers: it is per token"
            raise OptionError("metric", what, "--metric bits_per_byte")
    return names or (METRICS[:2] if same else SAME_TEXT)


def _is_chosen(measured: Measured) -> bool:
    """Whether a measure may be chosen by its name: perplexity is that of tokens."""
    return measured.measure.unit != "word"
