"""Small tables that real tools write: each is read right, or refused with a hint, by training and by the check."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from nlpseq.errors import CorpusError
from nlpseq.text.checks.corpus import check_corpus, check_two_files
from nlpseq.text.checks.finding import Finding
from nlpseq.text.tables.label_tables import LabelColumns
from nlpseq.text.tables.labelled import read_labelled
from nlpseq.text.tables.parallel import read_parallel

TABLES = (Path(__file__).parents[3] / "../shared/data/tables_made").resolve()

pytestmark = pytest.mark.skipif(not TABLES.is_dir(), reason="shared/data/tables_made is not there")

WORDS = "one house", "ein Haus"
TWO_WORDS = "two houses", "zwei Haeuser"
LANGUAGES = "source: column `en`, target: column `de`"
QUOTED = "its cells are quoted as in CSV: the quotation marks do not belong to the texts"
SEMICOLONS = "its cells are separated by semicolons"
LABELS = LabelColumns("1", "2")

PAIRS: list[tuple[str, Any, list[tuple[str, str]], int, list[str]]] = [
    (
        "inline.tmx",
        None,
        [
            ("Click OK to go on.", "Klicken Sie auf OK, um weiterzumachen."),
            ("See page of the book.", "Siehe Seite des Buchs."),
            ("A kept word", "Ein behaltenes Wort"),
            ("Old code", "Alter Code"),
            ("Note a footnote here", "Hinweis eine Fussnote hier"),
        ],
        0,
        ["source: en-us, target: de-de"],
    ),
    ("order.tmx", None, [WORDS, TWO_WORDS], 1, ["source: en, target: de; its texts in fr are left out"]),
    (
        "order.tmx",
        ("de", "en"),
        [WORDS[::-1], TWO_WORDS[::-1]],
        1,
        ["source: de, target: en; its texts in fr are left out"],
    ),
    ("underscore.tmx", ("en", "pt"), [("one house", "uma casa")], 0, ["source: en, target: pt"]),
    ("underscore.tmx", ("en-US", "pt_br"), [("one house", "uma casa")], 0, ["source: en-us, target: pt-br"]),
    ("namespace.tmx", None, [WORDS], 0, ["source: en, target: de"]),
    ("latin2.tmx", None, [("yellow horse", "żółty koń")], 0, ["source: en, target: pl"]),
    ("koi8.po", None, [("yes", "да")], 0, []),
    ("keyorder.jsonl", None, [WORDS, TWO_WORDS], 0, [LANGUAGES]),
    ("keyorder_translation.jsonl", None, [WORDS, TWO_WORDS], 0, [LANGUAGES]),
    ("null.jsonl", None, [WORDS], 1, [LANGUAGES]),
    ("nullrow.parquet", None, [("a b", "x")], 1, [LANGUAGES]),
    ("extra_in_one_row.jsonl", None, [WORDS, TWO_WORDS], 0, [LANGUAGES]),
    (
        "tatoeba.tsv",
        ("2", "4"),
        [("Let's try something.", "Versuchen wir etwas."), ("I have to go to sleep.", "Ich muss schlafen gehen.")],
        0,
        ["source: column 2, target: column 4"],
    ),
    ("header_en_de.csv", None, [WORDS], 0, [LANGUAGES]),
    ("Header_caps.csv", None, [WORDS], 0, []),
    (
        "kaggle.csv",
        None,
        [("Hi.", "Salut!"), ("Go.", "Va, !")],
        0,
        ["source: column `English words/sentences`, target: column `French words/sentences`"],
    ),
    ("header_spaces.csv", None, [("one", "eins")], 0, ["source: column `English`, target: column `German`"]),
    (
        "header_spaces.csv",
        ("German", "English"),
        [("eins", "one")],
        0,
        ["source: column `German`, target: column `English`"],
    ),
    ("semi.csv", None, [WORDS], 0, [SEMICOLONS]),
    ("sep.csv", None, [WORDS], 0, [SEMICOLONS]),
    ("mixed.tsv", None, [(f"line {number}", f"Zeile {number}") for number in range(30)], 0, []),
    ("crcell.csv", None, [WORDS], 0, []),
    ("cr.tmx", None, [("one house indented", "ein Haus")], 0, ["source: en, target: de"]),
    ("pandas.tsv", None, [('He said "hi"', 'Er sagte "hallo"'), ("two lines", "zwei Zeilen")], 0, [QUOTED]),
    ("upper.CSV", None, [("a", "b"), ("c", "d")], 0, ["its cells are separated by tabs"]),
]


@pytest.mark.parametrize(
    ("name", "columns", "pairs", "blank", "notes"), PAIRS, ids=[f"{row[0]}-{row[1]}" for row in PAIRS]
)
def test_pairs_are_read_right(
    name: str, columns: Any, pairs: list[tuple[str, str]], blank: int, notes: list[str]
) -> None:
    found = read_parallel([str(TABLES / name)], two_files=False, columns=columns)
    assert list(zip(found.sources, found.targets, strict=True)) == pairs
    assert (found.blank, found.notes) == (blank, _of_file(name, notes))


def _of_file(name: str, notes: list[str]) -> list[str]:
    """Notes as they are said: those that speak of "its" cells name the file."""
    return [f"{TABLES / name}: {note}" if note.startswith("it") else note for note in notes]


LABELLED: list[tuple[str, LabelColumns | None, list[tuple[str, str]], int, int, list[str]]] = [
    ("mixed_labels.tsv", None, [("neg", "Line 0"), ("pos", "Line 1")], 30, 0, []),
    ("fasttext_tab.txt", None, [("pos", "good film 1"), ("neg", "bad film 2")], 60, 0, []),
    ("quoted.tsv", None, [("pos", 'He said "hi"'), ("neg", "two lines")], 2, 0, [QUOTED]),
    ("floatnan.parquet", None, [("1.0", "abc")], 1, 2, []),
    (
        "spam.csv",
        LABELS,
        [("spam", "win cash prize 0 now"), ("ham", "hello friend number 1, see you")],
        60,
        0,
        ["its first row is taken as a header: v1, v2", "label: column `v1`, text: column `v2`"],
    ),
]


@pytest.mark.parametrize(
    ("name", "columns", "texts", "count", "blank", "notes"), LABELLED, ids=[row[0] for row in LABELLED]
)
def test_labelled_texts_are_read_right(
    name: str, columns: LabelColumns | None, texts: list[tuple[str, str]], count: int, blank: int, notes: list[str]
) -> None:
    found = read_labelled([str(TABLES / name)], columns)
    assert list(zip(found.labels, found.texts, strict=True))[:2] == texts
    assert (len(found), found.blank, found.notes) == (count, blank, _of_file(name, notes))


def test_long_cells_are_read() -> None:
    (source,) = read_parallel([str(TABLES / "big.csv")], two_files=False).sources
    assert len(source) > 131_072
    assert max(map(len, read_labelled([str(TABLES / "longtext.csv")]).texts)) > 131_072


def test_no_row_ends_in_a_carriage_return() -> None:
    found = read_parallel([str(TABLES / "mixed_train.tsv")], two_files=False)
    assert len(found) == 300
    assert not any("\r" in text for text in [*found.sources, *found.targets])
    assert all(target == source.upper() for source, target in zip(found.sources, found.targets, strict=True))


@pytest.mark.parametrize(
    ("name", "kind", "message", "hint"),
    [
        ("tatoeba.tsv", "pairs", "columns 1 and 3 are numbers", "--columns 2,4"),
        (
            "broken.po",
            "pairs",
            "broken.po:7: it is not a PO file: a text must be between quotation marks",
            'close it with "',
        ),
        ("json_array.jsonl", "labels", "json_array.jsonl:1: it is a JSON array", "jq -c '.[]' <"),
        ("empty.parquet", "labels", "it has no rows", ""),
        ("src.sgm", "pairs", "it is markup", "sed -n 's/.*<seg"),
    ],
)
def test_tables_that_cannot_be_read_are_refused_with_a_hint(name: str, kind: str, message: str, hint: str) -> None:
    with pytest.raises(CorpusError, match=re.escape(message)) as refused:
        if kind == "pairs":
            read_parallel([str(TABLES / name)], two_files=False)
        else:
            read_labelled([str(TABLES / name)])
    assert hint in refused.value.hint
    (fault,) = check_corpus(str(TABLES / name), "pairs" if kind == "pairs" else "labels")
    assert fault.level == "fault" and fault.what in str(refused.value)


def test_test_sets_of_wmt_are_refused_as_markup() -> None:
    with pytest.raises(CorpusError, match=r"src\.sgm:1: it is markup"):
        read_parallel([str(TABLES / "src.sgm"), str(TABLES / "ref.sgm")], two_files=True)
    findings = [
        finding for _, found in check_two_files(str(TABLES / "src.sgm"), str(TABLES / "ref.sgm")) for finding in found
    ]
    assert any("it is markup" in finding.what for finding in findings)


def _named(findings: list[Finding], words: str) -> bool:
    return any(words in finding.what for finding in findings)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("inline.tmx", "source: en-us, target: de-de"),
        ("order.tmx", "its texts in fr are left out"),
        ("order.tmx", "1 of 3 pairs (33.3%) with a blank side"),
        ("underscore.tmx", "source: en-us, target: pt-br"),
        ("namespace.tmx", "1 pair, 2 words"),
        ("latin2.tmx", "target: pl"),
        ("koi8.po", "1 pair, 1 words"),
        ("keyorder.jsonl", LANGUAGES),
        ("keyorder_translation.jsonl", LANGUAGES),
        ("null.jsonl", "1 of 2 pairs (50.0%) with a blank side"),
        ("nullrow.parquet", "1 of 2 pairs (50.0%) with a blank side"),
        ("extra_in_one_row.jsonl", LANGUAGES),
        ("big.csv", "1 pair, "),
        ("longtext.csv", "30 texts, "),
        ("header_en_de.csv", LANGUAGES),
        ("Header_caps.csv", "1 pair, "),
        ("kaggle.csv", "source: column `English words/sentences`"),
        ("header_spaces.csv", "source: column `English`, target: column `German`"),
        ("semi.csv", SEMICOLONS),
        ("sep.csv", SEMICOLONS),
        ("mixed.tsv", "30 pairs, "),
        ("mixed_labels.tsv", "30 texts, "),
        ("mixed_train.tsv", "300 pairs, "),
        ("crcell.csv", "1 pair, "),
        ("cr.tmx", "1 pair, "),
        ("broken.po", "a text must be between quotation marks"),
        ("pandas.tsv", QUOTED),
        ("quoted.tsv", QUOTED),
        ("floatnan.parquet", "2 rows have a blank label or text"),
        ("empty.parquet", "it has no rows"),
        ("json_array.jsonl", "it is a JSON array"),
        ("tweets.csv", ".csv syntax will be learned"),
        ("lm.jsonl", ".jsonl syntax will be learned"),
        ("src.sgm", "its markup will be learned"),
        ("ref.sgm", "its markup will be learned"),
        ("tatoeba.tsv", ".tsv syntax will be learned"),
        ("spam.csv", ".csv syntax will be learned"),
        ("zh.tsv", ".tsv syntax will be learned"),
        ("fasttext_tab.txt", "60 texts, "),
    ],
)
def test_the_check_names_each_kind_without_being_told_what_it_is(name: str, words: str) -> None:
    assert _named(check_corpus(str(TABLES / name)), words)
