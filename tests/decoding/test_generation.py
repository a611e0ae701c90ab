"""Prompts in, continuations out: alone, side by side, and from a saved state."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nlpseq.decoding.engine import SIDE_BY_SIDE
from nlpseq.decoding.generation import GenerationOptions, Generator
from nlpseq.decoding.sampling import SamplingOptions
from nlpseq.errors import OptionError
from nlpseq.models import language_model
from nlpseq.text.tokenisers import NEWLINE

MakeModel = Callable[..., Path]


def _generator(path: Path, *, sampling: dict[str, Any] | None = None, **settings: Any) -> Generator:
    generation = GenerationOptions(**{"random_seed": 5, "length": 20, **settings})
    return Generator.load(path, SamplingOptions(**sampling or {}), generation)


def _samples(generator: Generator, prompt: str, count: int = 1) -> list[bytes]:
    return [made.text.take() for group in generator.samples(prompt, count) for made in group.finish()]


def _lines(generator: Generator, prompts: list[str]) -> list[bytes]:
    return [made.text.take() for group in generator.continue_each(prompts) for made in group.finish()]


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
    (group,) = _generator(path, sampling=greedy, length=12).samples("the cat", 1)
    (made,) = group.finish()
    group.save(tmp_path / "state")
    second = _generator(path, sampling=greedy, length=18)
    second.resume(tmp_path / "state")
    assert made.text.take() + _samples(second, "")[0] == whole


@pytest.mark.parametrize("read", [1, 5, 12])
def test_a_stream_may_be_left_and_gone_on_with(make_model: MakeModel, tmp_path: Path, read: int) -> None:
    path = make_model("char", ngrams=3, ngram_buckets=64, cell="gru")
    greedy = {"temperature": 0}
    (whole,) = _samples(_generator(path, sampling=greedy, length=30), "the cat")
    stream = _generator(path, sampling=greedy, length=12).stream("the cat")
    begun = "".join(itertools.islice(stream, read))
    stream.save(str(tmp_path / "state"))
    second = _generator(path, sampling=greedy, length=30 - stream.tokens)
    second.resume(tmp_path / "state")
    assert (begun + _samples(second, "")[0].decode()) == whole.decode()
    rest = "".join(stream)
    assert (begun + rest, stream.tokens) == (
        _samples(_generator(path, sampling=greedy, length=12), "the cat")[0].decode(),
        12,
    )


def test_pieces_of_a_stream_are_whole_characters(model_path: Path) -> None:
    hot = {"temperature": 3}
    (expected,) = _samples(_generator(model_path, sampling=hot, length=200), "ö")
    stream = _generator(model_path, sampling=hot, length=200).stream("ö")
    pieces = list(stream)
    assert "".join(pieces) == expected.decode("utf-8", "replace")
    assert stream.log_probability < 0 and all(pieces)


def test_the_state_of_several_texts_is_not_saved(model_path: Path, tmp_path: Path) -> None:
    (group,) = _generator(model_path).samples("the", 2)
    group.finish()
    with pytest.raises(OptionError, match="save_state: saves the state after one text"):
        group.save(tmp_path / "state")
    (alone,) = _generator(model_path).samples("the ", 1)
    with pytest.raises(OptionError, match="no token of it has been drawn yet"):
        alone.save(tmp_path / "state")


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"length": 0}, "length: must be at least 1, was 0"),
        ({"length": 1.5}, "length: must be a whole number"),
        ({"stop": ""}, "stop: must be texts that are not empty"),
        ({"stop": ["a", 1]}, "stop: must be texts that are not empty"),
        ({"random_seed": -1}, "random_seed: must be at least 0"),
    ],
    ids=str,
)
def test_options_that_make_no_sense_are_refused(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(OptionError, match=said):
        GenerationOptions(**settings)


def test_a_stop_string_may_stand_alone() -> None:
    assert GenerationOptions(stop="ab").stop == ("ab",)  # type: ignore[arg-type]
    assert GenerationOptions(stop=["ab", "c"]).stop == ("ab", "c")  # type: ignore[arg-type]


def test_a_word_model_puts_one_space_before_its_first_word(make_model: MakeModel) -> None:
    path = make_model("word")
    only_words = SamplingOptions(temperature=0)
    for prompt in ("the cat", "the cat "):
        generator = Generator.load(path, only_words, GenerationOptions(random_seed=1, length=1))
        (found,) = _samples(generator, prompt)
        assert not (prompt.encode() + found).count(b"  ")
