"""Scores of a translator: its translations against references, and its perplexity on the references.

BLEU (Papineni et al., 2002), chrF (Popovic, 2015) and TER (Snover et al., 2006) and their signatures come from
sacrebleu (Post, 2018), whose command prints the same numbers for the same files. Accuracy counts translations that
equal a reference. Perplexity is that of the reference's tokens, each given the source and the tokens before it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import compress
from typing import Any

from nlpseq.decoding.beam import BeamOptions
from nlpseq.decoding.ensemble import Ensemble
from nlpseq.decoding.translation import Translations
from nlpseq.errors import OptionError
from nlpseq.evaluation.reader import given_source_losses, placed
from nlpseq.evaluation.scores import Note, Score, say_nothing, token_scores
from nlpseq.models import translator
from nlpseq.models.model_file import Model
from nlpseq.models.translator import TranslatorOptions
from nlpseq.options import check, option
from nlpseq.text.tables.labelled import has_no_spaces
from nlpseq.text.tables.parallel import Pairs

LONG = 500  # sentences: a note says how many are translated
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


def bleu_score(translations: Sequence[str], references: Sequence[Sequence[str]], options: BleuOptions) -> Score:
    """BLEU of N translations against one or more lists of N references. Raises OptionError as `BleuOptions` says."""
    from sacrebleu.metrics.bleu import BLEU

    spaced = options.bleu_tokens == "space"
    try:
        metric = BLEU(tokenize="none" if spaced else options.bleu_tokens, smooth_method=options.bleu_smoothing)
    except (ImportError, RuntimeError) as error:
        what = f"{options.bleu_tokens} needs more than is installed: {str(error).strip().splitlines()[0]}"
        raise OptionError("bleu_tokens", what, "--bleu-tokens char") from None
    texts, *others = _numbered([translations, *references]) if spaced else [translations, *references]
    score = _score("bleu", metric, texts, others)
    return replace(score, signature=score.signature.replace("tok:none", f"tok:{options.bleu_tokens}"))


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


def reference_scores(
    translations: Sequence[str], references: Sequence[Sequence[str]], options: BleuOptions
) -> list[Score]:
    """BLEU, chrF, TER and accuracy of N translations against one or more lists of N references."""
    from sacrebleu.metrics.chrf import CHRF
    from sacrebleu.metrics.ter import TER

    scores = [bleu_score(translations, references, options)]
    scores += [_score(name, metric, translations, references) for name, metric in (("chrf", CHRF()), ("ter", TER()))]
    right = sum(text in group for text, *group in zip(translations, *references, strict=True))
    parts = {"right": float(right), "texts": float(len(translations))}
    signature = f"accuracy|whole-texts|refs:{len(references)}"
    return [*scores, Score("accuracy", 100 * right / max(1, len(translations)), "text", signature, parts)]


def _score(name: str, metric: Any, texts: Sequence[str], references: Sequence[Sequence[str]]) -> Score:
    score = metric.corpus_score(list(texts), [list(reference) for reference in references])
    return Score(name, float(score.score), "corpus", f"{name}|{metric.get_signature()}", _parts(score))


def _numbered(lists: Sequence[Sequence[str]]) -> list[list[str]]:
    """Replace the words between single spaces by numbers, because sacrebleu itself splits at any white space."""
    numbers: dict[str, int] = {}
    return [
        [" ".join(str(numbers.setdefault(word, len(numbers))) for word in text.split(" ")) for text in texts]
        for texts in lists
    ]


def _parts(score: object) -> dict[str, float]:
    names = ("sys_len", "ref_len", "bp", "num_edits", "ref_length")
    return {name: float(getattr(score, name)) for name in names if hasattr(score, name)}


def given_source_scores(
    model: Model, options: TranslatorOptions, sources: Sequence[str], targets: Sequence[str]
) -> list[Score]:
    """Loss and perplexity of targets given their sources; pairs that are too long for the model are left out."""
    source_ids, target_ids = (
        [translator.line_ids(model.tokeniser, text) for text in side] for side in (sources, targets)
    )
    fits = [max(map(len, pair)) <= translator.LONGEST for pair in zip(source_ids, target_ids, strict=True)]
    source_ids, target_ids = list(compress(source_ids, fits)), list(compress(target_ids, fits))
    nats = sum(given_source_losses(model.weights, options, source_ids, target_ids))
    tokens = sum(map(len, target_ids))
    tokeniser, left_out = model.tokeniser, fits.count(False)
    signature = f"tok:{tokeniser.kind}-{tokeniser.size}#{tokeniser.fingerprint}|given:source"
    return token_scores(nats, tokens, f"{signature}|left-out:{left_out}" if left_out else signature)


def translator_scores(
    models: Sequence[tuple[Model, TranslatorOptions]],
    pairs: Sequence[Pairs],
    search: BeamOptions,
    bleu: BleuOptions,
    *,
    device: str = "cpu",
    note: Note = say_nothing,
) -> list[Score]:
    """The scores of one translator or an ensemble; several lists of pairs hold several references of the same sources.

    A single model is also scored by its loss and perplexity on the first references. Raises OptionError if the search
    returns several translations of a source, and BackendError if the device is missing.
    """
    if search.n_best != 1:
        raise OptionError(
            "n_best", "is an option of `translate`: only one translation of a source is evaluated", "leave out --n-best"
        )
    sources = pairs[0].sources
    if len(sources) >= LONG:
        note(f"translating {len(sources):,} sentences")
    translations = Translations(Ensemble.of(models, device), search).translate(sources)
    if missing := sum(not best for best in translations):
        note(f"{missing} of {len(translations):,} sources are too long and have no translation")
    texts = [best[0].text if best else "" for best in translations]
    suited = suited_tokens(pairs[0].targets)
    if bleu.bleu_tokens == BleuOptions().bleu_tokens != suited and is_unspaced(pairs[0].targets):
        note(f"BLEU of such texts is usually counted with --bleu-tokens {suited}, here with {bleu.bleu_tokens}")
    scores = reference_scores(texts, [reference.targets for reference in pairs], bleu)
    if len(models) > 1:
        return scores
    ((model, options),) = models
    return [*scores, *given_source_scores(placed(model, device), options, sources, pairs[0].targets)]
