"""How texts write punctuation: attached to words, as in `it's good.`, or apart, as in `it 's good .`.

Many labelled corpora are kept as a tokeniser for English has cut them, and texts without labels seldom are. A language
model that knows the commonest tokens in another spelling knows less of the labelled texts. So each mark is looked for
in the labelled texts, and where it stands apart there, it is set apart in the other texts. Marks are never joined, and
nothing is changed if the labelled texts are written as usual.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import cycle, islice

SAMPLE = 20_000  # texts that are looked at
ENOUGH = 5  # occurrences of a mark; a rarer one is written as the others of its kind
MOSTLY = 4  # how many times as often a mark is apart as attached, at least, if it stands apart

PUNCTUATION = (".", "...", ",", ";", ":", "!", "?", "(", ")", '"', "--")
ENDINGS = ("n't", "'s", "'re", "'ve", "'ll", "'d", "'m")
BRACKETS = {"(": "-lrb-", ")": "-rrb-"}  # names of brackets in treebanks

_MARKS = r"\.\.\.|--|[.,;:!?()\"]|n't|'(?:s|re|ve|ll|d|m)"
_APART = re.compile(rf"(?<!\S)({_MARKS})(?!\S)", re.IGNORECASE)
_CLOSING = re.compile(r"""(?<=\S)(\.\.\.|(?<!\.)\.(?!\.)|[,;:!?)"])(?=[\s.,;:!?)"']|$)""")
_OPENING = re.compile(r"""(?<![\w.,;:!?)])([("])(?=[^\s)])""")
_ENDING = re.compile(r"(?<=[a-z])(n't|'(?:s|re|ve|ll|d|m))(?!\w)", re.IGNORECASE)
_DASH = re.compile(r"(?<=\w)(--)(?=\w)")
_QUOTE = re.compile(r'(?<!\S)"(?!\S)')


@dataclass(frozen=True)
class Spelling:
    """The marks that stand apart from words."""

    apart: frozenset[str] = frozenset()
    names_brackets: bool = False  # -lrb- and -rrb- in place of ( and )
    two_quotes: bool = False  # `` and '' in place of "

    def write(self, text: str) -> str:
        """A text in this spelling, with single spaces; unchanged if no mark stands apart."""
        if not self.apart:
            return text
        text = _ENDING.sub(lambda match: self._spaced(match, " {}"), text)
        text = _OPENING.sub(lambda match: self._spaced(match, "{} "), text)
        text = _CLOSING.sub(lambda match: self._spaced(match, " {}"), text)
        text = _DASH.sub(lambda match: self._spaced(match, " {} "), text)
        if self.two_quotes:
            quotes = cycle(("``", "''"))
            text = _QUOTE.sub(lambda match: next(quotes), text)
        words = text.split()
        return " ".join([BRACKETS.get(word, word) for word in words] if self.names_brackets else words)

    def _spaced(self, match: re.Match[str], form: str) -> str:
        return form.format(match[1]) if match[1].lower() in self.apart else match[1]


def spelling_of(texts: Iterable[str]) -> Spelling:
    """The spelling of texts, as the first SAMPLE of them show it."""
    apart, attached, words = Counter[str](), Counter[str](), Counter[str]()
    for text in islice(texts, SAMPLE):
        apart.update(mark.lower() for mark in _APART.findall(text))
        for pattern in (_CLOSING, _OPENING, _ENDING, _DASH):
            attached.update(mark.lower() for mark in pattern.findall(text))
        words.update(word for word in text.lower().split() if word in ("-lrb-", "-rrb-", "``", "''"))
    for bracket, name in BRACKETS.items():
        apart[bracket] += words[name]
    apart['"'] += words["``"] + words["''"]
    marks = {mark for kind in (PUNCTUATION, ENDINGS) for mark in _apart_of(kind, apart, attached)}
    return Spelling(frozenset(marks), words["-lrb-"] > 0, words["``"] > 0)


def _apart_of(kind: tuple[str, ...], apart: Counter[str], attached: Counter[str]) -> set[str]:
    """The marks of a kind that stand apart; rare ones do if all of the kind together do."""

    def stand_apart(marks: tuple[str, ...]) -> bool:
        return sum(apart[mark] for mark in marks) >= MOSTLY * max(1, sum(attached[mark] for mark in marks))

    of_all = stand_apart(kind) and sum(apart[mark] for mark in kind) >= ENOUGH
    return {mark for mark in kind if (stand_apart((mark,)) if apart[mark] + attached[mark] >= ENOUGH else of_all)}
