"""A test part that `--test` names: read once before the first trial, so that a mistake in it costs no trial."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nlpseq.errors import CorpusError, OptionError
from nlpseq.models.model_file import load_model
from nlpseq.tasks import CLASSIFIER, LANGUAGE_MODEL, Task
from nlpseq.text.progress import Watch
from nlpseq.text.readers.rows import is_table
from nlpseq.text.splits import CorpusSpan, measure
from nlpseq.text.tables import labelled, parallel

OTHER_TEST = "take such texts out; or --label-column NAME, if that is not the label"


def refuse_test_without_pairs(test: Sequence[str]) -> None:
    """Raises OptionError for one text file as the test part of a translator, which needs a source and a target."""
    if len(test) == 1 and not is_table(test[0]):
        raise OptionError("test", "must be a table of pairs, or two files", "--test SOURCE --test TARGET")


def check_test(task: Task, request: Any, test: Sequence[str], watch: Watch) -> None:
    """Read the test part as the last evaluation does.

    Raises CorpusError if it cannot be read, if it is empty, or if it has labels that the training texts do not have.
    """
    if task is LANGUAGE_MODEL:
        if not measure(CorpusSpan(tuple(test)), watch).characters:
            raise CorpusError(" ".join(test), "is empty: there is no text to evaluate", "--test FILE with a text in it")
    elif task is CLASSIFIER:
        labels, several = _labels(request, watch)
        texts = labelled.read_labelled(test, request.columns, watch, several=several)
        labelled.check_known(texts, labels, OTHER_TEST)
    else:
        two_files = parallel.are_two_files(test)
        columns = None if two_files else request.pair_columns
        parallel.read_parallel(test, two_files=two_files, columns=columns, keep_blank=True, watch=watch)


def _labels(request: Any, watch: Watch) -> tuple[Sequence[str], bool]:
    """The labels that a classifier will have, and whether a text may have several: a teacher's, or the corpus' own."""
    if request.teacher:
        header = load_model(Path(request.teacher[0]), CLASSIFIER.name, "--teacher").header
        return header["labels"], bool(header.get("several_labels"))
    texts = labelled.read_labelled(request.files_or(CLASSIFIER.corpus), request.columns, watch)
    return list(texts.counts), bool(texts.several)
