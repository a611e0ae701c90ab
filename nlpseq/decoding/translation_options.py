"""How each line is translated: searched for or drawn, and what becomes of unknown words."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import NamedTuple

from nlpseq.decoding.beam import BeamOptions
from nlpseq.decoding.sampling import SamplingOptions
from nlpseq.errors import OptionError
from nlpseq.options import check, option


class Drawing(NamedTuple):
    """Drawing of translations, instead of a search: their number for each line, and the sampling options."""

    samples: int
    options: SamplingOptions
    random_seed: int


@dataclass(frozen=True, kw_only=True)
class TranslationOptions:
    """How each line is translated."""

    sample: int = option(0, "draw N translations of each line; 0: search for the best", minimum=0)
    random_seed: int | None = option(
        None, "seed of the random draws; the same seed gives the same translations [default: by chance]", minimum=0
    )
    replace_unknown: bool = option(
        False, "copy words without a token from the source, where attention looks", switch=True
    )

    def __post_init__(self) -> None:
        check(self)

    def drawing(self, search: BeamOptions, sampling: SamplingOptions) -> Drawing | None:
        """How translations are drawn, or None if they are searched for.

        Raises OptionError for options without an effect: sampling options in a search, or the reverse.
        """
        if not self.sample:
            if sampling != SamplingOptions() or self.random_seed is not None:
                raise OptionError("sample", "is missing, so nothing is drawn", "--sample 1")
            return None
        if (search.beam, search.n_best) != (BeamOptions().beam, 1):
            what = "draws translations, but a beam searches for them: choose one of the two"
            raise OptionError("sample", what, f"--sample {self.sample}")
        seed = int.from_bytes(os.urandom(4), "big") if self.random_seed is None else self.random_seed
        return Drawing(self.sample, sampling, seed)
