"""How references are cut for the BLEU that chooses a model: right translations are above zero."""

from __future__ import annotations

from pathlib import Path

import pytest

from nlpseq.decoding.beam import BeamOptions
from nlpseq.evaluation.bleu import BleuOptions, is_unspaced, suited_tokens
from nlpseq.evaluation.translation_scores import bleu_score, translator_scores
from nlpseq.models.model_file import Model
from nlpseq.models.translator import TASK, TranslatorOptions, initial_weights
from nlpseq.text.tables.parallel import Pairs
from nlpseq.text.tokenisers import ByteTokeniser


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


@pytest.mark.parametrize(
    ("text", "unspaced"),
    [
        ("die Katze 7", False),
        ("2024-01-05", False),
        ("고양이가 앉았다", False),
        ("猫坐在 GPU 上的垫子", True),
        ("猫がマットの上に座った", True),
        ("แมวนั่งบนเสื่อ", True),
    ],
)
def test_scripts_without_spaces_are_known_by_their_letters(text: str, unspaced: bool) -> None:
    assert is_unspaced([text]) is unspaced


@pytest.mark.parametrize(
    ("target", "noted"),
    [("die Katze {}", ""), ("2024-01-{}", ""), ("猫 {}", "--bleu-tokens zh"), ("ねこ {}", "--bleu-tokens char")],
)
def test_only_scripts_without_spaces_are_noted(target: str, noted: str) -> None:
    options = TranslatorOptions(hidden_size=4, embedding_size=3)
    model = Model(TASK, {}, initial_weights(options, 256, 1), ByteTokeniser(()), {}, Path())
    pairs = Pairs(["a", "b"], [target.format(7), target.format(8)])
    notes: list[str] = []
    translator_scores([(model, options)], [pairs], BeamOptions(longest=5), BleuOptions(), note=notes.append)
    told = [note for note in notes if "BLEU" in note]
    assert len(told) == bool(noted) and all(noted in note for note in told)
