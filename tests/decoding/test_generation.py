"""Prompts in, continuations out: alone, side by side, and from a saved state."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nlpseq.decoding.generation import SIDE_BY_SIDE, Generator
from nlpseq.decoding.sampling import SamplingOptions
from nlpseq.models import language_model
from nlpseq.text.tokenisers import NEWLINE

MakeModel = Callable[..., Path]


def _generator(path: Path, **given: Any) -> Generator:
    return Generator(path, SamplingOptions(**given.pop("sampling", {})), **{"random_seed": 5, "length": 20, **given})


def _samples(generator: Generator, prompt: str, count: int = 1) -> list[bytes]:
    made = []
    for steps, texts in generator.samples(prompt, count):
        for _ in generator.lengthen(steps, texts):
            pass
        made += [one.text.take() for one in texts]
    return made


def _lines(generator: Generator, prompts: list[str]) -> list[bytes]:
    made = []
    for steps, texts in generator.continue_each(prompts):
        for _ in generator.lengthen(steps, texts):
            pass
        made += [one.text.take() for one in texts]
    return made


@pytest.mark.parametrize("kind", ["byte", "char", "word", "bpe"])
def test_greedy_text_is_what_the_model_says_step_by_step(make_model: MakeModel, kind: str) -> None:
    path = make_model(kind, ngrams=3, ngram_buckets=64)
    (found,) = _samples(_generator(path, sampling={"temperature": 0}), "the cat")
    model, options = language_model.load(path)
    ids = [NEWLINE, *model.tokeniser.encode("the cat", exact=False).tolist()]
    state = language_model.begin(model.weights, options, 1)
    for place in range(len(ids) + 19):
        predicted, state = language_model.step(model.weights, options, np.array([ids[place]]), state)
        if place + 1 == len(ids):
            ids.append(int(predicted[0].argmax()))
    shown = model.tokeniser.decode_bytes(ids[1:])
    assert shown == b"the cat" + found


def test_a_sample_does_not_depend_on_those_beside_it(model_path: Path) -> None:
    alone = _samples(_generator(model_path), "the ")
    assert _samples(_generator(model_path), "the ", 3)[:1] == alone


def test_samples_differ_and_the_seed_repeats_them(model_path: Path) -> None:
    first = _samples(_generator(model_path), "", 3)
    assert len(set(first)) == 3
    assert _samples(_generator(model_path), "", 3) == first
    assert _samples(_generator(model_path, random_seed=6), "", 3) != first


def test_without_a_seed_one_is_drawn_and_told(model_path: Path) -> None:
    generator = _generator(model_path, random_seed=None)
    made = _samples(generator, "a")
    assert _samples(_generator(model_path, random_seed=generator.random_seed), "a") == made


def test_prompts_of_any_length_run_side_by_side(model_path: Path) -> None:
    prompts = ["", "the cat sat", "ö猫", "x" * 300, "\udcff\x00"] * 8  # more than one group
    assert len(prompts) > SIDE_BY_SIDE
    greedy = {"temperature": 0}
    together = _lines(_generator(model_path, sampling=greedy), prompts)
    assert together == [_samples(_generator(model_path, sampling=greedy), prompt)[0] for prompt in prompts]


@pytest.mark.parametrize("kind", ["char", "word"])
def test_a_saved_state_goes_on_as_if_nothing_had_happened(make_model: MakeModel, tmp_path: Path, kind: str) -> None:
    path = make_model(kind, ngrams=3, ngram_buckets=64, cell="gru")
    greedy = {"temperature": 0}
    (whole,) = _samples(_generator(path, sampling=greedy, length=30), "the cat")
    first = _generator(path, sampling=greedy, length=12)
    steps, texts = next(iter(first.samples("the cat", 1)))
    for _ in first.lengthen(steps, texts):
        pass
    first.save(tmp_path / "state", steps, texts[0].text)
    second = _generator(path, sampling=greedy, length=18)
    second.resume(tmp_path / "state")
    assert texts[0].text.take() + _samples(second, "")[0] == whole


def test_a_word_model_puts_one_space_before_its_first_word(make_model: MakeModel) -> None:
    path = make_model("word")
    only_words = SamplingOptions(temperature=0)
    for prompt in ("the cat", "the cat "):
        generator = Generator(path, only_words, random_seed=1, length=1)
        (found,) = _samples(generator, prompt)
        assert not (prompt.encode() + found).count(b"  ")
