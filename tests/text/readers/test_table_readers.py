"""Files to rows: what csv, json, pyarrow and others write comes back, whatever is in the cells."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
import lzma
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from nlpseq.errors import CorpusError
from nlpseq.text.readers import FORMATS
from nlpseq.text.readers.rows import is_table, open_table
from nlpseq.text.readers.table import Notes, Row, Rows, TableFormat, table_lines
from nlpseq.text.tables.labelled import read_labelled
from nlpseq.text.tables.parallel import read_parallel


def zstd(data: bytes) -> bytes:
    """Data compressed by zstd."""
    packed = pyarrow.BufferOutputStream()
    with pyarrow.CompressedOutputStream(packed, "zstd") as stream:
        stream.write(data)
    return bytes(packed.getvalue())


PACK: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    ".gz": gzip.compress,
    ".xz": lzma.compress,
    ".bz2": bz2.compress,
    ".zst": zstd,
}

PIECES = ["a", "é", "猫", " ", '"', '""', ",", ";", "'", "\\", "\t", "\n", "\r\n", "\r", "\u2028", "7"]
CELL = st.lists(st.sampled_from(PIECES), max_size=6).map("".join)
ROWS = st.integers(2, 4).flatmap(lambda width: st.lists(st.lists(CELL, min_size=width, max_size=width), max_size=8))


def folded(cell: str) -> str:
    """A cell with a space for each line end, as every text is read in the end."""
    return re.sub("\r*\n|\r", " ", cell)


def read(path: Path) -> list[list[str]]:
    """The cells of the rows that are not blank."""
    rows = [list(row.cells) for row in open_table(str(path)).rows]
    return [[folded(cell) for cell in row] for row in rows if any(cell.strip() for cell in row)]


def filled(rows: list[list[str]]) -> list[list[str]]:
    """The rows that are not blank, as they are read."""
    return [[folded(cell) for cell in row] for row in rows if any(folded(cell).strip() for cell in row)]


def without_bare_returns(rows: list[list[str]], quoting: int, line_end: str) -> list[list[str]]:
    """Rows without the CR that Python's csv would write without quotation marks, where it may end a line."""
    if quoting == csv.QUOTE_ALL or line_end == "\r\n":
        return rows
    return [[cell.replace("\r", "") for cell in row] for row in rows]


@pytest.mark.parametrize("packing", PACK)
@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
@settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=ROWS, quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]), mark=st.booleans())
@example(rows=[["x" * 200_000, "y"]], quoting=csv.QUOTE_MINIMAL, mark=False)
def test_whatever_csv_writes_comes_back(
    rows: list[list[str]], quoting: Any, mark: bool, packing: str, line_end: str, tmp_path: Path
) -> None:
    width = len(rows[0]) if rows else 2
    rows = [["first"] * width, *without_bare_returns(rows, quoting, line_end)]
    made = io.StringIO()
    csv.writer(made, lineterminator=line_end, quoting=quoting).writerows(rows)
    data = made.getvalue().encode("utf-8-sig" if mark else "utf-8")
    path = tmp_path / f"A.CSV{packing.upper()}"
    path.write_bytes(PACK[packing](data))
    assert read(path) == filled(rows)


@settings(deadline=None, max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=ROWS, quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]))
@example(rows=[["x" * 200_000, 'y"']], quoting=csv.QUOTE_MINIMAL)
def test_a_quoted_tsv_comes_back_without_its_quotation_marks(
    rows: list[list[str]], quoting: Any, tmp_path: Path
) -> None:
    width = len(rows[0]) if rows else 2
    rows = [["first"] * width, ['said "so"'] * width, *without_bare_returns(rows, quoting, "\n")]
    made = io.StringIO()
    csv.writer(made, delimiter="\t", lineterminator="\n", quoting=quoting).writerows(rows)
    path = tmp_path / "a.tsv"
    path.write_bytes(made.getvalue().encode())
    assert read(path) == filled(rows)


@settings(deadline=None, max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(st.lists(st.text("aé \u2028;,'7", max_size=5), min_size=2, max_size=2), min_size=1, max_size=8))
def test_a_tsv_without_quotation_marks_comes_back(rows: list[list[str]], tmp_path: Path) -> None:
    path = tmp_path / "a.tsv"
    path.write_bytes("".join("\t".join(row) + "\n" for row in rows).encode())
    assert read(path) == filled(rows)


@pytest.mark.parametrize(
    "text",
    [
        '"Hello."\tsaid she\n"Go!"\t"Geh!"\n',
        'He said "hi"\tEr sagte "hallo"\n',
        '"Hello," she said\t"Hallo"\n',
        '5" pipe\t5-Zoll-Rohr\nplain\tschlicht\n',
        '"open\tauf\nnext\tweiter\n',
        'a\tb\n"Hello, you"\t"Hallo, du"\n',
        '"Well, ""yes"""\tja\nWell, no\tnein, "nein"\n',
    ],
)
def test_speech_in_quotation_marks_is_text(text: str, tmp_path: Path) -> None:
    path = tmp_path / "a.tsv"
    path.write_text(text)
    assert read(path) == [line.split("\t") for line in text.splitlines()]


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ('a\tb\n"x, y"\t"say ""z"""\n', [["a", "b"], ["x, y", 'say "z"']]),  # as Excel
        ('"a"\t"b"\n"x"\t7\n"y"\tNA\n', [["a", "b"], ["x", "7"], ["y", "NA"]]),  # as R
    ],
)
def test_tables_of_excel_and_r_lose_their_quotation_marks(text: str, rows: list[list[str]], tmp_path: Path) -> None:
    path = tmp_path / "a.tsv"
    path.write_text(text)
    assert read(path) == rows


def test_a_note_tells_of_quotation_marks_that_stay(tmp_path: Path) -> None:
    path = tmp_path / "a.tsv"
    path.write_text('a "b\tc\n"d ""e"""\tf\n')
    table = open_table(str(path))
    assert [list(row.cells) for row in table.rows][1] == ['"d ""e"""', "f"]
    assert table.notes == [
        '1 row has cells in quotation marks with "" inside, which stay in the texts; the first is line 2'
    ]


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("a;b\nc,d;e\n", [["a", "b"], ["c,d", "e"]]),
        ("sep=;\r\na;b\r\n", [["a", "b"]]),
        ("sep=|\na|b\n", [["a", "b"]]),
        ("a\tb, c\n", [["a\tb", " c"]]),
        ("a\tb\n", [["a", "b"]]),
        ("a,b\nc;d,e;f\n", [["a", "b"], ["c;d", "e;f"]]),
        ("only\ncells\n", [["only"], ["cells"]]),
        ('a,b\n"c;d\ne",f\n', [["a", "b"], ["c;d e", "f"]]),
    ],
)
def test_the_delimiter_of_a_csv_is_found(text: str, rows: list[list[str]], tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(text.encode())
    assert read(path) == rows


VALUES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5)


@pytest.mark.parametrize("packing", PACK)
@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    objects=st.lists(
        st.dictionaries(st.text(max_size=4).filter(lambda key: key != "translation"), VALUES, min_size=1), min_size=1
    )
)
def test_objects_come_back(objects: list[dict[str, Any]], packing: str, tmp_path: Path) -> None:
    path = tmp_path / f"a.JSONL{packing}"
    path.write_bytes(PACK[packing]("".join(json.dumps(one) + "\r\n" for one in objects).encode()))
    assert [row.cells for row in open_table(str(path)).rows] == objects


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(st.tuples(st.none() | st.text(max_size=5), st.none() | st.floats(allow_nan=False)), min_size=1))
def test_parquet_comes_back(rows: list[tuple[str | None, float | None]], tmp_path: Path) -> None:
    texts, numbers = zip(*rows, strict=True)
    table = pyarrow.table({"text": pyarrow.array(texts, "string"), "n": pyarrow.array(numbers, "float64")})
    pyarrow.parquet.write_table(table, tmp_path / "a.Parquet")
    assert [tuple(row.cells.values()) for row in open_table(str(tmp_path / "a.Parquet")).rows] == rows  # type: ignore[union-attr]


MESSAGE = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=8)


@settings(deadline=None, max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(messages=st.dictionaries(MESSAGE, MESSAGE, min_size=1, max_size=5))
def test_catalogues_that_polib_writes_come_back(messages: dict[str, str], tmp_path: Path) -> None:
    polib = pytest.importorskip("polib")
    catalogue = polib.POFile()
    for source, target in messages.items():
        catalogue.append(polib.POEntry(msgid=source, msgstr=target))
    path = tmp_path / "a.po"
    path.write_bytes(str(catalogue).encode())
    found = [row.cells for row in open_table(str(path)).rows]
    assert found == [{"source": source, "target": target} for source, target in messages.items()]


@pytest.mark.parametrize(
    ("encoding", "text"), [("KOI8-R", "да"), ("ISO-8859-2", "żółty"), ("Shift_JIS", "猫"), ("UTF-8", "猫")]
)
def test_a_catalogue_is_in_the_encoding_that_it_declares(encoding: str, text: str, tmp_path: Path) -> None:
    path = tmp_path / "a.po"
    header = f'msgid ""\nmsgstr ""\n"Content-Type: text/plain; charset={encoding}\\n"\n\n'
    path.write_bytes(f'{header}msgid "yes"\nmsgstr "{text}"\n'.encode(encoding))
    assert [row.cells for row in open_table(str(path)).rows] == [{"source": "yes", "target": text}]


@pytest.mark.parametrize("encoding", ["ISO-8859-2", "windows-1250", "UTF-16", "GB18030", "Shift_JIS", "UTF-8"])
def test_a_memory_is_in_the_encoding_that_it_declares(encoding: str, tmp_path: Path) -> None:
    text = "猫" if encoding in ("GB18030", "Shift_JIS", "UTF-8") else "żółty"
    path = tmp_path / "a.tmx"
    unit = f'<tu><tuv xml:lang="en"><seg>a</seg></tuv><tuv xml:lang="pl"><seg>{text}</seg></tuv></tu>'
    path.write_bytes(f'<?xml version="1.0" encoding="{encoding}"?>\n<tmx><body>{unit}</body></tmx>'.encode(encoding))
    assert [row.cells for row in open_table(str(path)).rows] == [{"en": "a", "pl": text}]


@pytest.mark.parametrize("name", ["a.po", "a.tmx"])
def test_what_is_not_in_the_declared_encoding_gets_a_hint(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    declared = b'<?xml version="1.0" encoding="ASCII"?>' if name == "a.tmx" else b'msgstr "charset=ASCII\\n"\n'
    path.write_bytes(declared + "żółty koń ".encode() * 9)
    with pytest.raises(CorpusError, match="it declares ASCII, but is not"):
        list(open_table(str(path)).rows)


def segment(inner: str, tmp_path: Path) -> str:
    """The text of a segment of a memory."""
    path = tmp_path / "a.tmx"
    path.write_text(f'<tmx xmlns="x"><body><tu><tuv xml:lang="en"><seg>{inner}</seg></tuv></tu></body></tmx>')
    (row,) = open_table(str(path)).rows
    return str(row.cells["en"])  # type: ignore[call-overload]


@pytest.mark.parametrize(
    ("inner", "text"),
    [
        ("a<bpt>x</bpt>b<ept>x</ept>c", "abc"),
        ("a <ph>x</ph> b", "a b"),
        ("<ph>x</ph> a", "a"),
        ("a<it>x</it> b <ut>x</ut>", "a b "),
        ("a <hi>b <hi>c</hi></hi>d", "a b cd"),
        ("a<ph>x<sub>b</sub>y</ph>c", "a b c"),
        ("a <ph>x<sub>b <ph>z</ph>c</sub></ph>.", "a b c."),
        ("a\n   b", "a b"),
        ("\n  a&#13;&#10;b&#13;c\n", "a b c"),
        ("  a ", "  a "),
    ],
)
def test_codes_are_dropped_and_texts_kept(inner: str, text: str, tmp_path: Path) -> None:
    assert segment(inner, tmp_path) == text


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ('msgid "a"\nmsgstr "b\n', 2),
        ('msgid "a\nmsgstr "b"\n', 1),
        ('msgid "a"\nmsgstr "b" c\n', 2),
        ('msgid "a"\n"open\nmsgstr "b"\n', 2),
        ('msgid "a\\"\nmsgstr "b"\n', 1),
        ("msgid a\n", 1),
    ],
)
def test_open_quotation_marks_of_a_catalogue_are_refused_with_the_line(text: str, line: int, tmp_path: Path) -> None:
    path = tmp_path / "a.po"
    path.write_text(text)
    with pytest.raises(CorpusError, match=f"a.po:{line}: it is not a PO file: a text must be between quotation marks"):
        list(open_table(str(path)).rows)


@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.po"])
def test_lines_that_end_in_cr_alone_are_refused(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(b'msgid "a"\rmsgstr "b"\r')
    with pytest.raises(CorpusError, match="its lines end in CR alone") as refused:
        list(open_table(str(path)).rows)
    assert "tr '\\r' '\\n' <" in refused.value.hint


def test_pretty_json_gets_a_command_that_mends_it(tmp_path: Path) -> None:
    for text, command in (('[\n{"a": 1}]\n', "jq -c '.[]'"), ('{\n"a": 1\n}\n', "jq -c '.'")):
        (tmp_path / "a.json").write_text(text)
        with pytest.raises(CorpusError) as refused:
            list(open_table(str(tmp_path / "a.json")).rows)
        assert refused.value.hint.startswith(f"{command} < ")


@pytest.mark.parametrize("suffix", FORMATS)
def test_formats_are_known_in_any_capitalisation_and_compressed(suffix: str) -> None:
    for name in (f"a{suffix}", f"A{suffix.upper()}", f"a{suffix}.gz", f"A{suffix.title()}.ZST"):
        assert is_table(name)
    assert not is_table(f"a{suffix}.txt")


def test_the_attribution_of_an_anki_collection_makes_its_txt_a_table(tmp_path: Path) -> None:
    path = tmp_path / "deu.txt"
    path.write_text("Go.\tGeh.\tCC-BY 2.0 #1\nHi.\tHallo!\tCC-BY 2.0 #2\n")
    table = open_table(str(path))
    assert [list(row.cells[:2]) for row in table.rows] == [["Go.", "Geh."], ["Hi.", "Hallo!"]]  # type: ignore[index]
    assert table.notes == ["it is read as a .tsv, because its first line has tabs"]


@pytest.mark.parametrize(
    ("line", "label", "text"),
    [
        ("__label__a\tb c", "a", "b c"),
        ("__label__a b\tc", "a", "b\tc"),
        ("b __label__a", "a", "b"),
        ("b __label__a c", "a", "b c"),
        ("__label__a", "a", ""),
        ("__label__a  b", "a", " b"),
        ("x__label__y __label__a", "a", "x__label__y"),
    ],
)
def test_labels_of_fasttext_end_at_spaces_and_tabs(line: str, label: str, text: str, tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text(line + "\r\n__label__z z\n")
    first = next(iter(open_table(str(path)).rows))
    assert first.cells == {"label": label, "text": text}


def test_the_first_lines_of_fasttext_may_have_no_label(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("no label\n" * 3 + "__label__a __label__b c\n")
    cells = [row.cells for row in open_table(str(path), labels=True).rows]
    assert cells[3] == {"label": ["a", "b"], "text": "c"}
    assert all(isinstance(row["label"], CorpusError) for row in cells[:3])


def test_a_format_is_one_record(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Pairs, labelled texts, headers, compression and the command line's choice of a table follow from it."""

    def rows(name: str, notes: Notes) -> Rows:
        notes.append("it was read by the new format")
        return (Row(f"{name}:{number}", line.split(" | ")) for number, line in enumerate(table_lines(name), 1))

    monkeypatch.setitem(FORMATS, ".pipes", TableFormat((".pipes",), rows))
    path = tmp_path / "a.Pipes.xz"
    path.write_bytes(lzma.compress(b"id | en | de\n1 | one | eins\n"))
    assert is_table(str(path))
    pairs = read_parallel([str(path)], two_files=False)
    assert (pairs.sources, pairs.targets) == (["one"], ["eins"])
    assert pairs.notes == [f"{path}: it was read by the new format", "source: column `en`, target: column `de`"]
    path.write_bytes(lzma.compress(b"text | label\nfine | good\n"))
    assert read_labelled([str(path)]).counts == {"good": 1}


def test_half_a_character_becomes_another_and_is_counted(tmp_path: Path) -> None:
    lines = [r'{"label\ud800": ["a\udfff", {"b": "\udc80"}], "text": "x"}', r'{"text": "\ud83d\ude00 \\ud800"}']
    (tmp_path / "a.jsonl").write_text("\n".join([*lines, lines[0]]))
    table = open_table(str(tmp_path / "a.jsonl"))
    first, second, third = (row.cells for row in table.rows)
    assert first == third == {"label\ufffd": ["a\ufffd", {"b": "\ufffd"}], "text": "x"}
    assert second == {"text": "\U0001f600 \\ud800"}
    assert table.notes == ["2 lines have half of a character, which became U+FFFD; the first is line 1"]


@pytest.mark.parametrize("name", ["a[1].parquet", "a*.parquet", "?.parquet", "file:a.parquet", "s3:/a.parquet"])
def test_the_name_of_a_parquet_file_is_no_pattern_and_no_address(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path(name).parent.mkdir(exist_ok=True)
    for path in ("a1.parquet", "b.parquet", name):
        with open(path, "wb") as file:
            pyarrow.parquet.write_table(pyarrow.table({"text": [path]}), file)
    asked = name.replace(":/", "://")
    assert [row.cells for row in open_table(asked).rows] == [{"text": name}]
