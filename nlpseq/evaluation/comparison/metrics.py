"""The measures that a user may ask for by name."""

from __future__ import annotations

from collections.abc import Sequence

from nlpseq.errors import OptionError


def chosen_metrics(asked: Sequence[str], known: Sequence[str], usual: Sequence[str], plural: str) -> list[str]:
    """The names of the measures, each once; without any the usual ones.

    Raises OptionError for one that is not known for what is compared, which `plural` names.
    """
    for name in asked:
        if name not in known:
            what = f"must be one of {', '.join(known)} for {plural}, was {name!r}"
            raise OptionError("metric", what, f"--metric {known[0]}")
    return list(dict.fromkeys(asked or usual))
