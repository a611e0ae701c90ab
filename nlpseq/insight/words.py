"""Which words decided a classifier's label: numbers, colours in a terminal, and a page of HTML.

A token's weight is the gradient of a label's log-odds with respect to the token's vector, times that vector. To first
order, the log-odds would fall by this weight without the token (Simonyan et al., 2014; Shrikumar et al., 2017, compare
variants). The weight of a word is the sum over its tokens, and what its characters add to the logits of the linear
model, times the gradient of the log-odds with respect to the logits. That second sum is exact if there are two labels,
or if a text may have several.

The gradient needs torch, which is imported only for it: a second implementation in NumPy would cost more than the wait.
The weights of attention pooling, if a model has it, show how much a word was read, not for which label.
"""

from __future__ import annotations

import html
import shlex
import unicodedata
from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any, NamedTuple

import numpy as np

from nlpseq import arrays
from nlpseq.decoding.classification import LONGEST, TextClassifier
from nlpseq.errors import OptionError
from nlpseq.insight.ngrams import weigh_characters
from nlpseq.models import classifier, pooling
from nlpseq.models.classifier import ClassifierOptions
from nlpseq.models.linear import network_weights
from nlpseq.text.display import quoted
from nlpseq.text.tokenisers import Tokeniser

FOR, AGAINST = (26, 127, 55), (207, 34, 46)  # colours, red green blue
PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>nlpseq: what carried the decision</title><style>
body {{ font: 16px/1.9 "DejaVu Sans", Verdana, sans-serif; max-width: 46em; margin: 3em auto; padding: 0 1em;
  color: #1f2328; background: #ffffff; }}
h1 {{ font-size: 1.1em; }} p {{ overflow-wrap: anywhere; }} span {{ border-radius: 3px; padding: 1px 0; }}
.for {{ background: rgba(26, 127, 55, var(--weight)); }} .against {{ background: rgba(207, 34, 46, var(--weight)); }}
@media (prefers-color-scheme: dark) {{ body {{ color: #e6edf3; background: #0d1117; }} }}
</style></head><body>
<h1>{heading}</h1>
<p>{words}</p>
<p>Green speaks for the label <b>{label}</b>, red against it.</p>
</body></html>
"""


class Word(NamedTuple):
    """A word as in the text, with the space before it, its weight, and its attention weight or None."""

    text: str
    weight: float
    attention: float | None


class WordWeights(NamedTuple):
    """The words of a text, with the weight that each adds to a label's log-odds."""

    label: str
    probability: float
    words: list[Word]


def explain(classifier: TextClassifier, text: str, label: str | None = None) -> WordWeights:
    """The words that speak for a label of a text and against it, by default for the most probable label.

    Raises OptionError for a blank text, and for a label that the classifier does not have.
    """
    if label is not None and label not in classifier.labels:
        known = ", ".join(classifier.labels)
        near = get_close_matches(label, classifier.labels, 1) or classifier.labels
        raise OptionError("label", f"must be one of {known}, was {quoted(label)}", f"--label {shlex.quote(near[0])}")
    if not text.strip():
        raise OptionError("TEXT", "must not be blank", 'nlpseq inspect words "some words"')
    (decision,) = classifier.classify([text])
    label = label or decision.labels[0]
    ids = classifier.ids(text)[:LONGEST]
    model, logits = classifier.model, classifier.logits([text])[0]
    slopes = odds_slopes(logits, classifier.labels.index(label), several=classifier.several)
    weights = weigh_tokens(network_weights(model.weights), classifier.options, ids, slopes)
    words = words_of(model.tokeniser, ids.tolist(), *weights)
    if classifier.linear is not None:
        cased = classifier.cased(text)
        words = add_characters(words, cased, weigh_characters(classifier.linear, cased, slopes))
    return WordWeights(label, decision.probabilities[decision.labels.index(label)], words)


def odds_slopes(logits: np.ndarray, label: int, *, several: bool = False) -> np.ndarray:
    """The gradient [C] of a label's log-odds with respect to the logits [C].

    With `several` labels a text, the label's logit is its log-odds. Otherwise they are that logit less the logarithm of
    the sum of the others' exponentials.
    """
    slopes = np.zeros(len(logits))
    if not several:
        others = np.arange(len(logits)) != label
        slopes[others] = -arrays.softmax(logits[others].astype(np.float64))
    slopes[label] = 1
    return slopes


def weigh_tokens(
    weights: dict[str, np.ndarray],
    options: ClassifierOptions,
    ids: np.ndarray,
    slopes: np.ndarray,
) -> tuple[np.ndarray, np.ndarray | None]:
    """The weight [T] that each token of a text adds to the logits times `slopes` [C], by the network's weights.

    The second value is each token's attention weight [T], or None.
    """
    import torch

    from nlpseq.kernels.cpu.recurrence import unroll
    from nlpseq.models.embedding import embed_tokens
    from nlpseq.models.evidence import look_up
    from nlpseq.text.tokenisers import NEWLINE

    tensors = {name: torch.from_numpy(np.array(value)) for name, value in weights.items()}
    batch, lengths = torch.from_numpy(ids.astype(np.int64))[:, None], torch.tensor([len(ids)])
    recent = torch.full(((options.ngrams or 1) - 1, 1), NEWLINE)
    vectors = embed_tokens(tensors, batch, recent)
    inputs = {"shift": (torch.zeros_like(vectors, requires_grad=True), vectors)}
    if "evidence.table" in tensors:
        evidence = look_up(tensors["evidence.table"], batch, len(tensors["embedding.weight"]))
        inputs["evidence"] = (evidence.requires_grad_(), evidence.detach())
    leaves: dict[str, Any] = {name: leaf for name, (leaf, _) in inputs.items()}
    outputs = classifier.read(tensors, options, batch, lengths, run_layer=unroll, **leaves)
    logits = classifier.logits(tensors, options, outputs)[0]
    gradients = torch.autograd.grad(logits, list(leaves.values()), torch.from_numpy(slopes).to(logits.dtype))
    added = sum((slope * value).sum(-1)[:, 0] for slope, (_, value) in zip(gradients, inputs.values(), strict=True))
    attention = None
    if "attention" in options.poolings:
        attention = pooling.attention_shares(tensors, outputs)[:, 0].detach().numpy()
    return added.numpy(), attention


def words_of(tokeniser: Tokeniser, ids: Sequence[int], weights: np.ndarray, attention: np.ndarray | None) -> list[Word]:
    """The words that tokens spell, without the newlines around a text; a word's weight is the sum over its tokens."""
    words: list[Word] = []
    pending = b""  # bytes of a character that is not complete
    tokens: list[int] = []  # indices of the tokens of `pending`
    previous: int | None = ids[0]
    for index in range(1, len(ids) - 1):
        pending += tokeniser.piece(previous, ids[index])
        previous = ids[index]
        tokens.append(index)
        text = pending.decode("utf-8", "replace")
        if text.endswith("\ufffd") and len(pending) < 4 and index < len(ids) - 2:
            continue
        attention_weight = None if attention is None else float(attention[tokens].sum())
        word = Word(text, float(weights[tokens].sum()), attention_weight)
        words.append(_joined(words.pop(), word) if words and _goes_on(words[-1].text, text) else word)
        pending, tokens = b"", []
    return words


def add_characters(words: Sequence[Word], text: str, added: np.ndarray) -> list[Word]:
    """Words with what their characters add to their weights; `added` [K] is by character of the text, without spaces.

    A character that tokens do not spell (half of a pair of surrogates) counts for the one before it.
    """
    spelled = np.array([_is_spelled(character) for character in text if not character.isspace()], bool)
    sums = np.bincount(np.maximum(spelled.cumsum() - 1, 0), added)
    weighed, start = [], 0
    for word in words:
        end = start + sum(not character.isspace() and _is_spelled(character) for character in word.text)
        weighed.append(word._replace(weight=word.weight + float(sums[start:end].sum())))
        start = end
    return weighed


def _is_spelled(character: str) -> bool:
    return character != "\ufffd" and not "\ud800" <= character <= "\udfff"


def _joined(first: Word, second: Word) -> Word:
    attention = None
    if first.attention is not None and second.attention is not None:
        attention = first.attention + second.attention
    return Word(first.text + second.text, first.weight + second.weight, attention)


def _goes_on(before: str, text: str) -> bool:
    """Whether `text` belongs to the word before it: letters after letters, in scripts with spaces between words."""
    return bool(before and text) and _joins(before[-1]) and _joins(text[0])


def _joins(character: str) -> bool:
    wide = unicodedata.east_asian_width(character) in "WF"
    return not wide and (
        character.isalnum() or character in "'\u2019" or unicodedata.category(character).startswith("M")
    )


def strengths(words: Sequence[Word]) -> list[float]:
    """The words' weights divided by the largest magnitude, from -1 to 1."""
    largest = max((abs(word.weight) for word in words), default=0.0) or 1.0
    return [word.weight / largest for word in words]


def colour(words: Sequence[Word]) -> str:
    """The text for a terminal with 24-bit colour: green backgrounds speak for the label, red ones against it."""
    pieces = []
    for word, strength in zip(words, strengths(words), strict=True):
        shown = "".join(character if character.isprintable() else " " for character in word.text)
        if abs(strength) < 0.05 or not shown.strip():
            pieces.append(shown)
            continue
        space = shown[: len(shown) - len(shown.lstrip())]
        hue = FOR if strength > 0 else AGAINST
        red, green, blue = (round(255 - abs(strength) * (255 - level)) for level in hue)
        pieces.append(f"{space}\033[38;5;16;48;2;{red};{green};{blue}m{shown.lstrip()}\033[0m")
    return "".join(pieces).strip()


def to_html(words: Sequence[Word], label: str, probability: float) -> str:
    """An HTML page with the same colours."""
    spans = []
    for word, strength in zip(words, strengths(words), strict=True):
        kind = "for" if strength > 0 else "against"
        title = f"{word.weight:+.3f}" + ("" if word.attention is None else f", attention {word.attention:.1%}")
        style = f'class="{kind}" style="--weight: {abs(strength):.2f}" title="{title}"'
        spans.append(f"<span {style}>{html.escape(word.text)}</span>")
    heading = html.escape(f"{label}: {probability:.1%}")
    return PAGE.format(heading=heading, words="".join(spans), label=html.escape(label))


def to_json(words: Sequence[Word]) -> list[dict[str, Any]]:
    """Words, weights and attention weights as JSON."""
    return [
        {"word": word.text.strip(), "weight": word.weight}
        | ({} if word.attention is None else {"attention": word.attention})
        for word in words
        if word.text.strip()
    ]
