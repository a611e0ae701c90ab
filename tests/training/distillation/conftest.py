"""Small teachers of each task, trained once for all tests of a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nlpseq

WORDS = ["fine", "lovely", "warm", "dull", "cold", "grim"]
SMALL: dict[str, Any] = {"hidden_size": 12, "embedding_size": 8, "steps": 8, "batch_size": 5, "device": "cpu"}
TRANSLATOR: dict[str, Any] = {**SMALL, "hidden_size": 24, "steps": 80, "learning_rate": 0.01}


def write_table(path: Path, count: int = 200, seed: int = 1) -> Path:
    """Labelled texts, whose label is that of their last word."""
    generator = np.random.default_rng(seed)
    rows = ["label\ttext"]
    for number in range(count):
        word = int(generator.integers(len(WORDS)))
        rows.append(f"{'up' if word < 3 else 'down'}\tthe {number} film is {WORDS[word]}")
    path.write_text("\n".join(rows) + "\n")
    return path


def write_pairs(path: Path, count: int = 80) -> Path:
    """Pairs of a number and the number in reverse."""
    rows = ["source\ttarget", *(f"say {number} now\t{str(number)[::-1]} is it" for number in range(100, 100 + count))]
    path.write_text("\n".join(rows) + "\n")
    return path


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Corpora and teachers: lm, lm-bytes, up-down, other-labels, pairs."""
    made = tmp_path_factory.mktemp("teachers")
    (made / "text.txt").write_text("the cat sat on the mat.\nthe dog sat on the log.\n" * 60)
    write_table(made / "texts.tsv")
    table = (made / "texts.tsv").read_text().replace("up\t", "sky\t")
    (made / "others.tsv").write_text(table)
    write_pairs(made / "pairs.tsv")
    lm = {**SMALL, "sequence_length": 8}
    nlpseq.train("lm", made / "text.txt", out=made / "lm", **lm)
    nlpseq.train("lm", made / "text.txt", out=made / "lm-2", random_seed=2, cell="gru", **lm)
    nlpseq.train("lm", made / "text.txt", out=made / "lm-bytes", tokens="byte", **lm)
    words = {**SMALL, "tokens": "word", "ngrams": 1}
    nlpseq.train("sentiment", made / "texts.tsv", out=made / "up-down", **words)
    nlpseq.train("sentiment", made / "others.tsv", out=made / "other-labels", **words)
    nlpseq.train("translation", made / "pairs.tsv", out=made / "pairs", tokens="char", **TRANSLATOR)
    return made
