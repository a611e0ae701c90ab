"""What a run writes: rows that no text reads stay zero, and scores are those of the weights as they are stored."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nlpseq
from nlpseq.models.embedding import LEAST_BUCKETS, MOST_BUCKETS, suited_ngrams
from nlpseq.models.model_file import NAME, load_model
from nlpseq.training.optimisers import OPTIMISERS

LINES = "".join(f"{number} bottles stand on the wall, and {number % 7} of them fall.\n" for number in range(300))
LM: dict[str, Any] = {"steps": 6, "hidden_size": 12, "embedding_size": 8, "ngrams": 3, "batch_size": 4}


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """A text file."""
    path = tmp_path / "bottles.txt"
    path.write_text(LINES)
    return path


@pytest.mark.parametrize("buckets", [3000, 40_000], ids=["dense gradients", "sparse gradients"])
@pytest.mark.parametrize("optimiser", OPTIMISERS)
def test_rows_that_are_never_read_stay_zero(optimiser: str, buckets: int, corpus: Path, tmp_path: Path) -> None:
    settings = {**LM, "optimiser": optimiser, "ngram_buckets": buckets, "weight_decay": 0.1, "average": 0.9}
    model: Any = nlpseq.train("lm", corpus, out=tmp_path / "run", **settings)
    table = model.model.weights["ngrams.weight"]
    read = table.any(1).sum()
    different = sum(len({LINES[start : start + length] for start in range(len(LINES))}) for length in (2, 3))
    assert 100 < read <= different
    assert (tmp_path / "run" / NAME).stat().st_size < table.nbytes / 2


@pytest.mark.parametrize("store", ["bf16", "int8"])
def test_the_scores_in_the_file_are_those_of_its_weights(store: str, corpus: Path, tmp_path: Path) -> None:
    trained = {
        name: nlpseq.train("lm", corpus, out=tmp_path / name, store=name, **LM, ngram_buckets=500)
        for name in ("fp32", store)
    }
    values = {name: model.scores[0].value for name, model in trained.items()}
    again = {name: model.evaluate()[0].value for name, model in trained.items()}
    assert again[store] == pytest.approx(values[store], abs=1e-5)
    assert values[store] != values["fp32"]
    assert values[store] == pytest.approx(values["fp32"], abs=0.02)
    sizes = {name: (tmp_path / name / NAME).stat().st_size for name in trained}
    assert sizes[store] < 0.7 * sizes["fp32"]
    assert load_model(tmp_path / store).header["training"]["store"] == store


def test_the_resume_file_is_exact_whatever_the_model_file_is(corpus: Path, tmp_path: Path) -> None:
    """A run in two parts ends with the weights of a run in one, which stored weights would not give."""
    stored = {"store": "int8", "ngram_buckets": 500, "save_every": 2}
    nlpseq.train("lm", corpus, out=tmp_path / "whole", **LM, **stored)

    class Stopped(Exception):
        pass

    def stop(progress: Any) -> None:
        if progress.step == 4:
            raise Stopped

    with pytest.raises(Stopped):
        nlpseq.train("lm", corpus, out=tmp_path / "parts", progress=stop, **LM, **stored)
    nlpseq.train("lm", corpus, out=tmp_path / "parts", resume=True, **LM, **stored)
    whole, parts = (load_model(tmp_path / name).weights for name in ("whole", "parts"))
    for name, value in whole.items():
        assert np.array_equal(value, parts[name]), name


def test_tables_grow_with_the_text() -> None:
    sizes = [suited_ngrams(10**power)[1] for power in range(2, 9)]
    assert sizes == sorted(sizes)
    assert (sizes[0], sizes[-1]) == (LEAST_BUCKETS, MOST_BUCKETS)
    assert suited_ngrams(1_003_854) == (5, MOST_BUCKETS)


def test_a_short_text_makes_a_small_model(tmp_path: Path) -> None:
    text = (LINES * 2)[:9000]
    (tmp_path / "short.txt").write_text(text)
    nlpseq.train("lm", tmp_path / "short.txt", out=tmp_path / "run", steps=3, hidden_size=96, validations=1)
    assert (tmp_path / "run" / NAME).stat().st_size < 1_000_000
