"""How many sources a teacher translates: which ones, in what time, and that a run repeats it."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nlpseq.errors import OptionError
from nlpseq.models.model_file import load_model
from nlpseq.tasks import TRANSLATOR
from nlpseq.training.data.pairs import ParallelCorpus, open_pairs
from nlpseq.training.distillation.translations import AT_ONCE, RUN, Allowance, starts_of_runs
from nlpseq.training.repeating import repeated
from nlpseq.training.requests import TranslatorRequest, make_request
from tests.training.distillation.conftest import write_pairs

SMALL: dict[str, Any] = {"device": "cpu", "batch_size": 5, "hidden_size": 6, "embedding_size": 4, "tokens": "char"}


def _pairs(corpus: ParallelCorpus) -> list[tuple[str, str]]:
    sides = (corpus.train.sources, corpus.train.targets)
    spelled = [[corpus.tokeniser.decode(side[number][:-1]) for number in range(len(corpus.train))] for side in sides]
    return list(zip(*spelled, strict=True))


def _run(request: Any, started: float | None = None) -> Any:
    run = TRANSLATOR.load("run")(request, started)
    run.folder.release()
    return run


@pytest.mark.parametrize("count", [1, RUN - 1, RUN, RUN + 1, 2 * RUN, 3 * RUN, 1000, 6400, 12345])
def test_every_run_of_lines_comes_once_and_any_beginning_is_spread(count: int) -> None:
    starts = list(starts_of_runs(count))
    assert sorted(starts) == list(range(0, count, RUN))
    for number in range(10, len(starts), 10):
        # the largest gap between chosen runs: golden steps leave at most about 2.6 times the mean
        chosen = [0, *sorted(starts[:number]), count]
        assert max(np.diff(chosen)) <= 3.5 * count / number


def test_lines_are_handed_out_for_as_long_as_there_is_time_for_more() -> None:
    now = [100.0]
    allowance = Allowance(minutes=1.0, started=90.0, now=lambda: now[0])
    assert allowance.fits(0) and allowance.fits(AT_ONCE)
    now[0], allowance.done = 104.0, AT_ONCE  # 4 seconds a portion, and half of the minute ends at 120
    assert allowance.fits(4 * AT_ONCE)
    assert not allowance.fits(5 * AT_ONCE)
    now[0] = 200.0
    assert not allowance.fits(AT_ONCE)
    assert allowance.fits(0), "a student needs some translations"


def test_the_note_names_the_minutes_that_are_enough_for_all() -> None:
    now = [10.0]
    allowance = Allowance(minutes=0.5, started=0.0, now=lambda: now[0])
    now[0], allowance.done = 25.0, 1000
    said = allowance.note(6000)
    assert "1,000 of the 6,000 sources" in said and "took 15 of 30 seconds" in said
    # 10 s to read and 90 s to translate are half of 200 s; with the margin of a fifth, 4 minutes
    assert said.endswith("--minutes 4")


@pytest.mark.parametrize("options", [{"steps": 3}, {"epochs": 1}, {"translated": 9, "minutes": 1}, {"resume": True}])
def test_a_run_that_does_not_depend_on_the_clock_translates_all(options: dict[str, Any]) -> None:
    request = make_request(TRANSLATOR, [], options)
    assert isinstance(request, TranslatorRequest)
    assert Allowance.of(request, 0.0) is None
    timed = make_request(TRANSLATOR, [], {})
    assert isinstance(timed, TranslatorRequest)
    allowance = Allowance.of(timed, 0.0)
    assert allowance is not None and allowance.minutes == 5


def test_a_number_of_sources_is_translated_as_among_all(folder: Path, tmp_path: Path) -> None:
    options = {**SMALL, "teacher": [str(folder / "pairs")], "steps": 2, "originals": True}
    found = []
    for count in (None, RUN + 3):
        chosen = {} if count is None else {"translated": count}
        request = make_request(TRANSLATOR, [folder / "pairs.tsv"], {**options, **chosen, "out": tmp_path / f"{count}"})
        run = _run(request)
        found.append(_pairs(open_pairs(run.folder.tokens)))
        assert run.config["asked"].get("translated") == count
    whole, few = found
    assert few == whole[: len(few)], "two runs of lines, and the first one is first"
    assert len({source for source, _ in few}) == RUN + 3


def test_minutes_bound_the_translations_and_steps_repeat_the_run(folder: Path, tmp_path: Path) -> None:
    corpus = write_pairs(tmp_path / "many.tsv", AT_ONCE + 4 * RUN)
    options = {**SMALL, "teacher": [str(folder / "pairs")], "minutes": 0.02}
    request = make_request(TRANSLATOR, [corpus], {**options, "out": tmp_path / "a"})
    run = TRANSLATOR.load("run")(request, time.monotonic() - 60)  # all minutes are over
    list(run.progress())
    run.finish()
    assert any("translations of 512 of the" in note and "--minutes" in note for note in run.notes)
    config = json.loads((tmp_path / "a" / "config.json").read_text())
    values = repeated(config)
    assert values["translated"] == AT_ONCE
    corpora = values.pop("corpus")
    again = TRANSLATOR.load("run")(
        make_request(TRANSLATOR, corpora, {**values, "out": tmp_path / "b", "device": "cpu"})
    )
    assert not any("translations of" in note for note in again.notes)
    list(again.progress())
    again.finish()
    one, other = (load_model(tmp_path / name).weights for name in "ab")
    for name, value in one.items():
        np.testing.assert_array_equal(value, other[name], err_msg=name)
    resumed = make_request(TRANSLATOR, [], {"resume": True, "steps": 1000, "out": tmp_path / "a"})
    assert _run(resumed).request.as_json()["translated"] == AT_ONCE


def test_sources_are_translated_by_a_teacher_only(folder: Path, tmp_path: Path) -> None:
    request = make_request(TRANSLATOR, [folder / "pairs.tsv"], {**SMALL, "translated": 5, "out": tmp_path / "s"})
    with pytest.raises(OptionError, match="there is none"):
        _run(request)
