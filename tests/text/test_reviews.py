"""The bundled reviews: the grammar makes them, and neither fillers nor single words give their labels away."""

from __future__ import annotations

import importlib.util
import sys
from collections import Counter, defaultdict
from pathlib import Path
from types import ModuleType

import pytest

FOLDER = Path(__file__).parents[2] / "corpora/reviews"


@pytest.fixture(scope="module")
def grammar() -> ModuleType:
    spec = importlib.util.spec_from_file_location("review_grammar", FOLDER / "grammar.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["review_grammar"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def made(grammar: ModuleType) -> list:
    return grammar.reviews()


@pytest.fixture(scope="module")
def lines() -> list[list[str]]:
    return [line.split("\t") for line in (FOLDER / "reviews.tsv").read_text(encoding="utf-8").splitlines()]


def test_the_file_is_what_the_grammar_makes(made: list, lines: list[list[str]]) -> None:
    assert lines == [["label", "text"]] + [[one.label, one.text] for one in made]


def test_labels_are_balanced_and_texts_differ(lines: list[list[str]]) -> None:
    assert lines[0] == ["label", "text"] and len(lines) > 4000
    labels = Counter(label for label, _ in lines[1:])
    assert set(labels) == {"negative", "positive"}
    assert abs(labels["negative"] - labels["positive"]) <= 0.02 * len(lines)
    texts = {text.lower().rstrip(".!") for _, text in lines[1:]}
    assert len(texts) == len(lines) - 1
    assert all(1 <= len(text.split()) <= 35 and text == text.strip() for _, text in lines[1:])


def test_only_brief_reviews_are_of_a_few_words(made: list) -> None:
    brief = [one for one in made if one.kind == "brief"]
    assert 0.08 * len(made) < len(brief) < 0.12 * len(made)
    assert all(len(one.text.split()) <= 9 for one in brief)
    assert all(len(one.text.split()) >= 5 for one in made if one.kind != "brief")


def test_kinds_topics_and_openers_are_equally_frequent_under_both_labels(grammar: ModuleType, made: list) -> None:
    for trait in ("kind", "topic"):
        counts = Counter((getattr(one, trait), one.label) for one in made)
        assert all(counts[value, "negative"] == counts[value, "positive"] for value, _ in counts)
    kinds = Counter((one.kind, one.label) for one in made)
    assert len(kinds) == 2 * len(grammar.KINDS)
    assert all(kinds[kind, label] >= 100 for kind in ("negation", "contrast", "irony") for label in grammar.LABELS)
    openers = {opener.lower() for topic in grammar.TOPICS for opener in topic.openers} | {
        opener.lower() for opener in grammar.PHRASES["openers"]
    }
    starts = Counter(
        (one.text.replace("'m ", " am ").replace("don't", "do not").lower().partition(".")[0], one.label)
        for one in made
    )
    assert all(abs(starts[one, "negative"] - starts[one, "positive"]) <= 2 for one in openers)


def test_the_same_words_stand_under_both_labels(grammar: ModuleType, made: list) -> None:
    used = defaultdict(set)
    for one in made:
        for word in one.text.lower().replace("?", " ").replace(".", " ").replace(",", " ").split():
            used[word].add(one.label)
    words = grammar.PHRASES["words positive"] + grammar.PHRASES["words negative"]
    aspects = [aspect for topic in grammar.TOPICS for aspect in topic.aspects]
    words += [one for aspect in aspects for label in grammar.LABELS for one in aspect.adjectives[label]]
    assert sum(len(used[word]) == 2 for word in words) > 0.95 * len(words)


def test_the_inventory_is_rich_enough(grammar: ModuleType) -> None:
    assert len(grammar.TOPICS) >= 14
    for topic in grammar.TOPICS:
        assert len(topic.aspects) >= 6 and len({aspect.name for aspect in topic.aspects}) == len(topic.aspects)
        for label in grammar.LABELS:
            assert len(topic.stories[label]) >= 4 and len(topic.nouns[label]) >= 4
            assert all(len(aspect.adjectives[label]) >= 3 for aspect in topic.aspects)
            assert all(len(aspect.predicates[label]) >= 2 for aspect in topic.aspects)


def test_verbs_agree_with_the_aspect_and_its_tense(grammar: ModuleType) -> None:
    topics = {topic.name: topic for topic in grammar.TOPICS}
    for name, aspect, expected in [
        ("film", "plot", "the plot was"),
        ("hotel", "beds", "the beds were"),
        ("kettle", "lid", "the lid is"),
        ("shoes", "laces", "the laces are"),
    ]:
        found = next(one for one in topics[name].aspects if one.name == aspect)
        assert "{a} {be}".format(**topics[name].gaps(found, "")) == expected


@pytest.mark.parametrize(
    ("typing", "contracted", "expected"),
    [
        ("neat", False, "This is so. I cannot say more. 4/5"),
        ("small", True, "this is so. i can't say more. 4/5"),
        ("open", False, "This is so. I cannot say more 4/5"),
        ("loud", True, "This is so. I can't say more!! 4/5"),
        ("dots", False, "This is so... I cannot say more. 4/5"),
    ],
)
def test_typing(grammar: ModuleType, typing: str, contracted: bool, expected: str) -> None:
    frame = grammar.Frame("this is so", "", contracted, 1, typing)
    assert frame.text(["I cannot say more"], "positive") == expected
