"""How labelled texts write punctuation, and other texts written alike."""

from __future__ import annotations

import pytest

from nlpseq.training.pretraining.spelling import spelling_of

TREEBANK = [
    "it 's a `` great '' film , is n't it ?",
    "we -lrb- all -rrb- liked it ; they did n't .",
    "no ... yes -- maybe !",
]
CUT = ["it's a \" great \" film , isn't it ?", "we ( all ) liked it ; they didn't .", "no , no , yes : maybe !"]
USUAL = ["It's a \"great\" film, isn't it?", "We (all) liked it; they didn't.", "No... yes--maybe!"]
RAW = "It's \"very\" good (really), isn't it? So bad--or not. It cost $3.50 at 10:30."


@pytest.mark.parametrize(
    "texts, written",
    [
        (
            TREEBANK,
            "It 's `` very '' good -lrb- really -rrb- , is n't it ? So bad -- or not . It cost $3.50 at 10:30 .",
        ),
        (CUT, "It's \" very \" good ( really ) , isn't it ? So bad -- or not . It cost $3.50 at 10:30 ."),
        (USUAL, RAW),
        (["no marks at all", "nor here"], RAW),
        ([], RAW),
    ],
    ids=["treebank", "cut", "usual", "no marks", "no texts"],
)
def test_texts_are_written_as_the_labelled_ones(texts: list[str], written: str) -> None:
    assert spelling_of(texts * 10).write(RAW) == written


def test_texts_that_are_apart_already_stay_as_they_are() -> None:
    spelling = spelling_of(TREEBANK * 10)
    for text in TREEBANK:
        assert spelling.write(text) == text


def test_a_mark_that_is_seldom_apart_is_left_alone() -> None:
    mixed = ["a , b", "a, b", "c .", "c .", "c .", "c .", "c .", "c ."] * 5
    assert spelling_of(mixed).write("a, b.") == "a, b ."


def test_a_text_of_marks_only_is_no_fault() -> None:
    assert spelling_of(CUT * 10).write('..."(!)"').split()
