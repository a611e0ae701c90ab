"""Any corpus looked through as what it is: text, pairs or labelled texts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from nlpseq.errors import CorpusError, OptionError
from nlpseq.text.bundled import BUNDLED, Kind
from nlpseq.text.checks.finding import Finding
from nlpseq.text.checks.labels import check_labelled
from nlpseq.text.checks.pairs import check_pairs
from nlpseq.text.checks.text import check_text
from nlpseq.text.compression import format_suffix
from nlpseq.text.readers.rows import FORMATS, open_table
from nlpseq.text.tables.columns import is_named
from nlpseq.text.tables.label_tables import LABELS, LabelColumns
from nlpseq.text.tables.pair_tables import PAIRS, Columns

NO_COLUMNS = LabelColumns()


def corpus_kind(name: str) -> Kind:
    """What a corpus is, by its format and its header; a table whose header does not say is text."""
    path = Path(name)
    if name in BUNDLED and not path.is_file():
        return BUNDLED[name].kind
    if not path.is_dir() and not (path.is_file() and format_suffix(name) in FORMATS):
        return "text"
    try:
        if is_named(open_table(name), LABELS):
            return "labels"
        return "pairs" if is_named(open_table(name), PAIRS) else "text"
    except CorpusError:
        table_format = FORMATS.get(format_suffix(name))
        return "pairs" if table_format and not table_format.text_command else "text"


def check_corpus(
    name: str,
    kind: Kind | None = None,
    *,
    columns: Columns | None = None,
    label_columns: LabelColumns = NO_COLUMNS,
    against: Sequence[str] = (),
) -> list[Finding]:
    """Look a corpus through as what it is; None: as what its format and its header say, or the columns named.

    `against` is the test side, which is looked for in it. Raises CorpusError if the corpus does not exist or `against`
    cannot be read, OptionError for columns of both kinds, or of text, and for more than one text against a text.
    """
    if columns and any(label_columns):
        raise OptionError("columns", "is for pairs, and label columns are for labelled texts", "name one kind")
    kind = kind or ("labels" if any(label_columns) else "pairs" if columns else corpus_kind(name))
    if kind == "labels":
        if columns:
            raise OptionError("columns", "is for pairs, not for texts with labels", "--label-column NAME")
        return check_labelled((name,), columns=label_columns, against=against)
    if any(label_columns):
        raise OptionError("label_column", f"is for texts with labels, not for {kind}", "leave it out")
    if kind == "pairs":
        return check_pairs((name,), two_files=False, columns=columns, against=against)
    if len(against) > 1:
        raise OptionError("against", f"is one text for a text, was {len(against)}", "--pairs, for parallel text")
    return check_text(name, against[0] if against else None)


def check_two_files(source: str, target: str, *, against: Sequence[str] = ()) -> Iterator[tuple[str, list[Finding]]]:
    """Look two files in step through: the faults of each as a text, and if there are none, their pairs.

    Raises CorpusError if a file does not exist or `against` cannot be read.
    """
    sound = True
    for name in (source, target):
        faults = [finding for finding in check_text(name) if finding.level == "fault"]
        sound = sound and not faults
        yield name, faults
    if sound:
        yield f"{source} {target}", check_pairs((source, target), two_files=True, against=against)
