"""The pairs that a translator is evaluated on: those that are named, or those that its training was validated on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from nlpseq.errors import CorpusError, OptionError
from nlpseq.evaluation import training_text
from nlpseq.evaluation.scores import Note, say_nothing
from nlpseq.models.model_file import Model
from nlpseq.text.tables.pair_tables import Columns
from nlpseq.text.tables.parallel import Pairs, are_two_files, held_out_count, read_parallel, read_split


def chosen_pairs(
    model: Model,
    corpora: Sequence[str],
    source: str | None,
    targets: Sequence[str],
    columns: Columns | None,
    note: Note = say_nothing,
) -> list[Pairs]:
    """The pairs of tables, or of a source file and one or more files of references: a list for each reference.

    Without any of them the pairs are those that training was validated on. A table that has the columns of training is
    read by them, unless `columns` names others. `note` is told if the model was trained on
    the pairs. Raises OptionError for both forms or half of one, CorpusError if a file cannot be read or the numbers of
    lines differ, and ModelFileError as `recorded_pairs`.
    """
    if not corpora and source is None and not targets:
        return [recorded_pairs(model, columns, note)]
    if bool(corpora) == (source is not None) or (source is None) != (not targets):
        hint = f"{training_text.naming_a_text(model)}; or --source FILE --target FILE"
        raise OptionError("CORPUS", "must be tables of pairs, or --source and --target", hint)
    if source is None:
        pairs = [_tables(corpora, columns, _columns_of_training(model), note)]
    else:
        pairs = [read_parallel((source, target), two_files=True, keep_blank=True) for target in targets]
    if trained_on := trained_on_pairs(training_text.facts_of(model), pairs[0]):
        note(trained_on)
    return pairs


def recorded_pairs(model: Model, columns: Columns | None = None, note: Note = say_nothing) -> Pairs:
    """The pairs that the model's training was validated on, without those that have a blank side.

    `columns` replaces the columns of training; `note` is told if the pairs have changed. Raises ModelFileError if the
    model file does not name them, or if they cannot be read.
    """
    facts = training_text.validation_facts(model)
    columns = columns or _columns_of_training(model)
    try:
        if facts["valid_is"] == "given":
            pairs = read_parallel(facts["valid"], two_files=are_two_files(facts["valid"]), columns=columns)
        else:
            names = facts["corpus"]
            two_files = facts.get("two_files", are_two_files(names))  # older models do not say
            _, pairs = read_split(names, (), two_files=two_files, columns=columns)
    except CorpusError as error:
        raise training_text.unreadable(model, error) from None
    if pairs.sha256 != facts.get("valid_sha256"):
        note(training_text.changed(facts))
    return pairs


def _columns_of_training(model: Model) -> Columns | None:
    """The columns that training was told to read; None if it was told none."""
    columns = training_text.facts_of(model).get("columns")
    return None if columns is None else (columns[0], columns[1])


def _tables(corpora: Sequence[str], columns: Columns | None, former: Columns | None, note: Note) -> Pairs:
    """The pairs of tables, also with a blank side; `former` are the columns of training."""
    pairs = read_parallel(corpora, two_files=False, columns=columns, former=former, keep_blank=True)
    for sentence in pairs.notes:
        note(sentence)
    if blank := len(pairs) - len(_filled(pairs)):
        note(f"{blank:,} of {len(pairs):,} pairs have a blank side, and are counted")
    return pairs


def _filled(pairs: Pairs) -> Pairs:
    """The pairs with text on both sides, which training reads."""
    sides = zip(pairs.sources, pairs.targets, strict=True)
    kept = [(source, target) for source, target in sides if source.strip() and target.strip()]
    return Pairs([source for source, _ in kept], [target for _, target in kept])


def trained_on_pairs(facts: Mapping[str, Any], pairs: Pairs) -> str:
    """A sentence that says that the model was trained on pairs; empty if it was not, as far as hashes tell."""
    filled = _filled(pairs)
    if not filled or "sha256" not in facts:
        return ""
    if filled.sha256 == facts["sha256"]:
        return "the model was trained on these pairs: their scores are too good"
    count = held_out_count(len(filled))
    if count and filled.span(0, len(filled) - count).sha256 == facts["sha256"]:
        few = f"the last {count:,}"
        trained_on = f"the model was trained on these pairs but {few}: the scores are too good"
        return f"{trained_on}; without CORPUS only {few} are scored"
    return ""
