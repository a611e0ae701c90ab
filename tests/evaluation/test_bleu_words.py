"""How references are cut for the BLEU that chooses a model: right translations are above zero."""

from __future__ import annotations

import pytest

from nlpseq.evaluation.translation_scores import BleuOptions, bleu_score, suited_tokens


@pytest.mark.parametrize(
    ("references", "tokens"),
    [
        (["the cat sat on the mat", "a dog lay by the door"], "13a"),
        (["the cat sat on the mat", "a dog lay by the door", "yes"], "13a"),
        (["猫坐在垫子上", "狗躺在门边。"], "zh"),
        (["GPU 上的 模型 很 快"], "zh"),
        (["猫がマットの上に座った"], "char"),
        (["แมวนั่งบนเสื่อผืนใหม่ของบ้าน"], "char"),
        (["house", "tree", "two words"], "char"),
        (["2024-01-05", "1999-12-31"], "char"),
    ],
)
def test_right_translations_are_above_zero(references: list[str], tokens: str) -> None:
    assert suited_tokens(references) == tokens
    assert bleu_score(references, [references], BleuOptions(bleu_tokens=tokens)).value == pytest.approx(100)
