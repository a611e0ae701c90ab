"""The bundled pairs: the grammar makes them, and its German is German."""

from __future__ import annotations

import importlib.util
import random
import sys
from collections import defaultdict
from pathlib import Path
from types import ModuleType

import pytest

from nlpseq.text.tables.parallel import read_parallel

GRAMMAR = Path(__file__).parents[2] / "corpora/english-german/grammar.py"


@pytest.fixture(scope="module")
def grammar() -> ModuleType:
    spec = importlib.util.spec_from_file_location("grammar", GRAMMAR)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["grammar"] = module
    spec.loader.exec_module(module)
    return module


def test_the_file_is_what_the_grammar_makes(grammar: ModuleType) -> None:
    found = read_parallel(["english-german"], two_files=False)
    assert list(zip(found.sources, found.targets, strict=True)) == grammar.pairs()
    assert len(found) >= 8000 and len(set(found.sources)) == len(found) and not found.blank


@pytest.mark.parametrize(
    ("kind", "place", "article", "adjective", "plural", "expected"),
    [
        ("animal", 0, "der", "alt", False, ("der alte Hund", "den alten Hund", "dem alten Hund")),
        ("animal", 1, "ein", "klein", False, ("eine kleine Katze", "eine kleine Katze", "einer kleinen Katze")),
        ("animal", 2, "ein", "groß", False, ("ein großes Pferd", "ein großes Pferd", "einem großen Pferd")),
        ("thing", 0, "dies", "neu", False, ("dieses neue Buch", "dieses neue Buch", "diesem neuen Buch")),
        ("thing", 1, "mein", "rot", True, ("meine roten Briefe", "meine roten Briefe", "meinen roten Briefen")),
        ("food", 0, "", "teuer", True, ("teure Äpfel", "teure Äpfel", "teuren Äpfeln")),
        ("person", 1, "", "müde", True, ("müde Frauen", "müde Frauen", "müden Frauen")),
        ("food", 0, "kein", "", False, ("kein Apfel", "keinen Apfel", "keinem Apfel")),
    ],
)
def test_noun_phrases_are_declined(
    grammar: ModuleType, kind: str, place: int, article: str, adjective: str, plural: bool, expected: tuple[str, ...]
) -> None:
    noun = grammar.NOUNS[kind][place]
    assert tuple(grammar.decline(noun, article, adjective, plural, case) for case in ("nom", "acc", "dat")) == expected


def test_verbs_stand_where_german_wants_them(grammar: ModuleType) -> None:
    verb = next(one for one in grammar.VERBS if one.english == "follow")
    child = grammar.Phrase("the child", "the child", {"nom": "das Kind", "acc": "das Kind", "dat": "dem Kind"}, "he")
    clause = grammar.Clause(
        grammar.pronoun_phrase("you"),
        verb,
        "past",
        None,
        child,
        ("yesterday", "gestern"),
        ("in the forest", "im Wald"),
        True,
    )
    assert clause.english() == "you did not follow the child in the forest yesterday"
    assert clause.german() == "du bist gestern dem Kind nicht im Wald gefolgt"
    assert clause.german(front=True) == "gestern bist du dem Kind nicht im Wald gefolgt"
    assert clause.german(question=True) == "bist du gestern dem Kind nicht im Wald gefolgt"
    assert clause.german(last=True) == "du gestern dem Kind nicht im Wald gefolgt bist"


def test_an_english_sentence_has_one_german_one(grammar: ModuleType) -> None:
    draw, found = random.Random(5), defaultdict(set)
    for _ in range(60_000):
        english, german = grammar.sentence(draw)
        found[english].add(german)
    assert not {english: sides for english, sides in found.items() if len(sides) > 1}
