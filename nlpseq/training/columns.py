"""Names or numbers of a table's columns, as the command line and Python spell them."""

from __future__ import annotations

from typing import Any

from nlpseq.errors import OptionError


def read_pair_columns(names: str | None) -> tuple[str, str] | None:
    """The source's and the target's column of `SOURCE,TARGET`. Raises OptionError unless there are two names."""
    if names is None:
        return None
    source, comma, target = names.partition(",")
    if not (source and comma and target) or "," in target:
        what = f"must be two names or numbers with a comma between them, was {names!r}"
        raise OptionError("columns", what, "--columns en,de")
    return source, target


def as_columns(value: Any) -> Any:
    """Names or numbers of columns as the command line spells them: `2` and `(2, 4)` as "2" and "2,4"."""
    if isinstance(value, list | tuple):
        return ",".join(map(str, value))
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value
