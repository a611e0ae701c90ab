"""Which words carried a classifier's decision: numbers, colours in a terminal, and a page of HTML.

A token's weight is the gradient of a label's log-odds by the token's vector, times that vector: to first order, by how
much the log-odds would fall without it (Simonyan et al., 2014; Shrikumar et al., 2017, compare the kinds). The weights
of a word's pieces are added up. It is the only thing here that imports torch, for a gradient costs more to write twice
than to wait for. The shares of attention pooling, where a model has it, say what was looked at, not what for.
"""

from __future__ import annotations

import html
import unicodedata
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from nlpseq.decoding.classification import LONGEST, TextClassifier
from nlpseq.errors import OptionError
from nlpseq.models import classifier, pooling
from nlpseq.models.classifier import ClassifierOptions
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
    """A word as it stands in the text, with the space before it, its weight, and what attention pooling gave it."""

    text: str
    weight: float
    attention: float | None


class WordWeights(NamedTuple):
    """The words of a text, each with what it adds to a label's log-odds."""

    label: str
    probability: float
    words: list[Word]


def explain(classifier: TextClassifier, text: str, label: str | None = None) -> WordWeights:
    """The words that speak for a label of a text and against it, by default for the most probable label.

    Raises OptionError for a blank text, and for a label that the classifier does not have.
    """
    if label is not None and label not in classifier.labels:
        known = ", ".join(classifier.labels)
        raise OptionError("label", f"must be one of {known}, was {label!r}", f"--label {classifier.labels[0]}")
    if not text.strip():
        raise OptionError("TEXT", "must not be blank", 'nlpseq inspect words "some words"')
    (decision,) = classifier.classify([text])
    label = label or decision.labels[0]
    ids = classifier.ids(text)[:LONGEST]
    model, target = classifier.model, classifier.labels.index(label)
    weights = weigh_tokens(model.weights, classifier.options, ids, target)
    probability = decision.probabilities[decision.labels.index(label)]
    return WordWeights(label, probability, words_of(model.tokeniser, ids.tolist(), *weights))


def weigh_tokens(
    weights: dict[str, np.ndarray], options: ClassifierOptions, ids: np.ndarray, label: int
) -> tuple[np.ndarray, np.ndarray | None]:
    """By how much each of a text's tokens raises a label's log-odds [T], and its share of attention [T], if any."""
    import torch

    from nlpseq.kernels.cpu.recurrence import unroll
    from nlpseq.models.embedding import embed_tokens
    from nlpseq.models.evidence import look_up
    from nlpseq.text.tokenisers import NEWLINE

    tensors = {name: torch.from_numpy(np.array(value)) for name, value in weights.items()}
    column, lengths = torch.from_numpy(ids.astype(np.int64))[:, None], torch.tensor([len(ids)])
    recent = torch.full(((options.ngrams or 1) - 1, 1), NEWLINE)
    vectors = embed_tokens(tensors, column, recent)
    inputs = {"shift": (torch.zeros_like(vectors, requires_grad=True), vectors)}
    if "evidence.table" in tensors:
        evidence = look_up(tensors["evidence.table"], column, len(tensors["embedding.weight"]))
        inputs["evidence"] = (evidence.requires_grad_(), evidence.detach())
    given: dict[str, Any] = {name: one for name, (one, _) in inputs.items()}
    outputs = classifier.read(tensors, options, column, lengths, run_layer=unroll, **given)
    logits = classifier.logits(tensors, options, outputs)[0]
    others = torch.cat([logits[:label], logits[label + 1 :]])
    gradients = torch.autograd.grad(logits[label] - others.logsumexp(0), list(given.values()))
    carried = sum((slope * value).sum(-1)[:, 0] for slope, (_, value) in zip(gradients, inputs.values(), strict=True))
    shares = None
    if "attention" in options.poolings:
        shares = pooling.attention_shares(tensors, outputs)[:, 0].detach().numpy()
    return carried.numpy(), shares


def words_of(tokeniser: Tokeniser, ids: Sequence[int], weights: np.ndarray, shares: np.ndarray | None) -> list[Word]:
    """The words that tokens spell, without the newlines around a text; weights and shares are added up."""
    found: list[Word] = []
    waiting = b""
    previous: int | None = ids[0]
    begun: list[int] = []
    for place in range(1, len(ids) - 1):
        waiting += tokeniser.piece(previous, ids[place])
        previous = ids[place]
        begun.append(place)
        text = waiting.decode("utf-8", "replace")
        if text.endswith("\ufffd") and len(waiting) < 4 and place < len(ids) - 2:
            continue  # the first bytes of a character
        share = None if shares is None else float(shares[begun].sum())
        word = Word(text, float(weights[begun].sum()), share)
        if found and _goes_on(found[-1].text, text):
            before = found.pop()
            share = None if share is None or before.attention is None else before.attention + share
            word = Word(before.text + text, before.weight + word.weight, share)
        found.append(word)
        waiting, begun = b"", []
    return found


def _goes_on(before: str, text: str) -> bool:
    """Whether `text` belongs to the word before it: letters after letters, of scripts that part words by spaces."""
    return bool(before and text) and _joins(before[-1]) and _joins(text[0])


def _joins(character: str) -> bool:
    wide = unicodedata.east_asian_width(character) in "WF"
    return not wide and (
        character.isalnum() or character in "'\u2019" or unicodedata.category(character).startswith("M")
    )


def strengths(words: Sequence[Word]) -> list[float]:
    """The words' weights beside the largest of them, from -1 to 1."""
    largest = max((abs(word.weight) for word in words), default=0.0) or 1.0
    return [word.weight / largest for word in words]


def colour(words: Sequence[Word]) -> str:
    """The text for a terminal of many colours: green backgrounds speak for the label, red ones against it."""
    parts = []
    for word, strength in zip(words, strengths(words), strict=True):
        shown = "".join(one if one.isprintable() else " " for one in word.text)
        if abs(strength) < 0.05 or not shown.strip():
            parts.append(shown)
            continue
        space = shown[: len(shown) - len(shown.lstrip())]
        red, green, blue = (round(255 - abs(strength) * (255 - one)) for one in (FOR if strength > 0 else AGAINST))
        parts.append(f"{space}\033[38;5;16;48;2;{red};{green};{blue}m{shown.lstrip()}\033[0m")
    return "".join(parts).strip()


def to_html(words: Sequence[Word], label: str, probability: float) -> str:
    """A page that shows the same."""
    spans = []
    for word, strength in zip(words, strengths(words), strict=True):
        kind = "for" if strength > 0 else "against"
        title = f"{word.weight:+.3f}" + ("" if word.attention is None else f", attention {word.attention:.1%}")
        style = f'class="{kind}" style="--weight: {abs(strength):.2f}" title="{title}"'
        spans.append(f"<span {style}>{html.escape(word.text)}</span>")
    heading = html.escape(f"{label}: {probability:.1%}")
    return PAGE.format(heading=heading, words="".join(spans), label=html.escape(label))


def to_json(words: Sequence[Word]) -> list[dict[str, Any]]:
    """Words, weights and shares as JSON."""
    return [
        {"word": word.text.strip(), "weight": word.weight}
        | ({} if word.attention is None else {"attention": word.attention})
        for word in words
        if word.text.strip()
    ]
