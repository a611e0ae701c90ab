"""`--criterion bleu` in languages without spaces: the better of two models has the higher score."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from sacrebleu.metrics.bleu import BLEU

from nlpseq.training.tasks import translation
from nlpseq.training.tasks.translation import TranslationRun
from tests.training.tasks.test_translation_run import make_request

SUBJECTS = {"zh": ("我", "他", "老师", "孩子", "朋友"), "char": ("わたし", "かれ", "先生", "子ども", "友だち")}
OBJECTS = {"zh": ("茶", "水", "牛奶", "咖啡", "果汁"), "char": ("お茶", "水", "牛乳", "コーヒー", "ジュース")}
SENTENCES = {"zh": "{0}今天早上在家里喝了一杯{1}。", "char": "{0}は今朝うちで{1}を一杯飲みました。"}
LANGUAGES = pytest.mark.parametrize("tokens", ["zh", "char"], ids=["Chinese", "Japanese"])


def _pairs(tokens: str) -> list[tuple[str, str]]:
    """Two hundred pairs; the same sentence may occur again."""
    pairs = []
    for number in range(200):
        subject, drink = number % 5, number // 5 % 5
        target = SENTENCES[tokens].format(SUBJECTS[tokens][subject], OBJECTS[tokens][drink])
        pairs.append((f"person {subject} drank drink {drink} at home", target))
    return pairs


@LANGUAGES
def test_a_better_translation_has_a_higher_score_and_that_of_characters(
    tokens: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pairs = _pairs(tokens)
    path = tmp_path / "pairs.tsv"
    path.write_text("".join(f"{source}\t{target}\n" for source, target in pairs), "utf-8")
    right = dict(pairs)
    made: list[list[str]] = []

    def translate(_: object, __: object, ___: object, texts: Sequence[str]) -> list[str]:
        """First all drinks are wrong, then one of them."""
        translated = [right[text] for text in texts]
        for drink in OBJECTS[tokens] if not made else OBJECTS[tokens][3:4]:
            translated = [text.replace(drink, "x") for text in translated]
        made.append(translated)
        return translated

    monkeypatch.setattr(translation, "greedy_translations", translate)
    run = TranslationRun(make_request(tmp_path / "run", corpus=(str(path),), steps=2, validations=2, criterion="bleu"))
    records = [record for record in run.progress() if record.validation is not None]
    references = [target for _, target in pairs[-len(made[0]) :]]
    expected = [BLEU(tokenize=tokens).corpus_score(texts, [references]).score for texts in made]
    assert [record.score for record in records] == pytest.approx(expected)
    assert 20 < expected[0] < expected[1] < 100
    assert [record.best for record in records] == [True, True]
    in_words = [BLEU(tokenize="13a").corpus_score(texts, [references]).score for texts in made]
    assert in_words[0] == 0, "words would find no match"
