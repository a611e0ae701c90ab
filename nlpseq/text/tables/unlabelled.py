"""Plain text as labelled texts: one text in each line, whose labels a classifier chooses."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice

from nlpseq.errors import CorpusError
from nlpseq.paths import is_file
from nlpseq.text.beginnings import whole_name
from nlpseq.text.progress import Watch, watched_rows
from nlpseq.text.readers.rows import PEEKED, is_table, separator, text_lines
from nlpseq.text.tables.label_tables import LabelColumns
from nlpseq.text.tables.labelled import Texts, add_labelled, check_known

AT_ONCE = 1024  # texts that are labelled together
UNKNOWN = "take such texts out: the teacher has no probability for these labels"


class LabelledByTeacher:
    """Reads tables of labelled texts, and plain texts whose labels a classifier chooses."""

    def __init__(self, label: Callable[[Sequence[str]], Sequence[str]], known: Sequence[str]) -> None:
        """`label` chooses labels, joined as `joined_labels` does if there may be several; `known` are all there are."""
        self.label, self.known = label, known
        self.labelled = 0  # texts

    def __call__(self, read: Texts, names: Sequence[str], columns: LabelColumns | None, watch: Watch) -> None:
        """Add texts, as `add_labelled` does. Raises CorpusError as it does, and for a label that is not known."""
        tables = [name for name in names if not is_plain_text(name)]
        if tables:
            add_labelled(read, tables, columns, watch)
            check_known(read, self.known, UNKNOWN)
        for name in names:
            if name not in tables:
                self._add(read, name, watch)

    def _add(self, read: Texts, name: str, watch: Watch) -> None:
        rows = watched_rows(enumerate(text_lines(name), 1), watch, "labelling")
        before = len(read)
        while numbered := list(islice(rows, AT_ONCE)):
            filled = [(number, text) for number, text in numbered if text.strip()]
            read.blank += len(numbered) - len(filled)
            for (number, text), label in zip(filled, self.label([text for _, text in filled]), strict=True):
                read.add(label, text, f"{name}:{number}")
        if len(read) == before:
            raise CorpusError(name, "there is no text in it", "a text in each line")
        self.labelled += len(read) - before


def is_plain_text(name: str) -> bool:
    """Whether a corpus is a file of texts without labels: no table, no tab in line 1, no label in the first lines."""
    if is_table(name) or not is_file(whole_name(name)):
        return False
    return not separator(list(islice(_lines(name), PEEKED)))


def _lines(name: str) -> Iterator[str]:
    """The lines of a file; none if it is a document or markup, whose reader says what is wrong."""
    try:
        yield from text_lines(name)
    except CorpusError:
        return
