"""Whether translations are drawn or searched for, and the status of a line."""

from __future__ import annotations

from typing import Any

import pytest

from nlpseq.decoding.beam import BeamOptions
from nlpseq.decoding.sampling import SamplingOptions
from nlpseq.decoding.translation import Translation, translation_fields, translation_status
from nlpseq.decoding.translation_options import Drawing, TranslationOptions
from nlpseq.errors import OptionError

HOT = SamplingOptions(temperature=2.0)


def test_without_samples_translations_are_searched_for() -> None:
    assert TranslationOptions().drawing(BeamOptions(beam=3, n_best=2), SamplingOptions()) is None
    drawing = TranslationOptions(sample=3, random_seed=7).drawing(BeamOptions(), HOT)
    assert drawing == Drawing(3, HOT, 7)


@pytest.mark.parametrize(
    ("settings", "search", "sampling", "said"),
    [
        ({}, BeamOptions(), HOT, "sample: is missing"),
        ({"random_seed": 1}, BeamOptions(), SamplingOptions(), "sample: is missing"),
        ({"sample": 2}, BeamOptions(beam=4), SamplingOptions(), "sample: draws translations"),
        ({"sample": 2}, BeamOptions(n_best=2), SamplingOptions(), "sample: draws translations"),
        ({"sample": -1}, BeamOptions(), SamplingOptions(), "sample: must be at least 0"),
    ],
    ids=str,
)
def test_options_without_an_effect_are_refused(
    settings: dict[str, Any], search: BeamOptions, sampling: SamplingOptions, said: str
) -> None:
    with pytest.raises(OptionError, match=said):
        TranslationOptions(**settings).drawing(search, sampling)


def test_the_status_is_that_of_the_best_translation() -> None:
    whole, cut = Translation("a", -1.0, -0.5), Translation("b", -2.0, -0.7, cut=True)
    assert [translation_status(ranked) for ranked in ([whole, cut], [cut, whole], [])] == ["ok", "cut", "too-long"]


def test_fields_are_those_of_the_best_with_the_others() -> None:
    first, second = Translation("a\tb", -1.0, -0.5), Translation("b", -2.0, -0.7)
    assert translation_fields([first]) == {"translation": "a\tb", "log_probability": -1.0, "score": -0.5}
    assert translation_fields([first, second])["others"] == [{"text": "b", "log_probability": -2.0, "score": -0.7}]
    assert translation_fields([]) == translation_fields(None) == {"translation": None}
    assert first.as_row(4) == "4\ta b\t-1.000000\t-0.500000"
