"""The statistics of translations: what BLEU, chrF, TER and accuracy are computed from, line by line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from nlpseq.evaluation.bleu import BleuOptions, bleu_metric, spaced_words
from nlpseq.evaluation.comparison.measures import ACCURACY, Measured, each_counted, library_measured

OUTPUT_METRICS = ("bleu", "chrf", "ter", "accuracy")
USUAL = OUTPUT_METRICS[:2]


def translation_measured(
    texts: Sequence[str], references: Sequence[Sequence[str]], names: Sequence[str], bleu: BleuOptions
) -> dict[str, Measured]:
    """The measures with these names of N translations against one or more lists of N references.

    Raises OptionError as `BleuOptions` says.
    """
    measured = {
        name: library_measured(name, _metric(name), texts, references) for name in names if name in ("chrf", "ter")
    }
    if "bleu" in names:
        lists = spaced_words([texts, *references]) if bleu.bleu_tokens == "space" else [texts, *references]
        found = library_measured("bleu", bleu_metric(bleu, silent=True), lists[0], lists[1:])
        signature = found.signature.replace("tok:none", f"tok:{bleu.bleu_tokens}")
        measured["bleu"] = replace(found, signature=signature)
    if "accuracy" in names:
        right = [text in group for text, *group in zip(texts, *references, strict=True)]
        measured["accuracy"] = Measured(ACCURACY, each_counted(right), f"whole-texts|refs:{len(references)}")
    return measured


def _metric(name: str) -> Any:
    from sacrebleu.metrics.chrf import CHRF
    from sacrebleu.metrics.ter import TER

    return {"chrf": CHRF, "ter": TER}[name]()
