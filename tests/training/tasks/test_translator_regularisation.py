"""A translator's run with dropped words, words that are cut anew, and synthetic pairs: exact, recorded, or refused."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nlpseq.decoding.beam import BeamOptions
from nlpseq.decoding.ensemble import Ensemble
from nlpseq.decoding.translation import Translations
from nlpseq.errors import CorpusError, Interrupted, OptionError
from nlpseq.models import translator
from nlpseq.models.model_file import load_model, read_tensors
from nlpseq.tasks import TRANSLATOR
from nlpseq.training import repeating
from nlpseq.training.requests import make_request
from nlpseq.training.tasks.translation import TranslationRun

WORDS = ["abend", "abends", "cent", "center", "fall", "fallen", "ended", "end"]
SMALL: dict[str, Any] = {
    "hidden_size": 12,
    "embedding_size": 8,
    "batch_size": 5,
    "steps": 12,
    "validations": 3,
    "save_every": 4,
    "precision": "fp32",
}
NOISE: dict[str, Any] = {"tokens": "bpe", "word_dropout": 0.2, "subword_dropout": 0.3, "average": 0.9}


def _lines(seed: int, count: int = 120) -> list[str]:
    generator = np.random.default_rng(seed)
    return [" ".join(generator.choice(WORDS, generator.integers(1, 5))) for _ in range(count)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with pairs, whose targets are in capitals, and synthetic ones, whose targets are in brackets."""
    (tmp_path / "pairs.tsv").write_text("".join(f"{line}\t{line.upper()}\n" for line in _lines(1)))
    (tmp_path / "made.tsv").write_text("".join(f"{line}\t({line})\n" for line in _lines(2)))
    (tmp_path / "made.src").write_text("".join(f"{line}\n" for line in _lines(2)))
    (tmp_path / "made.trg").write_text("".join(f"({line})\n" for line in _lines(2)))
    return tmp_path


def _run(folder: Path, name: str = "run", **options: Any) -> TranslationRun:
    given = {**({} if options.get("resume") else SMALL), **options}
    if "synthetic" in given:
        given["synthetic"] = [folder / each for each in given["synthetic"]]
    corpora = [] if options.get("resume") else [folder / "pairs.tsv"]
    return TranslationRun(make_request(TRANSLATOR, corpora, {"out": folder / name, **given}))  # type: ignore[arg-type]


def _train(run: TranslationRun, stop_after: int | None = None) -> None:
    try:
        for progress in run.progress():
            if progress.step == stop_after and not progress.note:
                run.run.signal_number = 15
    except Interrupted:
        return
    run.finish()


def _weights(path: Path) -> dict[str, np.ndarray]:
    return read_tensors(path / "model.safetensors")[1]


def _equal(one: Path, other: Path) -> bool:
    first, second = _weights(one), _weights(other)
    return first.keys() == second.keys() and all(np.array_equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("more", [{}, {"accumulate": 2}, {"synthetic": ["made.tsv"]}], ids=str)
def test_a_run_that_is_stopped_and_resumed_is_the_same_run(more: dict[str, Any], folder: Path) -> None:
    _train(_run(folder, "whole", **NOISE, **more))
    _train(_run(folder, "stopped", **NOISE, **more), stop_after=7)
    _train(_run(folder, "stopped", resume=True))
    assert _equal(folder / "whole", folder / "stopped")


@pytest.mark.parametrize("without", ["word_dropout", "subword_dropout"])
def test_each_dropout_changes_the_model(without: str, folder: Path) -> None:
    _train(_run(folder, "all", **NOISE))
    _train(_run(folder, "less", **{**NOISE, without: 0.0}))
    assert not _equal(folder / "all", folder / "less")


def test_the_seed_decides_how_words_are_cut(folder: Path) -> None:
    batches = []
    for seed in (1, 1, 2):
        run = _run(folder, tokens="bpe", subword_dropout=0.5, random_seed=seed, overwrite=True)
        (sources, *_), _ = run.task.next_batch()
        batches.append(sources.tolist())
        _train(run, stop_after=1)
    assert batches[0] == batches[1] != batches[2]


def test_synthetic_pairs_are_recorded_and_never_validated_on(folder: Path) -> None:
    run = _run(folder, synthetic=["made.tsv"], synthetic_share=0.3)
    assert "120 synthetic pairs, 26 % of a pass, which reads the others 3 times" in run.notes
    valid = [run.corpus.tokeniser.decode(run.corpus.valid.targets[index][:-1]) for index in range(6)]
    assert len(run.corpus.valid) == 6 and valid == [line.upper() for line in _lines(1)[-6:]]
    _train(run)
    facts = load_model(folder / "run").header["data"]
    assert facts["synthetic"] == [str(folder / "made.tsv")]
    assert facts["synthetic_sha256"] == hashlib.sha256((folder / "made.tsv").read_bytes()).hexdigest()
    assert (facts["pairs"], facts["synthetic_pairs"]) == (114, 120)


def test_two_files_of_synthetic_pairs_are_as_good_as_a_table(folder: Path) -> None:
    _train(_run(folder, "table", synthetic=["made.tsv"]))
    _train(_run(folder, "files", synthetic=["made.src", "made.trg"]))
    assert _equal(folder / "table", folder / "files")


def test_the_command_that_repeats_a_run_names_its_synthetic_pairs(folder: Path) -> None:
    _train(_run(folder, synthetic=["made.tsv"], synthetic_tag=False, **NOISE))
    config = json.loads((folder / "run" / "config.json").read_text())
    options = repeating.repeated(config)
    corpora = options.pop("corpus")
    _train(TranslationRun(make_request(TRANSLATOR, corpora, {**options, "out": folder / "again"})))  # type: ignore[arg-type]
    assert _equal(folder / "run", folder / "again")
    command = repeating.command(config)
    assert f"--synthetic {folder / 'made.tsv'}" in command and "--no-synthetic-tag" in command


def test_a_run_goes_on_with_other_synthetic_pairs_and_says_so(folder: Path) -> None:
    _train(_run(folder, synthetic=["made.tsv"]), stop_after=5)
    (folder / "more.tsv").write_text("".join(f"{line}\t({line})\n" for line in _lines(3)))
    run = _run(folder, resume=True, synthetic=["more.tsv"], steps=14)
    assert run.corpus.facts["synthetic"] == [str(folder / "more.tsv")]
    assert run.corpus.facts["corpus"] == [str(folder / "pairs.tsv")]
    _train(run)
    assert load_model(folder / "run").header["data"]["synthetic"] == [str(folder / "more.tsv")]


def test_a_run_goes_on_with_another_share(folder: Path) -> None:
    _train(_run(folder, synthetic=["made.tsv"]), stop_after=5)
    run = _run(folder, resume=True, synthetic_share=0.2)
    assert "--synthetic-share 0.2 (was 0.5)" in run.notes
    assert len(run.task.pairs) == 120 + 5 * 114
    _train(run)


@pytest.mark.parametrize(
    ("options", "message", "hint"),
    [
        ({"tokens": "char", "subword_dropout": 0.1}, "subword_dropout: .* the tokens are of kind char", "--tokens bpe"),
        ({"synthetic_share": 0.3}, "synthetic_share: .* there are none", "--synthetic FILE"),
        ({"synthetic_tag": False}, "synthetic_tag: .* there are none", "--synthetic FILE"),
        ({"synthetic": ["gone.tsv"]}, "gone.tsv: there is no such file", ""),
        (
            {"synthetic": ["made.src"]},
            "made.src:1: it is not a table",
            "or two files: --synthetic FILE --synthetic FILE",
        ),
        ({"synthetic": ["made.src", "pairs.trg"]}, "must have the same number of lines", ""),
        ({"subword_dropout": 1.5}, "subword_dropout: must be at most 1", ""),
        ({"word_dropout": 1.0}, "word_dropout: must be below 1", ""),
    ],
    ids=str,
)
def test_what_makes_no_sense_is_refused(options: dict[str, Any], message: str, hint: str, folder: Path) -> None:
    (folder / "pairs.trg").write_text("ONE LINE\n")
    with pytest.raises((OptionError, CorpusError), match=message) as refused:
        _run(folder, **options)
    assert hint in refused.value.hint
    assert not (folder / "run").exists()


def test_an_empty_name_is_refused(folder: Path) -> None:
    with pytest.raises(OptionError, match="synthetic: must be a file, was empty"):
        make_request(TRANSLATOR, [folder / "pairs.tsv"], {"synthetic": [""]})


def test_characters_are_not_cut_anew_in_a_run_that_goes_on(folder: Path) -> None:
    _train(_run(folder, tokens="char"), stop_after=5)
    with pytest.raises(OptionError, match="the tokens are of kind char"):
        _run(folder, resume=True, subword_dropout=0.1)


def test_a_model_translates_as_the_corpus_does_not_as_the_tagged_pairs(folder: Path) -> None:
    options = {"hidden_size": 48, "embedding_size": 32, "batch_size": 20, "steps": 400, "dropout": 0.0}
    _train(_run(folder, tokens="word", synthetic=["made.tsv"], label_smoothing=0.0, **options))
    translations = Translations(Ensemble.of([translator.load(folder / "run")]), BeamOptions(beam=1))
    texts = [" ".join(line.split()[:2]) for line in _lines(4, 10)]
    made = [best[0].text for best in translations.translate(texts)]
    assert sum(translation == text.upper() for translation, text in zip(made, texts, strict=True)) >= 8
