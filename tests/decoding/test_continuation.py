"""Texts in the making, against steps whose tokens are known beforehand."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from nlpseq.decoding.continuation import Continuation, lengthen
from nlpseq.decoding.sampling import Sampler, SamplingOptions
from nlpseq.text.tokenisers import ByteTokeniser, WordTokeniser

GREEDY = SamplingOptions(temperature=0)


class Script:
    """Steps that make each text say what it is told, byte by byte, and note what they were asked."""

    def __init__(self, *texts: bytes) -> None:
        self.texts = list(texts)
        self.place = 0
        self.advanced: list[list[int]] = []

    def predict(self) -> np.ndarray:
        predicted = np.full((len(self.texts), 256), -9.0, np.float32)
        for row, text in enumerate(self.texts):
            predicted[row, text[self.place % len(text)]] = -0.5
        return predicted

    def advance(self, tokens: Sequence[int]) -> None:
        self.advanced.append(list(tokens))
        self.place += 1

    def choose(self, texts: Sequence[int]) -> None:
        self.texts = [self.texts[text] for text in texts]


def _text(*stops: bytes) -> Continuation:
    return Continuation(ByteTokeniser(()), Sampler(GREEDY, "1"), stops=stops)


def _say(script: bytes, *stops: bytes, length: int = 100) -> tuple[list[bytes], Continuation]:
    text = _text(*stops)
    return [text.take() for _ in lengthen(Script(script), [text], length)], text


def test_a_text_is_as_long_as_was_asked() -> None:
    shown, text = _say(b"abc", length=7)
    assert b"".join(shown) == b"abcabca"
    assert (text.tokens, text.stopped) == (7, True)
    assert text.log_probability == pytest.approx(-3.5)


def test_each_token_is_shown_at_once() -> None:
    assert _say(b"abc", length=3)[0][:3] == [b"a", b"b", b"c"]


def test_a_stop_string_ends_the_text_and_is_not_part_of_it() -> None:
    shown, text = _say(b"hello world", b"o w")
    assert b"".join(shown) == b"hell"
    assert text.tokens == 7


def test_the_beginning_of_a_stop_string_is_held_back_until_it_is_none() -> None:
    shown, _ = _say(b"abac.", b"abc", length=5)
    assert shown == [b"", b"", b"ab", b"ac", b".", b""]


def test_what_was_held_back_is_shown_at_the_end() -> None:
    assert b"".join(_say(b"xab", b"abc", length=3)[0]) == b"xab"


def test_the_first_of_several_stop_strings_counts() -> None:
    assert b"".join(_say(b"one two", b"two", b"e t", b"")[0]) == b"on"


def test_texts_that_stop_leave_the_others() -> None:
    script = Script(b"a.xxx", b"bbbb.", b"cc.xx")
    texts = [_text(b".") for _ in range(3)]
    for _ in lengthen(script, texts, 10):
        pass
    assert [text.take() for text in texts] == [b"a", b"bbbb", b"cc"]
    assert [len(tokens) for tokens in script.advanced] == [3, 3, 2, 1, 1]


def test_every_token_drawn_is_read() -> None:
    script = Script(b"xyz")
    for _ in lengthen(script, [_text()], 3):
        pass
    assert script.advanced == [[ord("x")], [ord("y")], [ord("z")]]


def test_a_word_gets_its_space_from_the_word_before() -> None:
    tokeniser = WordTokeniser(("the", "cat"))
    predicted = np.full(258, -9.0, np.float32)
    predicted[257] = 0
    for previous, shown in ((256, b" cat"), (None, b"cat"), (10, b"cat")):
        text = Continuation(tokeniser, Sampler(GREEDY, "1"), previous)
        text.extend(predicted)
        assert text.take() == shown


@pytest.mark.parametrize("stops", [(), (b"o w",), (b"low", b"x")])
@pytest.mark.parametrize("size", [1, 3, 5, 11])
def test_tokens_may_come_in_blocks(stops: tuple[bytes, ...], size: int) -> None:
    data, nats = list(b"hello world, yellow"), [-0.1 * place for place in range(19)]
    one_by_one, in_blocks = _text(*stops), _text(*stops)
    for token, value in zip(data, nats, strict=True):
        if not one_by_one.stopped:
            one_by_one.add(token, value)
    taken = 0
    for start in range(0, len(data), size):
        if not in_blocks.stopped:
            taken += in_blocks.add_all(data[start : start + size], nats[start : start + size])
    assert taken == in_blocks.tokens == one_by_one.tokens
    assert in_blocks.log_probability == one_by_one.log_probability
    assert (in_blocks.stopped, in_blocks.previous) == (one_by_one.stopped, one_by_one.previous)
    for text in (one_by_one, in_blocks):
        if not text.stopped:
            text.finish()
    assert in_blocks.take() == one_by_one.take()
