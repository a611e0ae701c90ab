"""fastText's lines, `__label__good and the text`, and folders with a folder for each label.

A line with several labels has a list of them in its cell `label`. A line without one has an error there, which is
raised where a text must have a label.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from nlpseq.errors import CorpusError
from nlpseq.paths import is_file, is_folder
from nlpseq.text.compression import show_line
from nlpseq.text.display import quoted
from nlpseq.text.formats import read_text
from nlpseq.text.readers.table import Row, Rows

PREFIX = "__label__"

_LABEL = re.compile(rf"(?:^|(?<=[ \t])){PREFIX}[^ \t]*")


def fasttext_rows(name: str, lines: Iterable[str]) -> Rows:
    """The labels and the text of each line."""
    for number, line in enumerate(lines, 1):
        where = f"{name}:{number}"
        if not line.strip():
            yield Row(where, {})
            continue
        text, labels = line, list[str]()
        for label in reversed(list(_LABEL.finditer(line))):  # from the end, so that earlier positions stay right
            before, after = text[: label.start()], text[label.end() :]
            text = before + after[1:] if after else before[:-1]
            labels.insert(0, label[0].removeprefix(PREFIX))
        found = labels[0] if len(labels) == 1 else labels or _without_label(name, number, line)
        yield Row(where, {"label": found, "text": text})


def _without_label(name: str, number: int, line: str) -> CorpusError:
    what = f"it must start with a label, as in `{PREFIX}good`, but starts with {quoted(line[:30])}"
    return CorpusError(f"{name}:{number}", what, show_line(name, number))


def folder_rows(name: str) -> Rows:
    """A text from each file of each folder in a folder, in the order of names. Raises CorpusError without folders."""
    folder = Path(name)
    labels = [entry for entry in _entries(folder) if is_folder(entry)]
    if not labels:
        raise CorpusError(name, "it must have a folder for each label, but has none", f"{folder}/good/1.txt")
    for label in labels:
        for file in filter(is_file, _entries(label)):
            text = "" if not file.stat().st_size else "".join(read_text(file))
            yield Row(str(file), {"label": label.name, "text": text.strip()})


def _entries(folder: Path) -> list[Path]:
    """What is in a folder and not hidden, in the order of names. Raises CorpusError if it cannot be read."""
    try:
        return sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    except OSError as error:
        raise CorpusError(str(folder), f"it cannot be read: {error.strerror or error}") from None
