"""Checks any corpus as text, pairs or labelled texts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from nlpseq.errors import CorpusError, OptionError
from nlpseq.paths import exists, is_file
from nlpseq.text.beginnings import whole_name
from nlpseq.text.bundled import BUNDLED, Kind
from nlpseq.text.checks.finding import Finding
from nlpseq.text.checks.labels import check_labelled
from nlpseq.text.checks.pairs import check_pairs
from nlpseq.text.checks.text import check_text
from nlpseq.text.compression import format_suffix
from nlpseq.text.formats import can_read_again, need_source
from nlpseq.text.progress import Watch, unwatched
from nlpseq.text.readers import FORMATS
from nlpseq.text.readers.rows import open_table
from nlpseq.text.tables.columns import is_named
from nlpseq.text.tables.label_tables import LABELS, LabelColumns
from nlpseq.text.tables.pair_tables import PAIRS, Columns

NO_COLUMNS = LabelColumns()


def corpus_kind(name: str) -> Kind:
    """The kind of a corpus, by its format and its header; a table in text form with an unknown header is text.

    A pipe is not looked into, because it can be read only once: it is text.
    """
    name = whole_name(name)
    if name in BUNDLED and not is_file(name):
        return BUNDLED[name].kind
    if not exists(name) or not can_read_again(name):
        return "text"
    table_format = FORMATS.get(format_suffix(name))
    try:
        if is_named(open_table(name), LABELS):
            return "labels"
        if is_named(open_table(name), PAIRS):
            return "pairs"
    except CorpusError:  # the table cannot be read, which the check finds again
        return "pairs" if table_format else "text"
    return "pairs" if table_format and not table_format.is_text else "text"


def check_corpus(
    name: str,
    kind: Kind | None = None,
    *,
    columns: Columns | None = None,
    label_columns: LabelColumns = NO_COLUMNS,
    against: Sequence[str] = (),
    watch: Watch = unwatched,
) -> list[Finding]:
    """Check a corpus as its `kind`; None: by the columns named, or by its format and its header.

    Texts of `against`, such as a test set, are looked for in it. `watch` is told how far the reading is. Raises
    CorpusError if the corpus does not exist or `against` cannot be read, and OptionError for columns of both kinds, for
    columns of a text, and for more than one text against a text.
    """
    if columns and any(label_columns):
        raise OptionError("columns", "is for pairs, but label columns are for labelled texts", "name one kind")
    kind = kind or ("labels" if any(label_columns) else "pairs" if columns else corpus_kind(name))
    if kind == "labels":
        if columns:
            raise OptionError("columns", "is for pairs, not for texts with labels", "--label-column NAME")
        return check_labelled((name,), columns=label_columns, against=against, watch=watch)
    if any(label_columns):
        raise OptionError("label_column", f"is for texts with labels, not for {kind}", "leave it out")
    if kind == "pairs":
        return check_pairs((name,), two_files=False, columns=columns, against=against, watch=watch)
    if len(against) > 1:
        raise OptionError("against", f"is one text for a text, was {len(against)}", "--pairs, for parallel text")
    return check_text(name, against[0] if against else None, watch)


def check_two_files(
    source: str, target: str, *, against: Sequence[str] = (), watch: Watch = unwatched
) -> Iterator[tuple[str, list[Finding]]]:
    """Check two files of parallel lines: each file as a text, and if both have no faults, their pairs.

    Raises CorpusError if a file does not exist or is a pipe, or if `against` cannot be read.
    """
    for name in (source, target):
        need_source(name)
    faultless = True
    for name in (source, target):
        faults = [finding for finding in check_text(name, watch=watch) if finding.level == "fault"]
        faultless = faultless and not faults
        yield name, faults
    if faultless:
        yield f"{source} {target}", check_pairs((source, target), two_files=True, against=against, watch=watch)


def check_corpora(
    names: Sequence[str],
    files: tuple[str, str] | None = None,
    *,
    kind: Kind | None = None,
    columns: Columns | None = None,
    label_columns: LabelColumns = NO_COLUMNS,
    against: Sequence[str] = (),
    watch: Watch = unwatched,
) -> Iterator[tuple[str, list[Finding]]]:
    """Check corpora, or two files of parallel lines: each name with its findings, as they are found.

    Raises OptionError unless exactly one of `names` and `files` is given, and as `check_corpus` and `check_two_files`.
    """
    if bool(names) == (files is not None):
        hint = f"nlpseq corpus check {'--labels ' * (kind == 'labels')}FILE"
        raise OptionError("CORPUS", "must be corpora, or --source and --target", hint)
    if files is None:
        return (
            (name, check_corpus(name, kind, columns=columns, label_columns=label_columns, against=against, watch=watch))
            for name in names
        )
    if kind == "labels" or columns or any(label_columns):
        raise OptionError("source", "is for two files, which have no columns and no labels", "name a table as CORPUS")
    return check_two_files(*files, against=against, watch=watch)
