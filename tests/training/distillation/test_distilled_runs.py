"""Students of each task: what they learn from, that a run goes on exactly, and what is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nlpseq
from nlpseq.errors import CorpusError, ModelFileError, NlpseqError, OptionError, RunError
from nlpseq.models.model_file import NAME, load_model, save_model
from nlpseq.tasks import CLASSIFIER, LANGUAGE_MODEL, TRANSLATOR, Task
from nlpseq.text.tokenisers import NEWLINE
from nlpseq.training.data.labels import open_labelled
from nlpseq.training.data.pairs import open_pairs
from nlpseq.training.repeating import repeated
from nlpseq.training.requests import make_request

CPU: dict[str, Any] = {"device": "cpu", "batch_size": 5, "save_every": 4, "validations": 3}
STUDENTS: list[tuple[Task, str, str, dict[str, Any]]] = [
    (LANGUAGE_MODEL, "text.txt", "lm", {"hidden_size": 6, "sequence_length": 8, "temperature": 2.0}),
    (CLASSIFIER, "texts.tsv", "up-down", {"hidden_size": 6, "embedding_size": 4, "ngrams": 1}),
    (TRANSLATOR, "pairs.tsv", "pairs", {"hidden_size": 6, "embedding_size": 4}),
]


def start(task: Task, folder: Path, corpus: str, out: Path, stop_after: int | None = None, **options: Any) -> Any:
    """A run with twelve steps; it is stopped after some of them, or finished."""
    values = {**CPU, "steps": 12, "out": out, **options}
    run = task.load("run")(make_request(task, [folder / corpus] if corpus else [], values))
    for progress in run.progress():
        if progress.step == stop_after:
            run.folder.release()
            return run
    run.finish()
    return run


def assert_same_weights(one: Path, other: Path) -> None:
    models = [load_model(path) for path in (one, other)]
    for name, value in models[0].weights.items():
        np.testing.assert_array_equal(value, models[1].weights[name], err_msg=name)


@pytest.mark.parametrize(("task", "corpus", "teacher", "options"), STUDENTS, ids=["lm", "sentiment", "translation"])
def test_a_run_that_is_killed_goes_on_to_the_same_bits(
    folder: Path, tmp_path: Path, task: Task, corpus: str, teacher: str, options: dict[str, Any]
) -> None:
    options = {**options, "teacher": [str(folder / teacher)]}
    start(task, folder, corpus, tmp_path / "whole", **options)
    start(task, folder, corpus, tmp_path / "parts", stop_after=6, **options)
    request = make_request(task, [], {"resume": True, "out": tmp_path / "parts"})
    run = task.load("run")(request)
    assert run.again == f"nlpseq distil --resume --out {tmp_path / 'parts'}", "which compares it with its teacher"
    list(run.progress())
    run.finish()
    assert_same_weights(tmp_path / "whole", tmp_path / "parts")
    with pytest.raises(RunError, match="is finished") as refused:
        task.load("run")(request)
    assert refused.value.hint == f"nlpseq distil --resume --steps 24 --out {tmp_path / 'parts'}"


@pytest.mark.parametrize(("task", "corpus", "teacher", "options"), STUDENTS, ids=["lm", "sentiment", "translation"])
def test_the_model_names_its_teacher_and_the_run_can_be_repeated(
    folder: Path, tmp_path: Path, task: Task, corpus: str, teacher: str, options: dict[str, Any]
) -> None:
    path = str(folder / teacher)
    run = start(task, folder, corpus, tmp_path / "a", **options, teacher=[path])
    header = load_model(tmp_path / "a").header
    assert header["teachers"] == [{"path": path, "checksum": load_model(folder / teacher).header["checksum"]}]
    values = repeated(json.loads((tmp_path / "a" / "config.json").read_text()))
    corpora = values.pop("corpus")
    again = task.load("run")(make_request(task, corpora, {**values, "out": tmp_path / "b", "device": "cpu"}))
    list(again.progress())
    again.finish()
    assert_same_weights(tmp_path / "a", tmp_path / "b")
    assert run.teachers.paths == again.teachers.paths == (path,)


def test_the_student_of_a_language_model_learns_the_teacher_and_not_the_text(folder: Path, tmp_path: Path) -> None:
    """With all weight on the teacher, the loss on the text approaches that of the teacher and not zero."""
    teacher = nlpseq.load(folder / "lm")
    options = {"hidden_size": 24, "embedding_size": 16, "sequence_length": 8, "steps": 150, "learning_rate": 0.02}
    losses = {}
    for soft in (0.0, 1.0):
        out = tmp_path / f"s{soft}"
        start(LANGUAGE_MODEL, folder, "text.txt", out, **options, soft=soft, teacher=[str(folder / "lm")])
        losses[soft] = next(score.value for score in nlpseq.load(out).evaluate() if score.name == "loss")
    own = next(score.value for score in teacher.evaluate() if score.name == "loss")
    assert losses[0.0] < 0.5 * own, "the text is easy"
    assert losses[1.0] == pytest.approx(own, rel=0.1), "but the teacher has hardly learned it"


def test_the_answers_that_a_classifier_learns_are_the_averaged_probabilities(folder: Path, tmp_path: Path) -> None:
    second = nlpseq.train(
        "sentiment", folder / "texts.tsv", out=tmp_path / "second", random_seed=3, hidden_size=7, **CPU, steps=5
    )
    paths = [str(folder / "up-down"), str(tmp_path / "second")]
    options = {"hidden_size": 6, "teacher": paths, "stop_after": 2, "tokens": "char"}
    run = start(CLASSIFIER, folder, "texts.tsv", tmp_path / "s", **options)
    corpus = open_labelled(run.folder.tokens)
    assert corpus.tokeniser.kind == "char", "a student may have other tokens, because answers are about texts"
    assert corpus.soft is not None
    chosen = np.array([5, 0, 17])
    texts = [corpus.tokeniser.decode(corpus.train.batch(chosen).ids[1:-1, number]).strip() for number in range(3)]
    texts = [text.split("\n")[0] for text in texts]
    decisions = [model.classify(texts) for model in (nlpseq.load(folder / "up-down"), second)]
    means = [
        [(a.by_label()[name] + b.by_label()[name]) / 2 for name in corpus.labels]
        for a, b in zip(*decisions, strict=True)
    ]
    np.testing.assert_allclose(np.exp(corpus.soft[chosen]), means, atol=2e-3)


def test_plain_text_gets_the_labels_of_the_teacher(folder: Path, tmp_path: Path) -> None:
    texts = [f"the {number} film is {'fine' if number % 3 else 'grim'}" for number in range(60)]
    (tmp_path / "plain.txt").write_text("\n".join(["", *texts]) + "\n")
    options = {"hidden_size": 6, "teacher": [str(folder / "up-down")], "stop_after": 2}
    run = start(CLASSIFIER, tmp_path, "plain.txt", tmp_path / "s", **options)
    corpus = run.corpus
    assert len(corpus.train) + len(corpus.valid) == len(texts)
    labels = [decision.label for decision in nlpseq.load(folder / "up-down").classify(texts)]
    counts = np.bincount(corpus.train.labels, minlength=2) + np.bincount(corpus.valid.labels, minlength=2)
    assert counts.tolist() == [labels.count(name) for name in corpus.labels]
    assert any("without labels" in note for note in run.notes)


def test_a_translator_learns_the_translations_and_with_originals_both(folder: Path, tmp_path: Path) -> None:
    teacher = {"hidden_size": 6, "teacher": [str(folder / "pairs")], "stop_after": 1}
    model = nlpseq.load(folder / "pairs")
    for originals in (False, True):
        options = {**teacher, **({"originals": True} if originals else {})}
        run = start(TRANSLATOR, folder, "pairs.tsv", tmp_path / f"s{originals}", **options)
        corpus = open_pairs(run.folder.tokens)
        rows = [line.split("\t") for line in (folder / "pairs.tsv").read_text().splitlines()[1:]]
        rows = rows[: len(rows) - len(corpus.valid)]
        expected: list[tuple[str, str]] = []
        for (source, own), translation in zip(rows, model.translate([source for source, _ in rows]), strict=True):
            expected += [(source, text) for text in [translation] + [own] * originals if text.strip()]
        spell = corpus.tokeniser.decode
        train = corpus.train
        sides = ((train.sources[number], train.targets[number]) for number in range(len(train)))
        assert [(spell(source[:-1]), spell(target[:-1])) for source, target in sides] == expected
        assert corpus.facts["sha256"] == load_model(folder / "pairs").header["data"]["sha256"]


def refused(error: type[NlpseqError], task: Task, folder: Path, out: Path, **options: Any) -> NlpseqError:
    corpus = {LANGUAGE_MODEL: "text.txt", CLASSIFIER: "texts.tsv", TRANSLATOR: "pairs.tsv"}[task]
    with pytest.raises(error) as caught:
        start(task, folder, options.pop("corpus", corpus), out, **options)
    assert caught.value.hint
    return caught.value


def test_language_models_with_other_tokens_are_refused(folder: Path, tmp_path: Path) -> None:
    lm, others = str(folder / "lm"), str(folder / "lm-bytes")
    out = tmp_path / "s"
    assert "other tokens" in refused(OptionError, LANGUAGE_MODEL, folder, out, teacher=[lm, others]).what
    assert "tokens" in refused(OptionError, LANGUAGE_MODEL, folder, out, teacher=[lm], tokens="bpe").where
    assert "vocab_size" in refused(OptionError, LANGUAGE_MODEL, folder, out, teacher=[lm], vocab_size=300).where
    assert "init_from" in refused(OptionError, LANGUAGE_MODEL, folder, out, teacher=[lm], init_from=others).where
    assert "whole vocabulary" in refused(OptionError, LANGUAGE_MODEL, folder, out, teacher=[lm], softmax="sampled").what
    assert not out.exists()


def test_teachers_that_do_not_fit_are_refused(folder: Path, tmp_path: Path) -> None:
    own, out = str(folder / "up-down"), tmp_path / "s"
    error = refused(OptionError, CLASSIFIER, folder, out, teacher=[own, str(folder / "other-labels")])
    assert "'sky', 'up'" in error.what
    assert "twice" in refused(OptionError, CLASSIFIER, folder, out, teacher=[own, own]).what
    shutil.copytree(folder / "up-down", tmp_path / "copy")
    assert "is the model" in refused(OptionError, CLASSIFIER, folder, out, teacher=[own, str(tmp_path / "copy")]).what
    error = refused(CorpusError, CLASSIFIER, folder, out, teacher=[own], corpus="others.tsv")
    assert "'sky'" in error.what and "teacher" in error.hint
    refused(ModelFileError, CLASSIFIER, folder, out, teacher=[str(folder / "lm")])
    error = refused(OptionError, CLASSIFIER, folder, folder / "up-down", teacher=[own], overwrite=True)
    assert "--overwrite would replace it" in error.what
    assert "there is none" in refused(OptionError, CLASSIFIER, folder, out, soft=0.3).what
    assert "there is none" in refused(OptionError, TRANSLATOR, folder, out, originals=True).what


def test_a_run_goes_on_with_the_teachers_of_its_start_only(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder / "lm", tmp_path / "teacher")
    options = {"hidden_size": 6, "sequence_length": 8, "teacher": [str(tmp_path / "teacher")]}
    start(LANGUAGE_MODEL, folder, "text.txt", tmp_path / "s", stop_after=6, **options)
    other = make_request(LANGUAGE_MODEL, [], {"resume": True, "out": tmp_path / "s", "teacher": str(folder / "lm-2")})
    with pytest.raises(OptionError, match="when the run was started"):
        LANGUAGE_MODEL.load("run")(other)
    shutil.copy(folder / "lm-2" / NAME, tmp_path / "teacher" / NAME)
    with pytest.raises(RunError, match="another model than when the run was started"):
        LANGUAGE_MODEL.load("run")(make_request(LANGUAGE_MODEL, [], {"resume": True, "out": tmp_path / "s"}))


def test_a_translator_that_translates_nothing_teaches_nothing(folder: Path, tmp_path: Path) -> None:
    model = load_model(folder / "pairs")
    bias = model.weights["output.bias"].copy()
    bias[NEWLINE] += 100  # it ends at once
    weights = {**model.weights, "output.bias": bias}
    save_model(tmp_path / "silent.safetensors", model.task, model.options, weights, model.tokeniser)
    silent = {"hidden_size": 6, "teacher": [str(tmp_path / "silent.safetensors")]}
    assert "none of the sources" in refused(ModelFileError, TRANSLATOR, folder, tmp_path / "s", **silent).what


def test_two_teachers_with_other_cells_teach_one_language_model(folder: Path, tmp_path: Path) -> None:
    paths = [str(folder / "lm"), str(folder / "lm-2")]
    options = {"hidden_size": 6, "sequence_length": 8, "teacher": paths}
    run = start(LANGUAGE_MODEL, folder, "text.txt", tmp_path / "s", **options)
    assert [fact["path"] for fact in load_model(run.folder.model).header["teachers"]] == paths
