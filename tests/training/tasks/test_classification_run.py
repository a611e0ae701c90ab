"""A classifier's run from end to end: learning, teachers, adversaries, resuming to the bit, and what is refused."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from nlpseq.decoding.classification import TextClassifier
from nlpseq.errors import CorpusError, ModelFileError, OptionError
from nlpseq.models import classifier
from nlpseq.models.classifier import ClassifierOptions
from nlpseq.models.language_model import LanguageModelOptions
from nlpseq.models.language_model import initial_weights as language_model_weights
from nlpseq.models.model_file import NAME, read_tensors, save_model
from nlpseq.text.tables.labelled import FEWEST
from nlpseq.text.tokenisers import train_tokeniser
from nlpseq.training.data.labels import tokenise_labelled
from nlpseq.training.data.shuffled import Shuffled
from nlpseq.training.options import ClassifierTraining, CorpusOptions
from nlpseq.training.requests import ClassifierRequest
from nlpseq.training.tasks.adversaries import divergence, scaled
from nlpseq.training.tasks.classification import ClassificationRun

GOOD, BAD, FILLER = ["fine", "lovely", "warm"], ["dull", "cold", "grim"], ["film", "plot", "song", "tale", "end"]
MODEL: dict[str, Any] = {"hidden_size": 12, "embedding_size": 8, "ngrams": 1, "linear": "none"}
TRAINING: dict[str, Any] = {"steps": 12, "batch_size": 5, "average": 0.9, "validations": 3, "save_every": 4}


def _write_texts(path: Path, count: int = 300) -> Path:
    """Texts whose word of praise or blame is turned round by `not` before it."""
    generator = np.random.default_rng(1)
    lines = ["label\ttext"]
    for _ in range(count):
        good, negated = generator.integers(2, size=2)
        opinion = ("not " if negated else "") + str(generator.choice(GOOD if good else BAD))
        words = [*generator.choice(FILLER, generator.integers(1, 4)), opinion, *generator.choice(FILLER, 2)]
        lines.append(f"{'up' if good != negated else 'down'}\t{' '.join(words)}")
    path.write_text("\n".join(lines) + "\n")
    return path


def make_request(folder: Path, **given: Any) -> ClassifierRequest:
    corpus = folder.parent / "texts.tsv"
    if not corpus.exists():
        _write_texts(corpus)
    kept = ("resume", "overwrite", "valid", "corpus", "init_from", "columns")
    settings = {name: given.pop(name) for name in kept if name in given}
    tokens = given.pop("tokens", "word")
    return ClassifierRequest(
        **{"corpus": (str(corpus),), **settings},
        out=folder,
        model=ClassifierOptions(**{**MODEL, **given.pop("model", {})}),
        training=ClassifierTraining(**{**TRAINING, **given}),
        corpus_options=CorpusOptions(tokens=tokens),
    )


def _train(request: ClassifierRequest, stop_after: int | None = None) -> dict[str, Any]:
    run = ClassificationRun(request)
    for progress in run.progress():
        if progress.step == stop_after:
            return {}
    return run.finish()


@pytest.mark.parametrize("model", [{}, {"cell": "mingru", "ngrams": 2, "ngram_buckets": 512}, {"pooling": "attention"}])
def test_it_learns_what_no_bag_of_words_can(model: dict[str, Any], tmp_path: Path) -> None:
    result = _train(
        make_request(tmp_path / "run", steps=400, batch_size=20, dropout=0.1, learning_rate=5e-3, model=model)
    )
    assert result["task"] == "classifier" and result["valid"]["accuracy"] > 95
    assert result["texts_per_second"] > 0 and result["tokens_per_second"] > result["texts_per_second"]
    found = TextClassifier.load(tmp_path / "run").classify(["film not fine plot", "Plot NOT grim", ""])
    assert [one.labels[0] for one in found[:2]] == ["down", "up"]
    assert all(sum(one.probabilities) == pytest.approx(1, abs=1e-5) for one in found)


def test_the_reported_scores_are_those_of_the_written_model(tmp_path: Path) -> None:
    result = _train(make_request(tmp_path / "run", steps=60))
    loaded = TextClassifier.load(tmp_path / "run")
    assert loaded.temperature != 1 and loaded.labels == ["down", "up"]
    scores = {one["name"]: one for one in loaded.model.header["scores"]}
    assert scores["accuracy"]["value"] == result["valid"]["accuracy"]
    assert "texts.tsv:held-out#" in scores["accuracy"]["signature"]


@pytest.mark.parametrize("settings", [{}, {"virtual_adversarial": 0.5}, {"model": {"cell": "gru", "zoneout": 0.1}}])
def test_a_run_that_is_stopped_and_resumed_is_the_same_run(settings: dict[str, Any], tmp_path: Path) -> None:
    given = {"unfreeze": 0.5, "layer_rates": 2.0, "embedding_dropout": 0.2, **settings}
    whole, parted = (make_request(tmp_path / name, **given) for name in ("whole", "parted"))
    _train(whole)
    _train(parted, stop_after=9)
    _train(replace(parted, resume=True))
    expected, found = (read_tensors(tmp_path / name / NAME)[1] for name in ("whole", "parted"))
    assert all(np.array_equal(found[name], value) for name, value in expected.items())


def _language_model(path: Path, **settings: Any) -> Path:
    options = LanguageModelOptions(hidden_size=12, embedding_size=8, ngrams=1, tied=False, **settings)
    tokeniser = train_tokeniser("word", [" ".join(GOOD + BAD + FILLER + ["not"])] * 2, 300)
    weights = language_model_weights(options, tokeniser.size, 7)
    save_model(path, "language-model", asdict(options), weights, tokeniser)
    return path


def test_a_language_model_is_started_from(tmp_path: Path) -> None:
    path = _language_model(tmp_path / "lm.safetensors", layers=2, cell="gru")
    run = ClassificationRun(make_request(tmp_path / "run", init_from=path, model={"hidden_size": None, "ngrams": None}))
    taught = read_tensors(path)[1]
    for name, value in run.task.weights().items():
        if not name.startswith(("output.", "evidence.", "attention.", "linear.")):
            assert np.array_equal(value, taught[name]), name
    assert (run.model.cell, run.model.layers, run.model.bidirectional) == ("gru", 2, False)
    assert run.model.pooling == "attention,max,mean,last"
    assert run.corpus.tokeniser.size == 256 + len({*GOOD, *BAD, *FILLER, "not"})
    both = ClassificationRun(make_request(tmp_path / "both", init_from=path, model={"bidirectional": True}))
    assert np.array_equal(both.task.weights()["layers.0.weight_ih"], taught["layers.0.weight_ih"])
    with pytest.raises(OptionError, match=r"init_from: is in .*, where --overwrite would replace it"):
        ClassificationRun(make_request(tmp_path, init_from=path, overwrite=True))


def test_capital_letters_stay_where_the_teacher_knows_them(tmp_path: Path) -> None:
    options = LanguageModelOptions(hidden_size=12, embedding_size=8, ngrams=1, tied=False)
    for name, words, lowercase in (("small", "fine dull", True), ("large", "Fine dull", False)):
        tokeniser = train_tokeniser("word", [words] * 2, 300)
        weights = language_model_weights(options, tokeniser.size, 7)
        save_model(tmp_path / f"{name}.safetensors", "language-model", asdict(options), weights, tokeniser)
        run = ClassificationRun(make_request(tmp_path / name, init_from=tmp_path / f"{name}.safetensors"))
        assert run.model.lowercase is lowercase


def test_a_classifier_is_started_from_also_for_other_labels(tmp_path: Path) -> None:
    _train(make_request(tmp_path / "first"))
    same = ClassificationRun(make_request(tmp_path / "same", init_from=tmp_path / "first"))
    first = classifier.load(tmp_path / "first")[0].weights
    assert all(np.array_equal(value, first[name]) for name, value in same.task.weights().items())
    text = (tmp_path / "texts.tsv").read_text().replace("up\t", "up\t", 1)
    rows = [line.replace("up\t", "high\t") if place % 3 == 0 else line for place, line in enumerate(text.splitlines())]
    (tmp_path / "three.tsv").write_text("\n".join(rows) + "\n")
    corpus = (str(tmp_path / "three.tsv"),)
    other = ClassificationRun(make_request(tmp_path / "o", corpus=corpus, init_from=tmp_path / "first"))
    assert other.task.weights()["output.bias"].shape == (3,)
    assert np.array_equal(other.task.weights()["embedding.weight"], first["embedding.weight"])


@pytest.mark.parametrize("batch", [1, 4, 20])
def test_few_texts_are_read_more_often(tmp_path: Path, batch: int) -> None:
    task = ClassificationRun(make_request(tmp_path / "run", batch_size=batch)).task
    assert 3 <= task.most_passes <= 20
    assert task.most_passes in (3, 20) or task.most_passes * task.steps_in_epoch() == pytest.approx(1000)
    assert task.most_passes > 3 or task.steps_in_epoch() > 333


def test_a_translator_teaches_nothing_here(tmp_path: Path) -> None:
    save_model(tmp_path / "t.safetensors", "translator", {}, {}, train_tokeniser("byte", [], 256))
    with pytest.raises(ModelFileError, match="is a translator, a language model is needed"):
        ClassificationRun(make_request(tmp_path / "run", init_from=tmp_path / "t.safetensors"))


def test_layers_learn_one_after_the_other_and_lower_ones_more_slowly(tmp_path: Path) -> None:
    run = ClassificationRun(make_request(tmp_path / "run", model={"layers": 2}, unfreeze=0.6, layer_rates=2.0))
    task = run.task
    names = ("output.weight", "layers.1.weight_ih", "layers.0.bias_hh_reverse")
    assert [task.depths[name] for name in names] == [0, 1, 2]
    assert task.depths["embedding.weight"] == 3
    assert task.rate_scales(0.0) == [1, 0, 0, 0]
    assert task.rate_scales(0.45) == [1, 0.5, 0.25, 0]
    assert task.rate_scales(0.6) == [1, 0.5, 0.25, 0.125]
    begun = {name: value.copy() for name, value in task.weights().items()}
    next(run.progress())
    moved = {name for name, value in task.weights().items() if not np.array_equal(value, begun[name])}
    assert moved == {"output.weight", "output.bias", "evidence.projection"}


def _logits(task: Any, ids: torch.Tensor, lengths: torch.Tensor, **read: Any) -> torch.Tensor:
    """The logits of a model in training, without noise."""
    weights = task.parameters | task.constants
    outputs = classifier.read(weights, task.options, ids, lengths, run_layer=task.choice.run_layer, **read)
    logits: torch.Tensor = classifier.logits(task.parameters, task.options, outputs)
    return logits


@pytest.mark.parametrize("kind", ["adversarial", "virtual_adversarial"])
def test_the_worst_change_is_worse_than_one_by_chance(kind: str, tmp_path: Path) -> None:
    _train(make_request(tmp_path / "first", steps=80))
    run = ClassificationRun(make_request(tmp_path / "run", init_from=tmp_path / "first", dropout=0.0, **{kind: 1.0}))
    task = run.task
    batch = task.corpus.train.batch(np.arange(20))
    ids, lengths, labels = (torch.from_numpy(one) for one in batch)
    said = _logits(task, ids, lengths).detach().log_softmax(-1)
    length = float(task.parameters["embedding.weight"].detach().square().sum(1).mean().sqrt())

    def harm(shift: torch.Tensor) -> torch.Tensor:
        logits = _logits(task, ids, lengths, shift=shift)
        if kind == "adversarial":
            return cross_entropy(logits, labels, reduction="sum")
        return divergence(said, logits)

    generator = torch.Generator().manual_seed(1)
    drawn = [scaled(torch.randn(*ids.shape, 8, generator=generator), length) for _ in range(5)]
    start = (torch.zeros(*ids.shape, 8) if kind == "adversarial" else drawn[0].clone()).requires_grad_()
    (direction,) = torch.autograd.grad(harm(start), start)
    worst = scaled(direction, length)
    assert float(harm(worst).detach()) > max(float(harm(one).detach()) for one in drawn)
    assert torch.allclose(worst.square().sum((0, 2)).sqrt(), torch.full((20,), length), rtol=1e-5)
    plain = ClassificationRun(make_request(tmp_path / "plain", init_from=tmp_path / "first", dropout=0.0)).task
    (batch, count), (same, _) = task.next_batch(), plain.next_batch()
    made, without = task.batch_loss(*batch), plain.batch_loss(*same)
    assert count == 5 and float(made.detach()) > float(without.detach())


def test_two_kinds_of_adversary_are_refused() -> None:
    with pytest.raises(OptionError, match="are alternatives"):
        ClassifierTraining(adversarial=1.0, virtual_adversarial=1.0)


def test_labels_that_look_like_one_are_noted(tmp_path: Path) -> None:
    path = tmp_path / "capitals.tsv"
    path.write_text("label\ttext\n" + "".join(f"{['up', 'Up', 'down'][row % 3]}\ttext {row}\n" for row in range(60)))
    run = ClassificationRun(make_request(tmp_path / "run", corpus=(str(path),)))
    assert "two labels each, though they look like one: 'Up' and 'up'" in run.notes


def test_rare_labels_count_for_more(tmp_path: Path) -> None:
    settings = {"dropout": 0.0, "embedding_dropout": 0.0, "label_smoothing": 0.0, "model": {"evidence": 0}}
    run = ClassificationRun(make_request(tmp_path / "run", class_weights="balanced", **settings))
    counts = run.corpus.label_counts
    weights = torch.tensor(counts.sum() / counts / 2, dtype=torch.float32)
    batch, _ = run.task.next_batch()
    ids, lengths, labels, _ = batch
    expected = (cross_entropy(_logits(run.task, ids, lengths), labels, reduction="none") * weights[labels]).sum()
    assert len(set(weights.tolist())) == len(set(labels.tolist())) == 2
    assert torch.allclose(run.task.batch_loss(*batch), expected)


def test_the_middle_of_a_long_text_is_left_out_and_said(tmp_path: Path) -> None:
    rows = [f"{'ab'[place % 2]}\t{' '.join(map(str, range(place)))}" for place in range(60)]
    (tmp_path / "long.tsv").write_text("label\ttext\n" + "\n".join(rows) + "\n")
    corpus = tokenise_labelled([str(tmp_path / "long.tsv")], (), tmp_path, tokens="word", longest=20)
    assert corpus.train.texts.lengths[:].max() == 20 and corpus.facts["cut"] > 20
    assert corpus.valid.texts.lengths[:].max() > 20, "validation reads whole texts, as classify does"
    run = ClassificationRun(make_request(tmp_path / "run", corpus=(str(tmp_path / "long.tsv"),), longest=20))
    assert any("whose middle is left out" in note for note in run.notes)


@pytest.mark.parametrize("count", [FEWEST - 1, FEWEST])
def test_the_fewest_texts_are_counted_before_some_are_held_out(count: int, tmp_path: Path) -> None:
    path = tmp_path / "few.tsv"
    path.write_text("label\ttext\n" + "".join(f"{'ab'[row % 2]}\ttext {row}\n" for row in range(count)))
    if count == FEWEST:
        corpus = tokenise_labelled([str(path)], (), tmp_path, tokens="byte")
        assert len(corpus.train) + len(corpus.valid) == count
        return
    with pytest.raises(CorpusError, match=f"needs at least {FEWEST} texts with labels, but has {count}"):
        tokenise_labelled([str(path)], (), tmp_path, tokens="byte")


def test_batches_hold_at_most_so_many_tokens_and_texts() -> None:
    lengths = np.random.default_rng(1).integers(1, 50, 500)
    batches = Shuffled(lengths, 16, 1, batch_tokens=200)
    seen = []
    for _ in range(len(batches)):
        chosen = batches.next()
        assert len(chosen) <= 16 and (lengths[chosen].max() * len(chosen) <= 200 or len(chosen) == 1)
        seen += chosen.tolist()
    assert sorted(seen) == list(range(500))


def test_validation_texts_may_be_given_and_their_overlap_is_told(tmp_path: Path) -> None:
    _write_texts(tmp_path / "texts.tsv")
    request = make_request(tmp_path / "run", valid=(str(tmp_path / "texts.tsv"),))
    run = ClassificationRun(request)
    assert run.corpus.facts["valid_is"] == "given"
    assert any("also in the validation part" in note for note in run.notes)
    (tmp_path / "bad.tsv").write_text("label\ttext\nsideways\tx\n")
    with pytest.raises(CorpusError, match="training had no such labels: 'sideways'"):
        ClassificationRun(make_request(tmp_path / "other", valid=(str(tmp_path / "bad.tsv"),)))
    assert not (tmp_path / "other").exists()


def test_the_best_model_is_that_of_the_highest_score(tmp_path: Path) -> None:
    run = ClassificationRun(make_request(tmp_path / "run", steps=40, criterion="macro-f1", validations=8))
    records = [record for record in run.progress() if record.validation is not None]
    scores = [record.score for record in records]
    best = [place for place, record in enumerate(records) if record.best][-1]
    assert scores[best] == max(score for score in scores if score is not None)
    assert {record.unit for record in records} == {"text"} and records[0].criterion == "macro-f1"
