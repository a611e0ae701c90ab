"""The texts of a classifier's language model: what is among them, how often, how they are cut, and what is left out."""

from __future__ import annotations

import gzip
import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from nlpseq.errors import CorpusError
from nlpseq.tasks import CLASSIFIER
from nlpseq.text.tables.labelled_parts import read_parts
from nlpseq.training.pretraining.texts import MOST_COPIES, TRAIN, VALID, Prepared, prepare_texts
from nlpseq.training.requests import make_request

LABELLED = [("up" if number % 3 else "down", f"Text {number} is here") for number in range(60)]


def _write_labelled(path: Path, rows: list[tuple[str, str]] = LABELLED) -> Path:
    path.write_text("label\ttext\n" + "".join(f"{label}\t{text}\n" for label, text in rows), encoding="utf-8")
    return path


def _prepare(folder: Path, unlabelled: str | list[str], **options: Any) -> tuple[Prepared, list[str]]:
    """What is written of texts without labels beside LABELLED."""
    names = []
    for number, text in enumerate([unlabelled] if isinstance(unlabelled, str) else unlabelled):
        names.append(folder / f"unlabelled{number}.txt.gz")
        with gzip.open(names[-1], "wt", encoding="utf-8") as file:
            file.write(text)
    corpus = folder / "texts.tsv"
    if not corpus.exists():
        _write_labelled(corpus)
    request: Any = make_request(CLASSIFIER, [corpus], {"unlabelled": names, **options})
    found = prepare_texts(request, request.files(), folder)
    assert (folder / VALID).read_text(encoding="utf-8").endswith("\n") == found.holds_out
    lines = (folder / TRAIN).read_text(encoding="utf-8").split("\n")
    assert lines.pop() == ""
    return found, lines


def test_training_texts_are_spread_among_the_others_and_texts_for_validation_are_not(tmp_path: Path) -> None:
    others = [f"other text {number}" for number in range(500)]
    found, lines = _prepare(tmp_path, ["\n".join(others[:200]), "\n".join(others[200:]) + "\n\n"])
    train, held_out = read_parts([str(tmp_path / "texts.tsv")], (), None)
    assert held_out.texts
    own = [text.lower() for text in train.texts]
    kept = [line for line in lines if line.startswith("other")]
    assert kept == others[: len(kept)]
    assert 0.9 * len(others) < len(kept) < len(others)
    assert (tmp_path / VALID).read_text() == "".join(f"{line}\n" for line in others[len(kept) :])
    assert sorted(line for line in lines if not line.startswith("other")) == sorted(own * found.copies)
    assert not {text.lower() for text in held_out.texts} & {*lines}
    places = [index for index, line in enumerate(lines) if not line.startswith("other")]
    assert max(after - before for before, after in pairwise(places)) < 2 * len(lines) / len(places)
    assert (found.texts, found.left_out, found.own_texts) == (500, 0, len(own))
    assert found.characters == sum(len(line) + 1 for line in lines)


def test_training_texts_are_a_tenth_but_not_repeated_without_end(tmp_path: Path) -> None:
    found, lines = _prepare(tmp_path, "\n".join(["a b c d e f g h i j k l m n"] * 600))
    own = sum(len(line) for line in lines if line.startswith("text"))
    assert 0.05 < own / sum(map(len, lines)) < 0.15
    found, _ = _prepare(tmp_path, "\n".join(["a b c d e f g h i j k l m n"] * 6000))
    assert found.copies == MOST_COPIES


@pytest.mark.parametrize("given", [False, True], ids=["held out", "given"])
def test_an_unlabelled_text_that_is_for_validation_is_left_out(tmp_path: Path, given: bool) -> None:
    _write_labelled(tmp_path / "texts.tsv")
    valid = {"valid": _write_labelled(tmp_path / "valid.tsv", [("up", "Kept for later"), ("down", "This too")])}
    _, held_out = read_parts([str(tmp_path / "texts.tsv")], [str(valid["valid"])] if given else (), None)
    secret = [f"  {text.upper()} " for text in held_out.texts]
    found, lines = _prepare(tmp_path, "\n".join(["an open text", *secret]), **(valid if given else {}))
    assert found.left_out == len(secret) > 1
    assert found.texts == len(secret) + 1
    assert not {text.strip().lower() for text in secret} & {*lines}
    assert "an open text" in lines


def test_long_texts_are_cut_after_sentences_and_at_line_breaks(tmp_path: Path) -> None:
    sentence = "This sentence has some words in it."
    _, lines = _prepare(tmp_path, f"short. text.\n{' '.join([sentence] * 20)}<br /><br />{sentence}\nlast")
    assert lines.count(sentence.lower()) == 21
    assert "short. text." in lines


def test_capitals_are_kept_for_a_classifier_that_reads_them(tmp_path: Path) -> None:
    _, lines = _prepare(tmp_path, "An Open Text", lowercase=False)
    assert "An Open Text" in lines
    assert any(line.startswith("Text ") for line in lines)


def test_texts_without_a_character_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"unlabelled0.txt.gz: it (has no text|is empty)"):
        _prepare(tmp_path, "  \n\n \n")


def _table(folder: Path, suffix: str, rows: list[tuple[str, str]]) -> Path:
    """Rows of a label and a text in a file of a format; `.txt` has fastText's lines."""
    path = folder / f"table{suffix}"
    if suffix == ".jsonl":
        path.write_text("".join(json.dumps({"text": text, "label": label}) + "\n" for label, text in rows))
    elif suffix == ".csv":
        path.write_text("number,label,text\n" + "".join(f'7,{label},"{text}"\n' for label, text in rows))
    elif suffix == ".txt":
        path.write_text("".join(f"__label__{label} {text}\n" for label, text in rows))
    elif suffix == ".dat":
        path.write_text("".join(f"{label}\t{text}\n" for label, text in rows))
    else:
        _write_labelled(path, rows)
    return path


@pytest.mark.parametrize("suffix", [".tsv", ".csv", ".jsonl", ".txt", ".dat"])
@pytest.mark.parametrize("is_the_corpus", [False, True], ids=["other table", "the labelled table"])
def test_of_a_table_only_the_texts_are_learned(tmp_path: Path, suffix: str, is_the_corpus: bool) -> None:
    rows = [(f"mood{number % 2}", f"Text {number}, and it is long enough") for number in range(60)]
    table = _table(tmp_path, suffix, rows)
    corpus = table if is_the_corpus else _write_labelled(tmp_path / "own.tsv", rows)
    _, held_out = read_parts([str(corpus)], (), None)
    request: Any = make_request(CLASSIFIER, [corpus], {"unlabelled": [table]})
    found = prepare_texts(request, request.files(), tmp_path)
    written = (tmp_path / TRAIN).read_text() + (tmp_path / VALID).read_text()
    train = {text.lower() for _, text in rows} - {text.lower() for text in held_out.texts}
    assert {*written.splitlines()} == train
    assert (found.texts, found.left_out) == (60, len(held_out))
    assert len(found.notes) == 1 and str(table) in found.notes[0]


def test_tabs_in_some_lines_of_plain_text_are_text(tmp_path: Path) -> None:
    found, lines = _prepare(tmp_path, "a line\twith a tab\nand a line without")
    assert found.notes == ()
    assert "a line\twith a tab" in lines


def test_the_column_that_the_user_named_is_read(tmp_path: Path) -> None:
    corpus, table = tmp_path / "corpus.csv", tmp_path / "table.csv"
    corpus.write_text("mood,title\n" + "".join(f"m{number % 2},title {number}\n" for number in range(60)))
    table.write_text("title,summary\n" + "".join(f"name {number},a long summary of it\n" for number in range(9)))
    options = {"label_column": "mood", "text_column": "title", "unlabelled": [table]}
    request: Any = make_request(CLASSIFIER, [corpus], options)
    prepare_texts(request, request.files(), tmp_path)
    written = (tmp_path / TRAIN).read_text() + (tmp_path / VALID).read_text()
    assert "name 3" in written and "summary" not in written
