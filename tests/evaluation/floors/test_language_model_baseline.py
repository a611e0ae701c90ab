"""The n-grams of a language model's own training text."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nlpseq.errors import ModelFileError, NlpseqError, OptionError
from nlpseq.evaluation.floors.kneser_ney import KneserNey
from nlpseq.evaluation.floors.language_model import kneser_ney_baseline, training_tokens
from nlpseq.evaluation.text_scores import EvaluationText, read_text, text_scores
from nlpseq.models import language_model
from nlpseq.models.model_file import Model
from nlpseq.text.splits import CorpusSpan

TEXT = "the cat sat on the mat, où es-tu?\nthe dog sat on the log.\n\nöl 猫\n" * 40
TEST = "the dog sat où\nzebra\n"
UNTIL = 1001


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    path = tmp_path / "corpus.txt"
    path.write_text(TEXT, encoding="utf-8")
    return path


@pytest.fixture
def model(make_model: Callable[..., Path], corpus: Path) -> Callable[..., Model]:
    def make(kind: str = "char", **facts: Any) -> Model:
        known = {"corpus": [str(corpus)], "sha256": hashlib.sha256(TEXT.encode()).hexdigest(), "train_until": UNTIL}
        return language_model.load(make_model(kind, data={**known, **facts}))[0]

    return make


def _test_text(model: Model, folder: Path) -> Any:
    path = folder / "test.txt"
    path.write_text(TEST, encoding="utf-8")
    return read_text(model, EvaluationText(CorpusSpan((str(path),))))


@pytest.mark.parametrize("kind", ["char", "word", "bpe", "byte"])
@pytest.mark.parametrize("until", [None, UNTIL])
def test_it_counts_the_training_part_in_the_models_tokens(
    model: Callable[..., Model], kind: str, until: int | None
) -> None:
    made = model(kind, train_until=until)
    ids = training_tokens(made).ids
    assert ids.tolist() == made.tokeniser.encode(TEXT[:until], exact=False).tolist()


def test_its_scores_are_measured_as_the_models_are(model: Callable[..., Model], tmp_path: Path) -> None:
    made = model()
    text = _test_text(made, tmp_path)
    found = kneser_ney_baseline(made, text, 3)
    tokens = made.tokeniser.encode(TEXT[:UNTIL])
    nats = KneserNey(tokens, made.tokeniser.size, 3).text_loss(made.tokeniser.encode(TEST))
    assert found.name == "kneser-ney" and found.scores[0].value == pytest.approx(nats / len(TEST), rel=1e-12)
    options = language_model.load(made.path)[1]
    beside = text_scores(made, options, EvaluationText(CorpusSpan((str(tmp_path / "test.txt"),))))
    assert [(score.name, score.unit, score.signature) for score in found.scores] == [
        (score.name, score.unit, score.signature) for score in beside
    ]


def test_its_signature_says_what_was_counted(model: Callable[..., Model], tmp_path: Path) -> None:
    made = model()
    tokeniser = made.tokeniser
    fields = kneser_ney_baseline(made, _test_text(made, tmp_path), 2).signature.split("|")
    digest = hashlib.sha256(TEXT[:UNTIL].encode()).hexdigest()[:8]
    assert fields[:2] == ["kneser-ney", "order:2"]
    assert fields[2].startswith("discounts:modified")
    assert fields[3] == f"tok:char-{tokeniser.size}#{tokeniser.fingerprint}"
    assert fields[4] == f"trained-on:corpus.txt:first-{UNTIL}#{digest}"


def test_of_a_long_text_the_start_is_counted_and_it_is_told(model: Callable[..., Model], tmp_path: Path) -> None:
    made, notes = model(), list[str]()
    found = kneser_ney_baseline(made, _test_text(made, tmp_path), 2, notes.append, most=100)
    nats = KneserNey(made.tokeniser.encode(TEXT[:100]), made.tokeniser.size, 2).text_loss(made.tokeniser.encode(TEST))
    assert found.scores[0].parts["nats"] == pytest.approx(nats, rel=1e-12)
    assert notes == [f"the baseline counts the first 100 of {UNTIL:,} tokens of the training text"]
    assert ":tokens-100|" in found.signature


@pytest.mark.parametrize("order", [0, 11, 2.5, "3"])
def test_an_order_out_of_range_is_refused(model: Callable[..., Model], tmp_path: Path, order: Any) -> None:
    made = model()
    with pytest.raises(OptionError, match="order: must be a whole number from 1 to 10"):
        kneser_ney_baseline(made, _test_text(made, tmp_path), order)


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({"corpus": []}, "does not say what text it was trained on"),
        ({"corpus": ["-"]}, "was trained on standard input, which is gone"),
        ({"corpus": ["gone.txt"]}, "the text that it was trained with cannot be read"),
        ({"sha256": "0" * 64}, "its training texts have changed"),
    ],
)
def test_a_training_text_that_is_not_there_any_more(
    model: Callable[..., Model], facts: dict[str, Any], said: str
) -> None:
    with pytest.raises(ModelFileError, match=said) as refused:
        training_tokens(model(**facts))
    assert isinstance(refused.value, NlpseqError) and refused.value.hint


def test_ids_have_the_smallest_type(model: Callable[..., Model]) -> None:
    made = model("word")
    assert training_tokens(made).ids.dtype == np.min_scalar_type(made.tokeniser.size - 1)
