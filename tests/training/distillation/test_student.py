"""The request of a student: which arguments are models, its sizes, its corpus, and what is refused."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

import nlpseq
from nlpseq.errors import ModelFileError, OptionError, RunError
from nlpseq.models.model_file import load_model, save_model
from nlpseq.tasks import CLASSIFIER, LANGUAGE_MODEL
from nlpseq.training.distillation.student import lesson, sort_arguments


def test_run_folders_and_model_files_are_models_and_all_else_is_a_corpus(folder: Path) -> None:
    run, text = str(folder / "lm"), str(folder / "text.txt")
    assert sort_arguments([run, text]) == ([run], [text])
    assert sort_arguments([run, text, f"{run}/model.safetensors"]) == ([run, f"{run}/model.safetensors"], [text])
    assert sort_arguments([run, "missing.txt", "-"]) == ([run], ["missing.txt", "-"])
    assert sort_arguments(["reviews", "reviews.tsv"]) == (["reviews"], ["reviews.tsv"])
    assert sort_arguments([run, "stories"]) == ([run], ["stories"]), "after the first it is the corpus of that name"


def test_a_student_has_half_the_units_and_reads_the_corpus_of_its_teacher(folder: Path) -> None:
    found = lesson([str(folder / "lm-2")], [], {})
    request: Any = found.request
    assert found.task is LANGUAGE_MODEL and found.notes == []
    assert (request.model.cell, request.model.hidden_size, request.model.embedding_size) == ("gru", 6, 4)
    assert request.corpus == (str(folder / "text.txt"),)
    assert request.teacher == (str(folder / "lm-2"),)
    assert request.out == Path("checkpoints/lm-small")


def test_the_embedding_of_a_classifier_shrinks_by_the_square(folder: Path) -> None:
    found = lesson([str(folder / "up-down")], [], {"hidden_size": 3})
    request: Any = found.request
    assert found.task is CLASSIFIER
    assert (request.model.hidden_size, request.model.embedding_size) == (3, 1)  # 8 / 16, rounded up to one
    assert lesson([str(folder / "up-down")], [], {"embedding_size": 5}).request.model.embedding_size == 5


@pytest.mark.parametrize(("kind", "smaller"), [("parts", "words"), ("words", "words"), ("none", "none")])
def test_the_linear_model_of_a_student_counts_words_at_most(
    kind: str, smaller: str, folder: Path, tmp_path: Path
) -> None:
    options = {"steps": 2, "hidden_size": 6, "device": "cpu", "linear": kind}
    nlpseq.train("sentiment", folder / "texts.tsv", out=tmp_path / "teacher", **options)
    request: Any = lesson([str(tmp_path / "teacher")], [], {}).request
    assert request.model.linear == smaller
    assert lesson([str(tmp_path / "teacher")], [], {"linear": "parts"}).request.model.linear == "parts"


def test_a_student_that_is_no_smaller_is_noted(folder: Path) -> None:
    (note,) = lesson([str(folder / "lm")], [], {"hidden_size": 12}).notes
    assert "no smaller" in note and "--hidden-size 6" in note


def test_columns_and_validation_texts_are_those_of_the_teacher(folder: Path, tmp_path: Path) -> None:
    rows = (folder / "texts.tsv").read_text().splitlines()[1:]
    swapped = "\n".join(
        ["opinion\tid\tsaid", *("\t".join([*row.split("\t")[:1], "7", row.split("\t")[1]]) for row in rows)]
    )
    (tmp_path / "train.tsv").write_text(swapped + "\n")
    shutil.copy(tmp_path / "train.tsv", tmp_path / "valid.tsv")
    named = {"label_column": "opinion", "text_column": "said", "valid": tmp_path / "valid.tsv"}
    nlpseq.train("sentiment", tmp_path / "train.tsv", out=tmp_path / "t", steps=2, hidden_size=6, device="cpu", **named)
    request: Any = lesson([str(tmp_path / "t")], [], {}).request
    assert (request.label_column, request.text_column) == ("opinion", "said")
    assert request.valid == (str(tmp_path / "valid.tsv"),)


def test_without_a_model_or_a_corpus_the_way_is_told(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(OptionError) as caught:
        lesson([], [], {})
    assert caught.value.where == "MODEL"
    with pytest.raises(OptionError, match="comes first"):
        lesson([str(folder / "text.txt")], [], {})
    with pytest.raises(ModelFileError, match="no such model"):
        lesson([str(folder / "missing")], [], {})
    model = load_model(folder / "lm")
    save_model(tmp_path / "m.safetensors", model.task, model.options, model.weights, model.tokeniser)
    with pytest.raises(OptionError, match="is needed"):
        lesson([str(tmp_path / "m.safetensors")], [], {})


def test_options_of_another_task_are_refused(folder: Path) -> None:
    with pytest.raises(OptionError, match="is no option of training a language model"):
        lesson([str(folder / "lm")], [], {"label_column": "1"})


def test_a_run_without_a_teacher_is_not_continued(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="without a teacher"):
        lesson([], [], {"resume": True, "out": folder / "lm"})
    with pytest.raises(RunError):
        lesson([], [], {"resume": True, "out": tmp_path / "missing"})
    with pytest.raises(OptionError, match="must name the folder"):
        lesson([], [], {"resume": True})


def test_a_student_has_no_more_ngrams_than_its_teacher(folder: Path, tmp_path: Path) -> None:
    small: dict[str, Any] = {"hidden_size": 12, "embedding_size": 8, "steps": 2, "sequence_length": 8, "device": "cpu"}
    for ngrams in (1, 3):
        nlpseq.train("lm", folder / "text.txt", out=tmp_path / f"n{ngrams}", ngrams=ngrams, **small)
        own = load_model(tmp_path / f"n{ngrams}").options
        student: Any = lesson([str(tmp_path / f"n{ngrams}")], [], {}).request.model
        assert student.ngrams == ngrams
        assert student.ngram_buckets == (own["ngram_buckets"] if ngrams > 1 else None)
    assert lesson([str(tmp_path / "n1")], [], {"ngrams": 2}).request.model.ngrams == 2
    up_down: Any = lesson([str(folder / "up-down")], [], {}).request.model
    assert up_down.ngrams == load_model(folder / "up-down").options["ngrams"]


def test_a_student_that_starts_from_a_model_has_its_sizes(folder: Path, tmp_path: Path) -> None:
    path = str(folder / "up-down")
    found = lesson([path], [], {"init_from": path, "steps": 2, "out": tmp_path / "s", "device": "cpu"})
    assert "size of --init-from" in found.notes[0]
    run = found.task.load("run")(found.request)
    list(run.progress())
    run.finish()
    assert load_model(tmp_path / "s").options["hidden_size"] == load_model(folder / "up-down").options["hidden_size"]


@pytest.mark.parametrize(
    ("names", "what", "hint"),
    [
        (("lm", "lm-bytes"), "other tokens", "leave out {1}"),
        (("up-down", "other-labels"), "other labels", "leave out {1}"),
        (("lm", "up-down"), "is a classifier, and {0} a language model", "leave out {1}"),
        (("lm", "lm"), "named twice", "name each teacher once"),
    ],
)
def test_models_that_cannot_teach_together_are_named_as_they_were_typed(
    folder: Path, names: tuple[str, str], what: str, hint: str
) -> None:
    paths = [str(folder / name) for name in names]
    with pytest.raises(OptionError) as caught:
        lesson(paths, [], {})
    assert caught.value.where == "MODEL"
    assert what.format(*paths) in caught.value.what
    assert caught.value.hint == hint.format(*paths)


def test_a_corpus_that_is_gone_is_told_to_be_that_of_the_teacher(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "home").mkdir()
    shutil.copy(folder / "texts.tsv", tmp_path / "home")
    monkeypatch.chdir(tmp_path / "home")
    nlpseq.train("sentiment", "texts.tsv", out="t", steps=2, hidden_size=6, device="cpu")
    assert lesson(["t"], [], {}).request.corpus == ("texts.tsv",)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelFileError, match=r"trained with cannot be read: texts.tsv") as caught:
        lesson(["home/t"], [], {})
    assert caught.value.hint.startswith("nlpseq distil home/t FILE; or change to the folder")
    assert lesson(["home/t"], ["home/texts.tsv"], {}).request.corpus == ("home/texts.tsv",)


def test_a_student_does_not_replace_its_teacher(folder: Path) -> None:
    path = folder / "up-down"
    with pytest.raises(OptionError, match="--overwrite would replace"):
        lesson([str(path)], [], {"out": path, "overwrite": True})
