"""The baselines of a translator: each source itself, and the target of the training source that is nearest to it.

Both are scored as the translations of a model are. At most MOST_PAIRS training pairs are searched, in memory.
"""

from __future__ import annotations

from collections.abc import Sequence

from nlpseq import __version__
from nlpseq.errors import CorpusError
from nlpseq.evaluation import training_text
from nlpseq.evaluation.bleu import BleuOptions
from nlpseq.evaluation.floors.baseline import Baseline
from nlpseq.evaluation.floors.nearest import NearestText
from nlpseq.evaluation.scores import Note, say_nothing
from nlpseq.evaluation.translation_scores import reference_scores
from nlpseq.models.model_file import Model
from nlpseq.text.signature import short_names
from nlpseq.text.tables.parallel import Pairs, are_two_files, read_parallel, read_split

COPY, NEAREST = "copied-source", "nearest-source"
MOST_PAIRS = 1 << 20


def translation_baselines(
    model: Model, pairs: Sequence[Pairs], bleu: BleuOptions, note: Note = say_nothing, most: int = MOST_PAIRS
) -> list[Baseline]:
    """The scores of copied sources and of the nearest sources' targets on pairs; several lists hold more references.

    `note` is told if there are more than `most` training pairs. Raises ModelFileError if these are unknown, cannot be
    read or have changed.
    """
    train = training_pairs(model)
    name = f"{short_names(training_text.facts_of(model)['corpus'])}#{train.sha256[:8]}"
    if len(train) > most:
        note(f"the nearest source is sought in the first {most:,} of {len(train):,} training pairs")
        train = train.span(0, most)
    nearest, sources = NearestText(train.sources), pairs[0].sources
    found = [nearest.index(source) for source in sources]
    targets = ["" if index is None else train.targets[index] for index in found]
    references = [reference.targets for reference in pairs]
    signature = f"{NEAREST}|by:tf-idf-cosine|words:1-2|pairs:{len(train)}|trained-on:{name}|version:{__version__}"
    return [
        Baseline(COPY, f"{COPY}|version:{__version__}", reference_scores(sources, references, bleu)),
        Baseline(NEAREST, signature, reference_scores(targets, references, bleu)),
    ]


def training_pairs(model: Model) -> Pairs:
    """The pairs that a model was trained on. Raises ModelFileError as above."""
    facts = training_text.training_facts(model)
    names, columns = facts["corpus"], facts.get("columns")
    options = {
        "two_files": facts.get("two_files", are_two_files(names)),  # older models do not say
        "columns": None if columns is None else (columns[0], columns[1]),
    }
    try:
        pairs = (
            read_parallel(names, **options) if facts.get("valid_is") == "given" else read_split(names, (), **options)[0]
        )
    except CorpusError as error:
        raise training_text.unreadable(model, error, training_text.WITHOUT_BASELINE) from None
    if pairs.sha256 != facts["sha256"]:
        raise training_text.has_changed(model, "pairs have")
    return pairs
