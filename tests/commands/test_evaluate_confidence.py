"""`nlpseq evaluate --confidence`: intervals beside the scores, and those of sacrebleu's command."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

import nlpseq as library
from nlpseq.errors import OptionError

Run = Callable[..., Result]


def test_scores_of_a_text_have_intervals(nlpseq: Run, model_path: Path, corpus: Path) -> None:
    done = nlpseq("evaluate", "-m", model_path, corpus, "--confidence", "--json")
    scores = json.loads(done.stdout)["scores"]
    usual = json.loads(nlpseq("evaluate", "-m", model_path, corpus, "--json").stdout)["scores"]
    for score, plain in zip(scores, usual, strict=True):
        assert score["value"] == pytest.approx(plain["value"], rel=1e-5) and score["signature"] == plain["signature"]
        interval = score["interval"]
        assert interval["low"] < score["value"] < interval["high"]
        assert interval["signature"].startswith("interval:percentile-t|blocks:") and interval["mean"] is None
        assert "interval" not in plain


def test_table_shows_them_beside_the_scores(nlpseq: Run, model_path: Path, corpus: Path) -> None:
    shown = nlpseq("evaluate", "-m", model_path, corpus, "--confidence", "--samples", 200).stdout
    rows = shown.split("\n\n")[0].splitlines()
    assert all(" to " in row for row in rows) and all(len(line) <= 80 for line in shown.splitlines())
    assert "bootstrap:200|seed:12345" in "".join(shown.split())


def test_translations_have_those_of_sacrebleu(nlpseq: Run, tmp_path: Path) -> None:
    sources = [
        f"The old doctor {verb} the {noun}." for verb in ("thanked", "saw") for noun in ("brothers", "queen") * 8
    ]
    targets = [f"Der alte Arzt {number} dankte den Brüdern." for number in range(len(sources))]
    paths = {name: tmp_path / name for name in ("source", "target", "output")}
    paths["source"].write_text("\n".join(sources) + "\n")
    paths["target"].write_text("\n".join(targets) + "\n")
    model = library.load("english-german")
    paths["output"].write_text("\n".join(model.translate(sources)) + "\n")
    files = "--source", paths["source"], "--target", paths["target"]
    done = nlpseq("evaluate", "-m", "english-german", *files, "--confidence", "--json", "-q")
    scores = {score["name"]: score for score in json.loads(done.stdout)["scores"]}
    command = [sys.executable, "-m", "sacrebleu", paths["target"], "-i", paths["output"], "-m", "bleu", "chrf", "ter"]
    theirs = subprocess.run([*command, "--confidence", "-w", "6"], capture_output=True, text=True, check=True).stdout
    for name, found in zip(("bleu", "chrf", "ter"), json.loads(theirs), strict=True):
        interval = scores[name]["interval"]
        assert interval["mean"] == pytest.approx(found["confidence_mean"], abs=1e-4)
        assert interval["half_width"] == pytest.approx(found["confidence_var"], abs=1e-4)
    assert all(score["interval"] for score in scores.values())
    shown = nlpseq("evaluate", "-m", "english-german", *files, "--confidence", "-q").stdout
    assert f"bleu {scores['bleu']['interval']['mean']:.2f} ± " in shown


def test_classifiers_have_them_but_for_the_calibration(nlpseq: Run, tmp_path: Path) -> None:
    table = tmp_path / "test.tsv"
    table.write_text("label\ttext\n" + "positive\tA good film.\nnegative\tA dull film.\npositive\tNot dull.\n" * 20)
    made = json.loads(nlpseq("evaluate", "-m", "reviews", table, "--confidence", "--json", "-q").stdout)["scores"]
    without = [score["name"] for score in made if "interval" not in score]
    assert without == ["expected_calibration_error"]
    for score in made:
        if "interval" in score:
            assert score["interval"]["low"] <= score["value"] <= score["interval"]["high"]


def test_options_without_effect_are_refused(nlpseq: Run, model_path: Path, corpus: Path) -> None:
    model = library.load(model_path)
    for options, said in (
        ({"samples": 200}, "has no effect without"),
        ({"confidence": True, "trials": 200}, "is for a comparison"),
        ({"confidence": True, "cache": 100}, "adapts to the text"),
    ):
        with pytest.raises(OptionError, match=said):
            model.evaluate(str(corpus), **options)
    with pytest.raises(OptionError, match="is for language models"):
        library.load("reviews").evaluate(confidence=True, block_bytes=100)
    done = nlpseq("evaluate", "-m", model_path, corpus, "--samples", 200)
    assert done.exit_code == 2 and "--confidence" in done.stderr


def test_short_text_has_no_interval(nlpseq: Run, model_path: Path, corpus: Path) -> None:
    corpus.write_text("one line\n")
    done = nlpseq("evaluate", "-m", model_path, corpus, "--confidence")
    assert done.exit_code == 1 and "an interval needs 20 blocks" in done.stderr
