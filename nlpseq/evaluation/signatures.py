"""The common part of several signatures, so that it needs to be shown only once.

A signature is fields between bars, of which the first is the score's name. Adjacent scores whose signatures start or
end alike form a family. Its pattern is their signature with a word for each part that differs:

    NAME     the score's name
    UNIT     its unit, if the signatures differ in nothing else
    DETAILS  the other fields in which they differ, which are kept for each score
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile

from nlpseq.evaluation.scores import Score

NAME, UNIT, DETAILS = "NAME", "UNIT", "DETAILS"
BAR = "|"

Fields = list[str]


@dataclass(frozen=True)
class Family:
    """Adjacent scores, the pattern of their signatures, and the details of each, empty if there are none."""

    scores: list[Score]
    pattern: str
    details: list[str]

    def signature(self, index: int) -> str:
        """The whole signature of a score, from the pattern and its details."""
        score, details = self.scores[index], self.details[index]
        words = {NAME: [score.name], f"unit:{UNIT}": [f"unit:{score.unit}"], DETAILS: [details] if details else []}
        return BAR.join(word for field in self.pattern.split(BAR) for word in words.get(field, [field]))


def families(scores: Sequence[Score]) -> list[Family]:
    """The families of scores, in order; each score is in one."""
    groups: list[list[Score]] = []
    for score in scores:
        if groups and any(_ends([_fields(other) for other in (*groups[-1], score)])):
            groups[-1].append(score)
        else:
            groups.append([score])
    return [_family(group) for group in groups]


def _fields(score: Score) -> Fields:
    return score.signature.split(BAR)[1:]


def _ends(lists: Sequence[Fields]) -> tuple[Fields, Fields]:
    """The fields that all lists start with, and of the rest the fields that all end with."""
    start = _common_start(lists)
    end = _common_start([fields[len(start) :][::-1] for fields in lists])
    return start, end[::-1]


def _common_start(lists: Sequence[Fields]) -> Fields:
    """The fields that all lists start with."""
    places = zip(*lists, strict=False)
    return [fields[0] for fields in takewhile(lambda fields: len(set(fields)) == 1, places)]


def _family(scores: list[Score]) -> Family:
    if len(scores) == 1:
        return Family(scores, scores[0].signature, [""])
    lists = [_fields(score) for score in scores]
    start, end = _ends(lists)
    details = [BAR.join(fields[len(start) : len(fields) - len(end)]) for fields in lists]
    middle = [DETAILS] if any(details) else []
    if all(text == f"unit:{score.unit}" for text, score in zip(details, scores, strict=True)):
        middle, details = [f"unit:{UNIT}"], [""] * len(scores)
    return Family(scores, BAR.join([NAME, *start, *middle, *end]), details)
