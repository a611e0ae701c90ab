"""Which columns are read: by name or number, with a header or without, decided once for a file."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from nlpseq.errors import CorpusError
from nlpseq.text.tables.headers import is_language, looks_like_header
from nlpseq.text.tables.label_tables import LabelColumns
from nlpseq.text.tables.labelled import read_labelled
from nlpseq.text.tables.parallel import Pairs, read_parallel

ROWS = [(f"this is sentence {number}.", f"das ist Satz {number}.") for number in range(40)]


def pairs(path: Path, text: str, columns: tuple[str, str] | None = None) -> Pairs:
    """The pairs of a table that holds a text."""
    path.write_text(text, encoding="utf-8")
    return read_parallel([str(path)], two_files=False, columns=columns)


def tsv(*rows: tuple[str, ...]) -> str:
    """Rows with tabs between their cells."""
    return "".join("\t".join(row) + "\n" for row in rows)


@pytest.mark.parametrize(
    ("text", "columns", "pair", "notes"),
    [
        (tsv(("a", "b")), None, ("a", "b"), []),
        (tsv(("a", "b")), ("2", "1"), ("b", "a"), ["source: column 2, target: column 1"]),
        (tsv(("source", "target"), ("a", "b")), None, ("a", "b"), []),
        (tsv(("Target", "Source "), ("a", "b")), None, ("b", "a"), []),
        (
            tsv(("id", "en_US", "de"), ("1", "a", "b")),
            None,
            ("a", "b"),
            ["source: column `en_US`, target: column `de`"],
        ),
        (
            tsv(("id", "en", "de"), ("1", "a", "b")),
            ("de", "2"),
            ("b", "a"),
            ["source: column `de`, target: column `en`"],
        ),
        (tsv(("x", "y", "z"), ("a", "b", "c")), (" Z", "x"), ("c", "a"), ["source: column `z`, target: column `x`"]),
        (tsv(("a", "b", "CC-BY")), None, ("a", "b"), ["source: column 1, target: column 2"]),
        (tsv(("1", "a", "b")), ("2", "3"), ("a", "b"), ["source: column 2, target: column 3"]),
        (
            tsv(("text", "label"), ("a", "b")),
            ("text", "label"),
            ("a", "b"),
            ["source: column `text`, target: column `label`"],
        ),
        (tsv(("text", "target"), ("a", "b")), None, ("a", "b"), ["source: column `text`, target: column `target`"]),
        (tsv(("Haus", "English")), None, ("Haus", "English"), []),
    ],
)
def test_columns_of_pairs(
    text: str, columns: tuple[str, str] | None, pair: tuple[str, str], notes: list[str], tmp_path: Path
) -> None:
    found = pairs(tmp_path / "a.tsv", text, columns)
    assert (found.sources[0], found.targets[0]) == pair
    assert found.notes == notes


@pytest.mark.parametrize(
    ("text", "columns", "message", "hint"),
    [
        (tsv(("1", "a", "b")), None, "column 1 is a number", "--columns 2,3"),
        (tsv(("1", "a", "2", "b"), ("3", "c", "4", "d")), None, "columns 1 and 3 are numbers", "--columns 2,4"),
        (
            tsv(("id", "en", "de", "fr"), ("1", "a", "b", "c")),
            None,
            "no column is known as its source",
            "--columns en,de",
        ),
        (tsv(("en", "de"), ("a", "b")), ("en", "nl"), "it has no column `nl`, only en, de", "--columns en,de"),
        (
            tsv(("english", "german"), ("a", "b")),
            ("englisch", "german"),
            "it has no column `englisch`",
            "english,german",
        ),
        (tsv(("a", "b")), ("1", "3"), "it has no column `3`", "--columns 1,2"),
        (tsv(("7", "a", "b")), ("0", "2"), "it has no column `0`", "--columns 2,3"),
        (tsv(("label", "text"), ("a", "b")), None, "are a label and a text", "nlpseq train sentiment "),
        (
            tsv(("text", "rating"), ("a", "5")),
            None,
            "are a label and a text",
            "if they are pairs: --columns text,rating",
        ),
        (tsv(("a", "b")), ("1", "1"), "source and target cannot be one column", "--columns NAME,NAME"),
        (tsv(("a", "b"), ("a", "b", "c")), None, ":2: it must have 2 columns, like the first row, but has 3", "sed"),
        ("\n\n \n", None, "it has no rows", ""),
    ],
)
def test_columns_that_cannot_be_told_are_refused(
    text: str, columns: tuple[str, str] | None, message: str, hint: str, tmp_path: Path
) -> None:
    with pytest.raises(CorpusError, match=re.escape(message)) as refused:
        pairs(tmp_path / "a.tsv", text, columns)
    assert hint in refused.value.hint


def test_numbers_may_be_texts_of_two_columns(tmp_path: Path) -> None:
    found = pairs(tmp_path / "a.tsv", tsv(("1", "one"), ("2", "two")))
    assert found.sources == ["1", "2"]


def test_a_header_of_unknown_names_is_found_and_said(tmp_path: Path) -> None:
    found = pairs(tmp_path / "a.tsv", tsv(("phrase", "wortlaut"), *ROWS))
    assert found.sources == [source for source, _ in ROWS]
    assert found.notes == [
        f"{tmp_path / 'a.tsv'}: its first row is taken as a header: phrase, wortlaut",
        "source: column `phrase`, target: column `wortlaut`",
    ]


def test_a_header_that_is_in_doubt_is_said(tmp_path: Path) -> None:
    rows = [(source, f"c{chr(97 + number % 26)}{chr(97 + number // 26)}") for number, (source, _) in enumerate(ROWS)]
    found = pairs(tmp_path / "a.tsv", tsv(("phrase", "code"), *rows))
    assert found.sources[0] == "phrase"
    assert found.notes[0].startswith(
        f"{tmp_path / 'a.tsv'}: its first row may be a header, but is read as a text: phrase, code; if it is one: "
    )
    command = found.notes[0].rpartition(": ")[2]
    assert command == "--columns phrase,code"
    again = pairs(tmp_path / "a.tsv", tsv(("phrase", "code"), *rows), ("phrase", "code"))
    assert again.sources[0] == ROWS[0][0]


@pytest.mark.parametrize("first", [("Go.", "Geh."), ("the old lamp", "die Lampe"), ("a b", "Anfang")])
def test_a_first_pair_is_no_header(first: tuple[str, str], tmp_path: Path) -> None:
    assert pairs(tmp_path / "a.tsv", tsv(first, *ROWS)).sources[0] == first[0]


@pytest.mark.parametrize(
    ("rows", "few_values_tell", "said"),
    [
        ([("a", "b")] * 40, False, "no"),
        ([("word", "Wort"), *[("other", "andere")] * 10], False, "no"),
        ([("v1", "v2"), *[("ham", "x y")] * 40], False, "yes"),
        ([("Introduction", "Einleitung"), *[("a b", "c d")] * 40], False, "maybe"),
        ([("The lamp in the hall", "Die Lampe im Flur"), *[("a b.", "c d.")] * 40], False, "no"),
        ([("mood", "name"), *[("up", "Smith"), ("down", "Jones")] * 20], True, "yes"),
        ([("mood", "name"), *[("up", f"Smith{chr(97 + place)}") for place in range(20)]], False, "maybe"),
        ([("up", "It is fine."), *[("down", "It is dull.")] * 40], True, "no"),
        ([("", ""), *[("a b", "c d")] * 40], False, "no"),
    ],
)
def test_what_looks_like_a_header(rows: list[tuple[str, str]], few_values_tell: bool, said: str) -> None:
    assert looks_like_header(rows, few_values_tell=few_values_tell) == said


@pytest.mark.parametrize(
    "name", ["de", "EN", "en_US", "pt-br", "zh_Hans", "eng", "German", "French sentences", "text_de", "中文"]
)
def test_languages_are_known(name: str) -> None:
    assert is_language(name)


@pytest.mark.parametrize(
    "name", ["id", "no", "source", "label", "hello", "", "the house", "v1", "a german house in the wood"]
)
def test_other_names_are_no_languages(name: str) -> None:
    assert not is_language(name)


@pytest.mark.parametrize("name", ["keyed", "translation"])
def test_keys_are_chosen_once_whatever_their_order(name: str, tmp_path: Path) -> None:
    rows = [{"en": "one", "de": "eins"}, {"de": None, "en": "two"}, {"note": "x", "de": "drei", "en": "three"}]
    lines = [{"translation": row} if name == "translation" else row for row in rows]
    found = pairs(tmp_path / "a.jsonl", "".join(json.dumps(line) + "\n" for line in lines))
    assert (found.sources, found.targets, found.blank) == (["one", "three"], ["eins", "drei"], 1)
    assert found.notes == ["source: column `en`, target: column `de`"]


def test_keys_are_chosen_by_number_too(tmp_path: Path) -> None:
    found = pairs(tmp_path / "a.jsonl", '{"id": 1, "x": "a", "y": "b"}\n', ("3", "2"))
    assert (found.sources, found.targets) == (["b"], ["a"])
    with pytest.raises(CorpusError, match="no column is known as its source and target, only id, x, y") as refused:
        pairs(tmp_path / "a.jsonl", '{"id": 1, "x": "a", "y": "b"}\n')
    assert refused.value.hint == "--columns x,y"


MEMORY = """<tmx version="1.4"><header srclang="{source}"/><body>
<tu><tuv xml:lang="de-AT"><seg>eins</seg></tuv><tuv xml:lang="en"><seg>one</seg></tuv></tu>
<tu><tuv xml:lang="fr"><seg>deux</seg></tuv><tuv xml:lang="en"><seg>two</seg></tuv></tu>
<tu><tuv xml:lang="en"><seg>three</seg></tuv><tuv xml:lang="de-AT"><seg>drei</seg></tuv></tu>
</body></tmx>"""


@pytest.mark.parametrize(
    ("source", "columns", "sources", "targets", "note"),
    [
        ("*all*", None, ["eins", "drei"], ["one", "three"], "source: de-at, target: en; its texts in fr are left out"),
        ("EN", None, ["one", "three"], ["eins", "drei"], "source: en, target: de-at; its texts in fr are left out"),
        (
            "en",
            ("en", "de"),
            ["one", "three"],
            ["eins", "drei"],
            "source: en, target: de; its texts in fr are left out",
        ),
        ("en", ("fr", "en"), ["deux"], ["two"], "source: fr, target: en; its texts in de-at are left out"),
        (
            "en",
            ("2", "1"),
            ["eins", "drei"],
            ["one", "three"],
            "source: de-at, target: en; its texts in fr are left out",
        ),
    ],
)
def test_the_languages_of_a_memory_are_the_same_in_every_unit(
    source: str, columns: tuple[str, str] | None, sources: list[str], targets: list[str], note: str, tmp_path: Path
) -> None:
    found = pairs(tmp_path / "a.tmx", MEMORY.format(source=source), columns)
    assert (found.sources, found.targets, found.blank) == (sources, targets, 3 - len(sources))
    assert found.notes == [note]


def test_a_language_that_no_unit_has_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="it has no text in nl, only in") as refused:
        pairs(tmp_path / "a.tmx", MEMORY.format(source="en"), ("en", "nl"))
    assert refused.value.hint == "--columns en,de-at"


def test_notes_of_several_tables_are_said_once_or_with_their_names(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("en;de\na;b\n")
    (tmp_path / "b.csv").write_text("en,de\nc,d\n")
    found = read_parallel([str(tmp_path / "a.csv"), str(tmp_path / "b.csv")], two_files=False)
    assert found.notes == [
        "source: column `en`, target: column `de`",
        f"{tmp_path / 'a.csv'}: its cells are separated by semicolons",
    ]


def test_a_header_is_no_labelled_text_with_columns_by_number(tmp_path: Path) -> None:
    rows = [("spam" if number % 2 else "ham", f"message number {number}", "") for number in range(30)]
    (tmp_path / "a.tsv").write_text(tsv(("v1", "v2", ""), *rows))
    for columns in (LabelColumns("1", "2"), LabelColumns()):
        found = read_labelled([str(tmp_path / "a.tsv")], columns)
        assert found.counts == {"spam": 15, "ham": 15}
        header = f"{tmp_path / 'a.tsv'}: its first row is taken as a header: v1, v2"
        assert found.notes == [header, "label: column `v1`, text: column `v2`"]


def test_null_and_nan_are_no_labels_and_no_texts(tmp_path: Path) -> None:
    rows = [
        '{"label": NaN, "text": "a"}',
        '{"label": null, "text": "b"}',
        '{"label": 1, "text": NaN}',
        '{"label": 0, "text": "c"}',
    ]
    (tmp_path / "a.jsonl").write_text("\n".join(rows))
    found = read_labelled([str(tmp_path / "a.jsonl")])
    assert (found.labels, found.texts, found.blank) == (["0"], ["c"], 3)


def test_a_hash_can_be_made_of_whatever_json_spells(tmp_path: Path) -> None:
    found = pairs(tmp_path / "a.jsonl", '{"source": "a\\ud800", "target": "b\\udc80"}\n')
    assert len(found.sha256) == 64


@pytest.mark.parametrize(
    ("text", "former", "pair"),
    [
        (tsv(("id", "de", "en"), ("1", "eins", "one")), ("en", "de"), ("one", "eins")),
        (tsv(("nr", "wort", "phrase"), ("1", "eins", "one")), ("phrase", "wort"), ("one", "eins")),
        (tsv(("a", "b")), ("2", "1"), ("b", "a")),
        (tsv(("a", "b")), ("3", "1"), ("a", "b")),
        (tsv(("a", "b")), ("en", "de"), ("a", "b")),
        (tsv(("source", "target"), ("a", "b")), ("2", "1"), ("a", "b")),
        (tsv(("source", "target"), ("a", "b")), ("en", "target"), ("a", "b")),
        (tsv(("source", "target"), ("a", "b")), ("source", "source"), ("a", "b")),
    ],
)
def test_former_columns_are_read_if_a_table_has_them(
    text: str, former: tuple[str, str], pair: tuple[str, str], tmp_path: Path
) -> None:
    (tmp_path / "a.tsv").write_text(text)
    found = read_parallel([str(tmp_path / "a.tsv")], two_files=False, former=former)
    assert (found.sources, found.targets) == ([pair[0]], [pair[1]])
    named = read_parallel([str(tmp_path / "a.tsv")], two_files=False, columns=("1", "2"), former=former)
    assert named.sources[-1] == text.splitlines()[-1].split("\t")[0]


def test_each_table_is_asked_for_former_columns(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"id": 1, "body": "fine", "folder": "in"}\n')
    (tmp_path / "b.csv").write_text("label,text\nout,dull\n")
    names = [str(tmp_path / name) for name in ("a.jsonl", "b.csv")]
    found = read_labelled(names, former=LabelColumns("folder", "body"))
    assert list(zip(found.labels, found.texts, strict=True)) == [("in", "fine"), ("out", "dull")]


def test_the_other_column_may_be_a_former_one(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id,folder,mood,body\n1,in,up,fine\n")
    name = [str(tmp_path / "a.csv")]
    found = read_labelled(name, LabelColumns("mood"), former=LabelColumns("folder", "body"))
    assert (found.labels, found.texts) == (["up"], ["fine"])
    found = read_labelled(name, LabelColumns(None, "mood"), former=LabelColumns("folder", "body"))
    assert (found.labels, found.texts) == (["in"], ["up"])
