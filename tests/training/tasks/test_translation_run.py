"""A translator's run from end to end: batches, learning, resuming to the bit, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nlpseq.decoding.beam import BeamOptions
from nlpseq.decoding.ensemble import Ensemble
from nlpseq.decoding.translation import Translation, Translations
from nlpseq.errors import CorpusError
from nlpseq.models import translator
from nlpseq.models.model_file import NAME, read_tensors
from nlpseq.models.translator import LONGEST, TranslatorOptions
from nlpseq.text.tokenisers import NEWLINE, ByteTokeniser
from nlpseq.training.data import pairs as pairs_module
from nlpseq.training.data.pairs import TokenisedPairs, tokenise_pairs
from nlpseq.training.data.sentences import Sentences
from nlpseq.training.data.shuffled import Shuffled
from nlpseq.training.options import CorpusOptions, TranslationTraining
from nlpseq.training.requests import TranslatorRequest
from nlpseq.training.tasks import translation
from nlpseq.training.tasks.translation import TranslationRun

WORDS = ["ab", "cd", "ef", "gh", "ij", "kl"]
MODEL: dict[str, Any] = {"hidden_size": 12, "embedding_size": 8}
TRAINING: dict[str, Any] = {"steps": 12, "batch_size": 5, "average": 0.9, "validations": 3, "save_every": 4}


def _write_pairs(path: Path, count: int = 200) -> Path:
    """Texts of one to four words, and their words from last to first, in capitals."""
    generator = np.random.default_rng(1)
    with path.open("w") as file:
        for _ in range(count):
            words = [WORDS[one] for one in generator.integers(len(WORDS), size=generator.integers(1, 5))]
            file.write(f"{' '.join(words)}\t{' '.join(words[::-1]).upper()}\n")
    return path


def make_request(folder: Path, **given: Any) -> TranslatorRequest:
    pairs = folder.parent / "pairs.tsv"
    if not pairs.exists():
        _write_pairs(pairs)
    settings = {name: given.pop(name) for name in ("resume", "overwrite", "valid", "corpus") if name in given}
    return TranslatorRequest(
        **{"corpus": (str(pairs),), **settings},
        out=folder,
        model=TranslatorOptions(**{**MODEL, **given.pop("model", {})}),
        training=TranslationTraining(**{**TRAINING, **given}),
        corpus_options=CorpusOptions(tokens="word"),
    )


def _train(request: TranslatorRequest, stop_after: int | None = None) -> dict[str, Any]:
    run = TranslationRun(request)
    for progress in run.progress():
        if progress.step == stop_after:
            return {}
    return run.finish()


def test_it_learns_to_turn_words_around(tmp_path: Path) -> None:
    result = _train(
        make_request(
            tmp_path / "run", steps=700, batch_size=20, dropout=0.0, label_smoothing=0.0, model={"hidden_size": 32}
        )
    )
    assert result["task"] == "translator" and result["valid"]["perplexity"] < 1.1
    assert "given:source|pairs:pairs.tsv:held-out#" in result["valid"]["signature"]
    translations = Translations(Ensemble.of([translator.load(tmp_path / "run")]), BeamOptions(beam=3, n_best=2))
    made = translations.translate(["ab ef", "", "kl kl ij"])
    assert [best[0].text for best in made] == ["EF AB", "", "IJ KL KL"]
    assert len(made[0]) == 2 and made[0][0].score > made[0][1].score


def test_a_batch_of_one_translates_as_a_batch_of_many(tmp_path: Path) -> None:
    _train(make_request(tmp_path / "run", steps=60))
    translations = Translations(Ensemble.of([translator.load(tmp_path / "run")]), BeamOptions(beam=4))
    lines = [line.split("\t")[0] for line in (tmp_path / "pairs.tsv").read_text().splitlines()[:64]]
    assert [best[0].text for best in translations.translate(lines)] == [
        translations.translate([line])[0][0].text for line in lines
    ]


def test_odd_lines_have_an_answer_each(tmp_path: Path) -> None:
    _train(make_request(tmp_path / "run", steps=1))
    translations = Translations(Ensemble.of([translator.load(tmp_path / "run")]), BeamOptions(beam=2))
    made = translations.translate(["猫", "\udcff\ud800", " ", "a" * (LONGEST + 1), "ab\ncd"])
    assert [len(best) for best in made] == [1, 1, 1, 0, 1]
    assert made[2] == [Translation("", 0.0, 0.0)]
    assert not any("\n" in best[0].text for best in made if best)


@pytest.mark.parametrize("cell", ["gru", "lstm", "mingru"])
def test_a_run_that_is_stopped_and_resumed_is_the_same_run(cell: str, tmp_path: Path) -> None:
    whole, parted = (make_request(tmp_path / name, model={"cell": cell}) for name in ("whole", "parted"))
    _train(whole)
    _train(parted, stop_after=9)
    _train(replace(parted, resume=True))
    expected, found = (read_tensors(tmp_path / name / NAME)[1] for name in ("whole", "parted"))
    assert all(np.array_equal(found[name], value) for name, value in expected.items())


def test_a_resumed_run_takes_other_values_of_training_and_says_so(tmp_path: Path) -> None:
    _train(make_request(tmp_path / "run"), stop_after=5)
    other = replace(
        make_request(tmp_path / "run", label_smoothing=0.2), resume=True, given=frozenset({"label_smoothing"})
    )
    run = TranslationRun(other)
    assert run.training.label_smoothing == 0.2
    assert "--label-smoothing 0.2 (was 0.1)" in run.notes


def _pairs(count: int) -> TokenisedPairs:
    generator = np.random.default_rng(2)
    sides = [
        Sentences.encode(ByteTokeniser(()), ["x" * length for length in generator.integers(1, 30, size=count)])
        for _ in range(2)
    ]
    return TokenisedPairs(*sides)


def _shuffled(pairs: TokenisedPairs, size: int | None, batch_tokens: int | None = None) -> Shuffled:
    return Shuffled(pairs.targets.lengths, size, 1, batch_tokens=batch_tokens, ties=pairs.sources.lengths)


def test_a_pass_has_each_pair_once_and_little_padding() -> None:
    pairs = _pairs(1000)
    batches = _shuffled(pairs, 32)
    tokens = padded = 0
    for _ in range(len(batches)):
        batch = pairs.batch(batches.next())
        tokens += int(batch.target_lengths.sum())
        padded += batch.targets.size
        assert (batch.inputs[0] == NEWLINE).all() and (batch.inputs[1:] == batch.targets[:-1]).all()
    assert batches.passes == 0 and tokens == len(pairs.targets.ids)
    assert tokens / padded > 0.95
    first = batches.next()
    assert batches.passes == 1
    assert not np.array_equal(first, _shuffled(pairs, 32).next())


@pytest.mark.parametrize("batch_tokens", [1, 100, 700])
def test_a_batch_holds_as_many_tokens_as_it_may(batch_tokens: int) -> None:
    pairs = _pairs(1000)
    batches = _shuffled(pairs, None, batch_tokens)
    sizes = []
    for _ in range(len(batches)):
        batch = pairs.batch(batches.next())
        assert batch.targets.size <= batch_tokens or batch.targets.shape[1] == 1
        sizes.append(batch.targets.shape[1])
    assert batches.passes == 0 and sum(sizes) == 1000
    assert batch_tokens == 1 or batch_tokens / 2 < len(pairs.targets.ids) / len(sizes)


def test_the_best_model_may_be_that_of_the_highest_bleu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Sequence[str]] = []

    def translate(_: object, __: object, ___: object, texts: Sequence[str]) -> list[str]:
        asked.append(texts)
        return [" ".join(text.split()[::-1]).upper() if len(asked) == 2 else "x" for text in texts]

    monkeypatch.setattr(translation, "greedy_translations", translate)
    run = TranslationRun(make_request(tmp_path / "run", steps=3, validations=3, criterion="bleu"))
    records = [record for record in run.progress() if record.validation is not None]
    assert [record.best for record in records] == [True, True, False]
    assert records[1].score == pytest.approx(100) and records[0].score == records[2].score == 0
    history = [json.loads(line) for line in (tmp_path / "run" / "history.jsonl").read_text().splitlines()]
    assert [line["valid_score"] for line in history if "valid_loss" in line] == [record.score for record in records]


def test_pairs_that_are_too_long_or_blank_are_left_out_and_counted(tmp_path: Path) -> None:
    path = _write_pairs(tmp_path / "odd.tsv", 60)
    with path.open("a") as file:
        file.write("ab\t\n" + "ab " * 300 + "\tAB\n" + "ab\tAB\n" * 5)
    run = TranslationRun(make_request(tmp_path / "run", corpus=(str(path),)))
    assert run.corpus.facts["blank"] == 1
    assert run.notes == ["1 pair with a blank side left out", "1 pair with more than 200 tokens left out"] or (
        run.corpus.facts["too_long"] == 1
    )


def test_too_few_pairs_are_refused(tmp_path: Path) -> None:
    path = _write_pairs(tmp_path / "few.tsv", 3)
    with pytest.raises(CorpusError, match="needs at least 20 pairs, has 3"):
        TranslationRun(make_request(tmp_path / "run", corpus=(str(path),)))
    assert not (tmp_path / "run").exists()


def test_one_pair_is_enough_with_a_validation_of_its_own(tmp_path: Path) -> None:
    path = _write_pairs(tmp_path / "one.tsv", 1)
    assert _train(make_request(tmp_path / "run", corpus=(str(path),), valid=(str(path),), steps=2))["steps"] == 2


@pytest.mark.parametrize(
    ("source", "target", "kind", "most"),
    [
        ("ten of May", "05-10", "char", 300),
        ("one two three four five six seven", "eins", "bpe", 4096),
        ("eins", "one two three four five six seven", "bpe", 4096),
    ],
)
def test_short_texts_are_read_in_characters(source: str, target: str, kind: str, most: int, tmp_path: Path) -> None:
    path = tmp_path / "pairs.tsv"
    path.write_text(f"{source}\t{target}\n" * 40)
    corpus = tokenise_pairs([str(path)], (), tmp_path, two_files=False)
    assert corpus.tokeniser.kind == kind and corpus.tokeniser.size <= most


def test_a_script_of_many_characters_has_a_larger_vocabulary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    monkeypatch.setattr(pairs_module, "train_tokeniser", lambda kind, _, size: asked.append(size) or ByteTokeniser(()))
    for count in (100, 1500):
        text = "".join(chr(0x4E00 + place) for place in range(count))
        (tmp_path / "pairs.tsv").write_text(f"{text}\tone two three four five six seven\n" * 40)
        tokenise_pairs([str(tmp_path / "pairs.tsv")], (), tmp_path, two_files=False, longest=9999)
    assert asked == [4096, 8192]
