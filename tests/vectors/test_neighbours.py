"""Nearest lines, against a sort of all similarities."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from nlpseq.errors import CorpusError
from nlpseq.text.array_files import ArrayWriter
from nlpseq.vectors.neighbours import Neighbours
from nlpseq.vectors.vector_files import VectorFile

LINES = [None if number % 7 == 3 else f"line {number}" for number in range(50)]


@pytest.mark.parametrize("portion", [1, 8, 50])
@pytest.mark.parametrize("top", [1, 5, 99])
def test_the_best_lines_are_those_of_a_whole_sort(portion: int, top: int) -> None:
    generator = np.random.default_rng(3)
    vectors, texts = generator.normal(size=(50, 6)), generator.normal(size=(2, 6))
    vectors[20] = vectors[9]
    neighbours = Neighbours(texts.astype(np.float32), top)
    for start in range(0, 50, portion):
        neighbours.add(LINES[start : start + portion], vectors[start : start + portion].astype(np.float32))
    for text, found in zip(texts, neighbours.best(), strict=True):
        cosines = vectors @ text / np.linalg.norm(vectors, axis=1) / np.linalg.norm(text)
        real = [index for index, line in enumerate(LINES) if line is not None]
        expected = sorted(real, key=lambda index: (-round(float(cosines[index]), 6), index))[:top]
        assert [each.number for each in found] == [index + 1 for index in expected]
        assert [each.line for each in found] == [LINES[index] for index in expected]
        assert [each.similarity for each in found] == [pytest.approx(cosines[index], abs=1e-6) for index in expected]


def test_a_zero_vector_is_like_nothing() -> None:
    neighbours = Neighbours(np.array([[1, 0]], np.float32), 3)
    neighbours.add(["a", "b"], np.array([[0, 0], [2, 0]], np.float32))
    assert [tuple(each) for each in neighbours.best()[0]] == [(1.0, 2, "b"), (0.0, 1, "a")]


def test_a_file_of_vectors_is_read_row_by_row(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    with ArrayWriter(tmp_path / "a.npy", np.float32, 3) as writer:
        writer.append(rows[:2])
        writer.append(rows[2:])
    assert np.array_equal(np.load(tmp_path / "a.npy"), rows)
    file = VectorFile(tmp_path / "a.npy", 3)
    assert np.array_equal(file.take(4), rows[:4])
    with pytest.raises(CorpusError, match="it has more vectors, 5, than there are lines"):
        file.finish()
    assert np.array_equal(file.take(1), rows[4:])
    file.finish()
    with pytest.raises(CorpusError, match="it has fewer vectors, 5, than there are lines"):
        file.take(1)


def test_no_vector_is_an_array_too(tmp_path: Path) -> None:
    with ArrayWriter(tmp_path / "a.npy", np.float32, 3):
        pass
    assert np.load(tmp_path / "a.npy").shape == (0, 3)


def test_what_holds_no_vectors_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.npy").write_text("no array")
    np.save(tmp_path / "flat.npy", np.zeros(3))
    np.save(tmp_path / "wide.npy", np.zeros((2, 4), np.float32))
    for name, what in (
        ("text.npy", "it is not an array of NumPy's"),
        ("flat.npy", r"it does not hold vectors, an array \[N, D\]"),
        ("wide.npy", "its vectors have 4 values, and the model's have 3"),
        ("gone.npy", "it cannot be read: No such file"),
    ):
        with pytest.raises(CorpusError, match=what):
            VectorFile(tmp_path / name, 3)


@pytest.mark.parametrize("portion", [1, 3, 12])
def test_of_equal_lines_the_first_is_found(portion: int) -> None:
    generator = np.random.default_rng(5)
    lines = [f"line {number % 4}" for number in range(12)]
    vectors = generator.normal(size=(4, 3)).astype(np.float32)[[number % 4 for number in range(12)]]
    texts = generator.normal(size=(2, 3)).astype(np.float32)
    neighbours = Neighbours(texts, 3)
    for start in range(0, 12, portion):
        neighbours.add(lines[start : start + portion], vectors[start : start + portion])
    for text, found in zip(texts, neighbours.best(), strict=True):
        cosines = vectors[:4] @ text / np.linalg.norm(vectors[:4], axis=1)
        best = np.argsort(-cosines)[:3]
        assert [(each.number, each.line) for each in found] == [(index + 1, f"line {index}") for index in best]


def test_vectors_of_other_types_are_read_and_what_is_not_finite_is_refused(tmp_path: Path) -> None:
    rows = np.array([[1.5, -2], [0, 3]])
    np.save(tmp_path / "double.npy", rows)
    assert np.array_equal(VectorFile(tmp_path / "double.npy", 2).take(2), rows)
    for value in (np.nan, 1e300):
        np.save(tmp_path / "wrong.npy", np.array([[1, 2], [3, value]]))
        with pytest.raises(CorpusError, match=r"wrong\.npy: its vector 2 has a value that is not a finite number"):
            VectorFile(tmp_path / "wrong.npy", 2).take(2)


def test_the_hint_names_a_file_that_vectors_can_be_written_to(tmp_path: Path) -> None:
    (tmp_path / "known text.txt").write_text("no array")
    with pytest.raises(CorpusError) as refused:
        VectorFile(tmp_path / "known text.txt", 3)
    assert refused.value.hint.startswith(f"nlpseq embed --output '{tmp_path / 'known text.npy'}' FILE")
