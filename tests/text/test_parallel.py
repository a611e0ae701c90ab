"""Parallel text: what was written is read, in step or not at all."""

from __future__ import annotations

import csv
import gzip
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nlpseq.errors import CorpusError
from nlpseq.text.parallel import TABLES, read_parallel

PAIRS = [("one, two", "eins"), ('thr\u2028ee "3"', "drei\x0b"), ("  vier", "four\x0c"), ("猫", "cat")]

SIDE = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\n\r\t\ufeff"))


def _write(folder: Path, suffix: str, pairs: list[tuple[str, str]]) -> Path:
    path = folder / f"pairs{suffix}"
    with path.open("w", encoding="utf-8", newline="") as file:
        for source, target in pairs:
            if suffix == ".tsv":
                file.write(f"{source}\t{target}\tmore\n")
            elif suffix == ".csv":
                csv.writer(file, lineterminator="\n").writerow([source, target])
            else:
                file.write(json.dumps({"id": 1, "source": source, "target": target}) + "\n")
    return path


@pytest.mark.parametrize("suffix", TABLES)
def test_a_table_gives_its_pairs(suffix: str, tmp_path: Path) -> None:
    found = read_parallel([str(_write(tmp_path, suffix, PAIRS))], two_files=False)
    assert list(zip(found.sources, found.targets, strict=True)) == PAIRS
    assert found.blank == 0


@settings(max_examples=60, deadline=None)
@given(
    pairs=st.lists(st.tuples(SIDE, SIDE)),
    suffix=st.sampled_from(sorted(TABLES)),
)
def test_any_pairs_are_read_back_but_for_blank_ones(
    pairs: list[tuple[str, str]], suffix: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = _write(tmp_path_factory.mktemp("pairs"), suffix, [("begin", "here"), *pairs])
    found = read_parallel([str(path)], two_files=False)
    wanted = [pair for pair in pairs if pair[0].strip() and pair[1].strip()]
    assert list(zip(found.sources, found.targets, strict=True)) == [("begin", "here"), *wanted]
    assert found.blank == len(pairs) - len(wanted)


def test_two_files_are_read_in_step(tmp_path: Path) -> None:
    source, target = tmp_path / "a.en", tmp_path / "a.de.gz"
    source.write_text("a\u2028b\n\nc\nd\n", encoding="utf-8")
    target.write_bytes(gzip.compress(b"A\nB\nC\n \n"))
    found = read_parallel([str(source), str(target)], two_files=True)
    assert (found.sources, found.targets, found.blank) == (["a\u2028b", "c"], ["A", "C"], 2)


def test_files_of_unequal_length_are_refused_with_counts_and_a_place(tmp_path: Path) -> None:
    source, target = tmp_path / "a.en", tmp_path / "a.de"
    lines = [f"this is the sentence number {number}" for number in range(50)]
    source.write_text("\n".join(lines), encoding="utf-8")
    target.write_text("\n".join([*lines[:20], "x", *lines[20:]]), encoding="utf-8")
    with pytest.raises(CorpusError, match=r"have 50 and 51; .* in line 21") as refused:
        read_parallel([str(source), str(target)], two_files=True)
    assert refused.value.hint.startswith("paste ")


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.tsv", "one\ttwo\nthree\n", "a.tsv:2: it must have a source, a tab"),
        ("a.csv", "one,two\nthree\n", "a.csv:2: it must have two columns"),
        ("a.jsonl", '{"source": "a", "target": "b"}\n{"source": "a"}\n', "a.jsonl:2: it must be an object"),
        ("a.jsonl", "{\n", "a.jsonl:1: it is no JSON"),
        ("a.txt", "one\ttwo\n", "parallel text comes in .tsv, .csv, .jsonl"),
        ("a.tsv", "\t\n \tb\n", "no pair with text on both sides, and 2 without"),
    ],
)
def test_what_is_no_table_of_pairs_is_refused(name: str, text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    with pytest.raises(CorpusError, match=message):
        read_parallel([str(path)], two_files=False)


def test_a_header_of_a_csv_says_which_columns(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("id,target,source\n1,eins,one\n", encoding="utf-8")
    found = read_parallel([str(path)], two_files=False)
    assert (found.sources, found.targets) == (["one"], ["eins"])
