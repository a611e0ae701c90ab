"""How BLEU (Papineni et al., 2002) counts words: its options, and those that suit a script. BLEU is sacrebleu's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from nlpseq.errors import OptionError
from nlpseq.options import check, option
from nlpseq.text.tables.labelled import has_no_spaces

UNSPACED = (  # first and last characters of scripts without spaces between words
    ("\u0e00", "\u0eff"),  # Thai, Lao
    ("\u0f00", "\u109f"),  # Tibetan, Burmese
    ("\u1780", "\u17ff"),  # Khmer
    ("\u3040", "\u30ff"),  # kana
    ("\u3400", "\u9fff"),  # Chinese
    ("\U00020000", "\U0003ffff"),  # rare characters of Chinese
)


@dataclass(frozen=True, kw_only=True)
class BleuOptions:
    """How BLEU counts. `bleu_score` raises OptionError if the package for `bleu_tokens` is not installed."""

    bleu_tokens: str = option(
        "13a",
        "BLEU: how sacrebleu splits words; space: at single spaces only",
        choices=("13a", "intl", "zh", "ja-mecab", "ko-mecab", "char", "none", "space"),
    )
    bleu_smoothing: str = option(
        "exp", "BLEU: smoothing of n-grams without a match", choices=("exp", "floor", "add-k", "none")
    )

    def __post_init__(self) -> None:
        check(self)


def bleu_metric(options: BleuOptions, *, silent: bool = False) -> Any:
    """sacrebleu's BLEU, with `silent` without its warnings about texts. Raises OptionError as `BleuOptions` says."""
    from sacrebleu.metrics.bleu import BLEU

    spaced = options.bleu_tokens == "space"
    try:
        tokens = "none" if spaced else options.bleu_tokens
        return BLEU(tokenize=tokens, smooth_method=options.bleu_smoothing, force=silent)
    except (ImportError, RuntimeError) as error:
        what = f"{options.bleu_tokens} needs more than is installed: {str(error).strip().splitlines()[0]}"
        raise OptionError("bleu_tokens", what, "--bleu-tokens char") from None


def suited_tokens(references: Sequence[str]) -> str:
    """The value of `bleu_tokens` that suits references, so that correct translations score above zero.

    It is `zh` for Chinese. It is `char` for other scripts without spaces, and for texts so short that at least half of
    them have fewer than four words, the longest n-gram of BLEU. Else it is `13a`.
    """
    letters = [character for reference in references for character in reference if character.isalpha()]
    chinese = sum("\u3400" <= character <= "\u9fff" for character in letters)
    kana = sum("\u3040" <= character <= "\u30ff" for character in letters)
    if 2 * chinese > len(letters) and not kana:
        return "zh"
    short = sum(len(reference.split()) < 4 for reference in references)
    return "char" if kana or has_no_spaces(references) or 2 * short >= len(references) else "13a"


def is_unspaced(references: Sequence[str]) -> bool:
    """Whether most letters of texts are of a script without spaces between words."""
    letters = [character for reference in references for character in reference if character.isalpha()]
    unspaced = sum(any(first <= character <= last for first, last in UNSPACED) for character in letters)
    return 2 * unspaced > len(letters)


def spaced_words(lists: Sequence[Sequence[str]]) -> list[list[str]]:
    """Replace the words between single spaces by numbers, because sacrebleu itself splits at any white space."""
    numbers: dict[str, int] = {}
    return [
        [" ".join(str(numbers.setdefault(word, len(numbers))) for word in text.split(" ")) for text in texts]
        for texts in lists
    ]
