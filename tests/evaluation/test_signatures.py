"""Signatures shown once: whatever is shown, each score's whole signature can be told from it."""

from __future__ import annotations

import re

import pytest

from nlpseq.evaluation.scores import Score
from nlpseq.evaluation.signatures import families


def _scores(*signatures: str) -> list[Score]:
    units = [found[1] if (found := re.search(r"unit:([^|]*)", signature)) else "text" for signature in signatures]
    named = zip(signatures, units, strict=True)
    return [Score(signature.split("|")[0], 1.0, unit, signature, {}) for signature, unit in named]


UNITS = ("loss|unit:token|tok:x|v:1", "perplexity|unit:word|tok:x|v:1", "bits|unit:byte|tok:x|v:1")
BLEU = ("bleu|nrefs:1|tok:13a|smooth:exp|version:2", "chrf|nrefs:1|nc:6|version:2", "ter|nrefs:1|version:2")
CASES: dict[str, tuple[tuple[str, ...], list[str], list[list[str]]]] = {
    "units differ": (UNITS, ["NAME|unit:UNIT|tok:x|v:1"], [["", "", ""]]),
    "one unit": ((*UNITS[:1], "perplexity|unit:token|tok:x|v:1"), ["NAME|unit:token|tok:x|v:1"], [["", ""]]),
    "details in the middle": (BLEU, ["NAME|nrefs:1|DETAILS|version:2"], [["tok:13a|smooth:exp", "nc:6", ""]]),
    "families": (
        (*BLEU, "accuracy|whole", *UNITS),
        ["NAME|nrefs:1|DETAILS|version:2", "accuracy|whole", "NAME|unit:UNIT|tok:x|v:1"],
        [["tok:13a|smooth:exp", "nc:6", ""], [""], ["", "", ""]],
    ),
    "nothing in common": (("a|x:1", "b|y:2"), ["a|x:1", "b|y:2"], [[""], [""]]),
    "a name alone": (("a", "a"), ["a", "a"], [[""], [""]]),
    "units and more differ": (("a|unit:text|t:1|v", "b|n:2|v"), ["NAME|DETAILS|v"], [["unit:text|t:1", "n:2"]]),
    "a bar in a file's name": (("a|text:x|y|v", "b|text:x|y|v"), ["NAME|text:x|y|v"], [["", ""]]),
    "one start, and the rest of one is the end of another": (("a|x|x", "b|x"), ["NAME|x|DETAILS"], [["x", ""]]),
    "none": ((), [], []),
}


@pytest.mark.parametrize("case", CASES)
def test_what_signatures_have_in_common_is_a_pattern(case: str) -> None:
    signatures, patterns, details = CASES[case]
    found = families(_scores(*signatures))
    assert [family.pattern for family in found] == patterns
    assert [family.details for family in found] == details


@pytest.mark.parametrize("case", CASES)
def test_each_signature_can_be_told_from_pattern_and_details(case: str) -> None:
    signatures = CASES[case][0]
    found = families(_scores(*signatures))
    assert tuple(family.signature(index) for family in found for index in range(len(family.scores))) == signatures
    assert tuple(score.signature for family in found for score in family.scores) == signatures
