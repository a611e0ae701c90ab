"""Pairs and labelled texts in files: what was read, whatever the number of processes, in constant memory."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from nlpseq.errors import RunError
from nlpseq.models.classifier import text_ids
from nlpseq.models.translator import line_ids
from nlpseq.training.data import encoding
from nlpseq.training.data.labels import open_labelled, tokenise_labelled
from nlpseq.training.data.pairs import open_pairs, tokenise_pairs
from nlpseq.training.data.sentences import Sentences

BYTES_FOR_EACH_ROW = 20  # at most

MEMORY = """
import sys
from pathlib import Path
from nlpseq.training.data.{module} import {function}

{function}([sys.argv[1]], (), Path(sys.argv[2]), tokens="byte", processes=1{more})
status = Path("/proc/self/status").read_text()
print(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")))
"""


def _pairs_file(folder: Path, rows: int = 1500) -> str:
    path = folder / "pairs.tsv"
    numbers = (index * 7 % rows for index in range(rows))
    path.write_text("".join(f"the {number}. text\tText {number % 97}, ü\n" for number in numbers), "utf-8")
    return str(path)


def _labelled_file(folder: Path, rows: int = 1500) -> str:
    path = folder / "texts.tsv"
    texts = (f"{'abc'[number % 3]}\tThe {number}. text of {number % 97}, ü\n" for number in range(rows))
    path.write_text("label\ttext\n" + "".join(texts), "utf-8")
    return str(path)


def _tokenised_pairs(folder: Path, processes: int) -> None:
    tokenise_pairs([_pairs_file(folder)], (), folder, two_files=False, tokens="bpe", processes=processes)


def _tokenised_texts(folder: Path, processes: int) -> None:
    tokenise_labelled([_labelled_file(folder)], (), folder, tokens="bpe", processes=processes, longest=10)


@pytest.mark.parametrize("tokenise", [_tokenised_pairs, _tokenised_texts])
def test_the_number_of_processes_changes_nothing(
    tokenise: Callable[[Path, int], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encoding, "ENOUGH", 0)
    found = []
    for processes in (1, 2):
        folder = tmp_path / str(processes)
        folder.mkdir()
        tokenise(folder, processes)
        names = sorted(name for name in os.listdir(folder) if name.endswith(".npy"))
        found.append({name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in names})
    assert found[0] == found[1] and len(found[0]) > 5


def test_pairs_are_encoded_one_by_one_and_long_ones_left_out(tmp_path: Path) -> None:
    name = _pairs_file(tmp_path)
    corpus = tokenise_pairs([name], (), tmp_path, two_files=False, tokens="word", vocabulary_size=320, longest=9)
    rows = [line.split("\t") for line in Path(name).read_text("utf-8").splitlines()]
    ids = [[line_ids(corpus.tokeniser, text) for text in row] for row in rows]
    for part, chosen in ((corpus.train, ids[:-75]), (corpus.valid, ids[-75:])):
        fitting = [pair for pair in chosen if max(map(len, pair)) <= 9]
        assert 0 < len(fitting) == len(part)
        for index, pair in enumerate(fitting):
            assert part.sources[index].tolist() == pair[0].tolist()
            assert part.targets[index].tolist() == pair[1].tolist()
    counts = np.bincount(np.concatenate([pair[1] for pair in ids[:-75] if max(map(len, pair)) <= 9]))
    assert corpus.frequencies[: len(counts)].tolist() == counts.tolist()
    assert corpus.facts["too_long"] == len(ids) - len(corpus.train) - len(corpus.valid) > 0


def test_texts_keep_their_labels_and_lose_their_middles(tmp_path: Path) -> None:
    name = _labelled_file(tmp_path, 300)
    corpus = tokenise_labelled([name], [name], tmp_path, tokens="byte", longest=21)
    rows = [line.split("\t") for line in Path(name).read_text("utf-8").splitlines()[1:]]
    chosen = np.array([299, 0, 17])
    whole = [text_ids(corpus.tokeniser, text, lowercase=True) for _, text in rows]
    for part, cut in ((corpus.train, True), (corpus.valid, False)):
        batch = part.batch(chosen)
        assert batch.labels.tolist() == ["abc".index(rows[index][0]) for index in chosen]
        for column, index in enumerate(chosen):
            ids = whole[index].tolist()
            expected = [*ids[:10], *ids[-11:]] if cut else ids
            assert batch.ids[: batch.lengths[column], column].tolist() == expected
    assert corpus.facts["cut"] == 300 and corpus.label_counts.tolist() == [100, 100, 100]


@pytest.mark.parametrize("name", ["train.sources.ids.npy", "valid.targets.starts.npy", "train.targets.starts.npy"])
@pytest.mark.parametrize("change", [os.remove, lambda path: os.truncate(path, path.stat().st_size - 1)])
def test_pairs_in_a_damaged_folder_are_refused(name: str, change: Callable[[Path], None], tmp_path: Path) -> None:
    _tokenised_pairs(tmp_path, 1)
    change(tmp_path / name)
    with pytest.raises(RunError, match="tokens cannot be read"):
        open_pairs(tmp_path)


def test_files_of_two_corpora_do_not_belong_together(tmp_path: Path) -> None:
    folders = [tmp_path / "a", tmp_path / "b"]
    for folder, rows in zip(folders, (300, 301), strict=True):
        folder.mkdir()
        tokenise_labelled([_labelled_file(folder, rows)], (), folder, tokens="byte")
    for name in ("train.labels.npy", "train.texts.ids.npy"):
        kept = (folders[0] / name).read_bytes()
        (folders[0] / name).write_bytes((folders[1] / name).read_bytes())
        with pytest.raises(RunError, match="do not belong together"):
            open_labelled(folders[0])
        (folders[0] / name).write_bytes(kept)
    assert len(open_labelled(folders[0]).train) == 270


def test_a_batch_is_the_same_from_memory_and_from_a_file(tmp_path: Path) -> None:
    _tokenised_pairs(tmp_path, 1)
    stored = open_pairs(tmp_path).train.sources
    in_memory = Sentences(stored.ids[:], stored.starts[:])
    chosen = np.random.default_rng(1).integers(0, len(stored.lengths), 50)
    for found, expected in zip(stored.padded(chosen), in_memory.padded(chosen), strict=True):
        assert np.array_equal(found, expected)
    ids, lengths = stored.padded(chosen)
    for column, index in enumerate(chosen):
        assert ids[: lengths[column], column].tolist() == stored[index].tolist()
        assert (ids[lengths[column] :, column] == 10).all()


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux tells the peak memory of a process")
@pytest.mark.parametrize(
    ("write", "module", "function", "more"),
    [
        (_pairs_file, "pairs", "tokenise_pairs", ", two_files=False"),
        (_labelled_file, "labels", "tokenise_labelled", ""),
    ],
)
def test_memory_does_not_grow_with_the_rows(
    write: Callable[[Path, int], str], module: str, function: str, more: str, tmp_path: Path
) -> None:
    program = MEMORY.format(module=module, function=function, more=more)
    peaks = []
    sizes = (80_000, 240_000)
    for rows in sizes:
        folder = tmp_path / str(rows)
        folder.mkdir()
        command = [sys.executable, "-c", program, write(folder, rows), str(folder)]
        peaks.append(1024 * int(subprocess.run(command, capture_output=True, text=True, check=True).stdout))
    assert peaks[1] - peaks[0] < BYTES_FOR_EACH_ROW * (sizes[1] - sizes[0])
