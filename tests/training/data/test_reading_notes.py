"""What a run says of how its corpus was read, and nothing in the usual case."""

from __future__ import annotations

from pathlib import Path

import pytest

from nlpseq.training.data.corpus import tokenise_corpus
from nlpseq.training.data.labels import tokenise_labelled
from nlpseq.training.data.pairs import tokenise_pairs

PAIRS = [(f"{number}", f"sentence {number}", f"Satz {number}") for number in range(40)]
TEXTS = [("good" if number % 2 else "bad", f"text {number}") for number in range(40)]


def write(path: Path, rows: list[tuple[str, ...]], delimiter: str = "\t") -> str:
    """A table of rows; its name."""
    path.write_text("".join(delimiter.join(row) + "\n" for row in rows))
    return str(path)


def test_the_chosen_columns_of_pairs_are_said(tmp_path: Path) -> None:
    train = write(tmp_path / "a.tsv", PAIRS)
    corpus = tokenise_pairs([train], (), tmp_path, two_files=False, columns=("2", "3"), tokens="char")
    assert corpus.facts["notes"] == ["source: column 2, target: column 3"]
    valid = write(tmp_path / "b.csv", [("n", "s", "t"), *PAIRS], ";")
    corpus = tokenise_pairs([train], [valid], tmp_path, two_files=False, columns=("2", "3"), tokens="char")
    assert corpus.facts["notes"][1:] == [
        f"{valid}: its cells are separated by semicolons",
        f"{valid}: its first row is taken as a header: n, s, t",
        "source: column `s`, target: column `t`",
        f"{len(PAIRS)} of {len(PAIRS)} validation pairs are also trained on: their scores are too good",
    ]


def test_held_out_pairs_that_are_repeated_are_said(tmp_path: Path) -> None:
    pairs = [(f"word {number}", f"wort {number}") for number in range(60)]
    name = write(tmp_path / "a.tsv", [*pairs, *pairs[:3]])
    facts = tokenise_pairs([name], (), tmp_path, two_files=False, tokens="char").facts
    assert facts["notes"] == [
        f"3 of {63 - facts['pairs']} validation pairs are also trained on: their scores are too good"
    ]


def test_the_chosen_columns_of_labels_are_said(tmp_path: Path) -> None:
    name = write(tmp_path / "a.tsv", [("mood", "text"), *TEXTS])
    corpus = tokenise_labelled([name], (), tmp_path, tokens="char")
    assert corpus.facts["notes"] == ["label: column `mood`, text: column `text`"]


@pytest.mark.parametrize("header", [[], [("source", "target")]])
def test_the_usual_table_is_not_spoken_of(header: list[tuple[str, ...]], tmp_path: Path) -> None:
    pairs = write(tmp_path / "a.tsv", [*header, *(row[1:] for row in PAIRS)])
    assert "notes" not in tokenise_pairs([pairs], (), tmp_path, two_files=False, tokens="char").facts
    for name in ("stories", "english-german"):
        assert "notes" not in tokenise_corpus([name], (), tmp_path, tokens="byte").facts
    assert "notes" not in tokenise_labelled(["reviews"], (), tmp_path, tokens="char").facts


def test_a_language_model_of_a_table_is_told_what_it_learns(tmp_path: Path) -> None:
    name = write(tmp_path / "a.csv", [("id", "text"), *(row[:2] for row in PAIRS)], ",")
    (note,) = tokenise_corpus([name], (), tmp_path, tokens="byte").facts["notes"]
    command = "nlpseq corpus show --text-column text "
    assert note.startswith(f"{name}: its .csv syntax will be learned as text; on its text alone: {command}")
