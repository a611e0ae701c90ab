"""Tokenisers: whatever goes in comes out, and what is learned travels."""

from __future__ import annotations

import json
from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from nlpseq.errors import TokeniserError
from nlpseq.text.tokenisers import (
    NEWLINE,
    TOKENISERS,
    Tokeniser,
    load_tokeniser,
    subwords,
    to_utf8,
    train_tokeniser,
)
from nlpseq.text.tokenisers.subwords import SubwordModel, train_subword_model

DATA = (Path(__file__).parents[3] / "../shared/data").resolve()

LINES = [
    "the cat sat on the mat , and the dog sat on the cat .",
    "Die Katze saß auf der Matte , und der Hund grüßte schön .",
    "猫坐在垫子上。狗坐在猫上。猫不高兴。",
    "the dog  was not   amused \U0001f415 \U0001f408",
    "",
    "\tdef cat(mat):\t# U+2581 \u2581 and U+2585 \u2585 and e\u0301",
] * 12

AWKWARD = [
    *["\n", "\r\n", "\r", "\0", "\t", " ", "  ", "   ", "\u2581", "\u2585", "\u2028", "\u0085", "\ufeff"],
    *["\ufffd", "\ufffe", "\U0010ffff", "<unk>", "<s>", "<0x41>", "the", "cat", " the cat ", "猫", "ß"],
    *["é", "e\u0301", "\udc80", "\udcff", "a" * 40, "\x7f", "\x80", "\u200d"],
]


def as_read(text: str) -> str:
    """The text that a reader makes of `text`'s bytes: the only kind there is."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "surrogateescape")


TEXTS = st.lists(st.sampled_from(AWKWARD) | st.text(max_size=5), max_size=12).map("".join).map(as_read) | st.binary(
    max_size=30
).map(lambda data: data.decode("utf-8", "surrogateescape"))


@pytest.fixture(scope="module")
def trained() -> dict[str, Tokeniser]:
    return {kind: train_tokeniser(kind, LINES, 400) for kind in TOKENISERS}


@pytest.fixture(scope="module", params=list(TOKENISERS))
def tokeniser(request: pytest.FixtureRequest, trained: dict[str, Tokeniser]) -> Tokeniser:
    return trained[request.param]


@settings(deadline=None, max_examples=80)
@given(text=TEXTS)
def test_decoding_undoes_encoding(trained: dict[str, Tokeniser], text: str) -> None:
    for tokeniser in trained.values():
        ids = tokeniser.encode(text)
        assert ids.dtype == np.int32
        assert tokeniser.decode(ids) == text, tokeniser.kind
        assert tokeniser.decode_bytes(ids) == to_utf8(text)


@pytest.mark.parametrize("text", AWKWARD)
def test_every_awkward_string_round_trips_alone(tokeniser: Tokeniser, text: str) -> None:
    assert tokeniser.decode(tokeniser.encode(text)) == text


@settings(deadline=None, max_examples=40)
@given(texts=st.lists(TEXTS, max_size=4))
def test_lines_encoded_apart_are_the_text_encoded_whole(trained: dict[str, Tokeniser], texts: list[str]) -> None:
    lines = [text.replace("\n", "") + "\n" for text in texts]
    for tokeniser in trained.values():
        for exact in (True, False):
            apart = [token for line in lines for token in tokeniser.encode(line, exact=exact)]
            assert apart == tokeniser.encode("".join(lines), exact=exact).tolist(), tokeniser.kind


@settings(deadline=None, max_examples=40)
@given(ids=st.lists(st.integers(0, 256), max_size=20))
def test_any_ids_decode(trained: dict[str, Tokeniser], ids: list[int]) -> None:
    for tokeniser in trained.values():
        known = [token for token in ids if token < tokeniser.size]
        assert isinstance(tokeniser.decode(known), str)
        joined = b"".join(tokeniser.piece(before, token) for before, token in zip([None, *known], known, strict=False))
        assert joined == tokeniser.decode_bytes(np.array(known, np.int64))


def robustness_files() -> list[Path]:
    folder = DATA / "robustness"
    return sorted(path for path in folder.rglob("*") if path.is_file())


@pytest.mark.skipif(not (DATA / "robustness").is_dir(), reason="shared/data/robustness is not there")
def test_robustness_files_round_trip(tokeniser: Tokeniser) -> None:
    for path in robustness_files():
        data = path.read_bytes()
        text = data.decode("utf-8", "surrogateescape")
        assert tokeniser.decode_bytes(tokeniser.encode(text)) == data, path.name


def test_a_surrogate_that_is_no_byte_is_spelled_and_breaks_nothing(tokeniser: Tokeniser) -> None:
    ids = tokeniser.encode("a\ud800b\udc80c\udfff")
    assert tokeniser.decode_bytes(ids) == b"a\xed\xa0\x80b\x80c\xed\xbf\xbf"


def test_the_vocabulary_begins_with_the_bytes(tokeniser: Tokeniser) -> None:
    assert [tokeniser.piece(None, token) for token in range(256)] == [bytes([token]) for token in range(256)]
    assert tokeniser.encode("\n").tolist() == [NEWLINE]
    assert tokeniser.encode("").tolist() == []


def test_the_vocabulary_is_never_larger_than_asked() -> None:
    for kind in TOKENISERS:
        for size in (256, 257, 258, 259, 262, 270, 300):
            tokeniser = train_tokeniser(kind, LINES, size)
            assert 256 <= tokeniser.size <= size
            assert tokeniser.decode(tokeniser.encode(LINES[2])) == LINES[2]


@pytest.mark.parametrize("kind", TOKENISERS)
@pytest.mark.parametrize(
    "lines", [[], [""], ["", ""], ["a"], [" "], ["\u2581\0"], ["x" * 50], ["猫" * 5000]], ids=ascii
)
def test_a_small_corpus_gives_a_small_vocabulary(kind: str, lines: list[str]) -> None:
    tokeniser = train_tokeniser(kind, lines, 8000)
    assert 256 <= tokeniser.size < 300
    for text in [*lines, "other text", "\n"]:
        assert tokeniser.decode(tokeniser.encode(text)) == text
    assert load_tokeniser(tokeniser.to_bytes()).size == tokeniser.size


def test_loading_undoes_saving(tokeniser: Tokeniser) -> None:
    again = load_tokeniser(tokeniser.to_bytes())
    assert (again.kind, again.size, again.fingerprint) == (
        tokeniser.kind,
        tokeniser.size,
        tokeniser.fingerprint,
    )
    assert again.to_bytes() == tokeniser.to_bytes()
    for text in LINES[:6]:
        assert again.encode(text).tolist() == tokeniser.encode(text).tolist()


def test_training_twice_gives_the_same_tokeniser(tokeniser: Tokeniser) -> None:
    assert train_tokeniser(tokeniser.kind, iter(LINES), 400).to_bytes() == tokeniser.to_bytes()


def test_fingerprints_tell_tokenisers_apart(trained: dict[str, Tokeniser]) -> None:
    fingerprints = {tokeniser.fingerprint for tokeniser in trained.values()}
    assert len(fingerprints) == len(TOKENISERS)
    assert all(len(each) == 8 and int(each, 16) >= 0 for each in fingerprints)


def test_names_of_tokens_can_be_printed_and_differ(tokeniser: Tokeniser) -> None:
    names = [tokeniser.spell(token) for token in range(tokeniser.size)]
    assert all(name.isprintable() and " " not in name for name in names)
    assert len(set(names)) == len(names)
    assert names[NEWLINE] == "<0x0A>"


def test_names_of_units() -> None:
    assert train_tokeniser("char", ["é\u200d"] * 2, 300).spell(256) == "é"
    assert train_tokeniser("char", ["é\u200d"] * 2, 300).spell(257) == "<U+200D>"
    assert train_tokeniser("byte", [], 300).spell(ord("a")) == "a"
    assert train_tokeniser("word", ["the", "the"], 300).spell(256) == "the"
    pieces = train_tokeniser("bpe", ["all the cats and all the dogs"] * 20, 300)
    assert "\u2581the" in {pieces.spell(token) for token in range(256, pieces.size)}


@pytest.mark.parametrize("token", [-1, 100_000])
def test_an_id_outside_the_vocabulary_is_refused(tokeniser: Tokeniser, token: int) -> None:
    with pytest.raises(TokeniserError, match=f"no token {token}: ids go from 0 to {tokeniser.size - 1}"):
        tokeniser.decode([65, token])
    with pytest.raises(TokeniserError, match="no token"):
        tokeniser.spell(token)


@pytest.mark.parametrize(("kind", "text"), [("char", "é é ü"), ("word", "tea tea milk")])
def test_what_occurs_once_is_spelled_so_that_models_learn_to_spell(kind: str, text: str) -> None:
    tokeniser = train_tokeniser(kind, [text], 300)
    seen, _, unseen = text.split()
    assert tokeniser.units == (seen,)
    assert tokeniser.encode(unseen).tolist() == list(unseen.encode())


def test_char_units_are_the_frequent_characters_beyond_ascii() -> None:
    tokeniser = train_tokeniser("char", ["aaaa ééé ßß 猫猫 ü"], 259)
    assert tokeniser.units == ("é", "ß", "猫")
    assert tokeniser.encode("aé猫").tolist() == [97, 256, 258]
    assert tokeniser.encode("ü\U0001f408").tolist() == [*"ü".encode(), *"\U0001f408".encode()]


def test_words_understand_one_space_between_units() -> None:
    tokeniser = train_tokeniser("word", ["a b a b"], 300)
    a, b = 256, 257
    assert tokeniser.encode("a b").tolist() == [a, b]
    assert tokeniser.encode("a  b").tolist() == [a, 32, 32, b]
    assert tokeniser.encode(" a\nb \n\n").tolist() == [32, a, NEWLINE, b, 32, NEWLINE, NEWLINE]
    assert tokeniser.encode("a no b").tolist() == [a, 32, *b"no", 32, b]
    assert tokeniser.encode("no no").tolist() == list(b"no no")
    assert tokeniser.piece(a, b) == b" b"
    assert tokeniser.piece(None, b) == tokeniser.piece(NEWLINE, b) == b"b"


@settings(deadline=None, max_examples=80)
@given(text=TEXTS)
def test_inexact_words_are_the_exact_words_of_the_regular_text(trained: dict[str, Tokeniser], text: str) -> None:
    regular = "\n".join(" ".join(filter(None, line.split(" "))) for line in text.split("\n"))
    tokeniser = trained["word"]
    assert tokeniser.encode(text, exact=False).tolist() == tokeniser.encode(regular).tolist()
    assert tokeniser.decode(tokeniser.encode(text, exact=False)) == regular


def test_a_title_of_wikitext_is_four_tokens() -> None:
    tokeniser = train_tokeniser("word", [" = Title = "] * 2, 300)
    assert tokeniser.encode(" = Title = \n", exact=False).tolist() == [256, 257, 256, NEWLINE]
    assert len(tokeniser.encode(" \n", exact=False)) == 1


@pytest.mark.skipif(not (DATA / "wikitext2").is_dir(), reason="shared/data/wikitext2 is not there")
def test_words_of_wikitext_2_are_as_many_as_published() -> None:
    texts = {
        name: (DATA / "wikitext2" / f"{name}.txt").read_bytes().decode("utf-8") for name in ("train", "valid", "test")
    }
    tokeniser = train_tokeniser("word", texts["train"].split("\n"), 100_000)
    assert tokeniser.size - 256 == 33_277
    counts = {name: len(tokeniser.encode(text, exact=False)) for name, text in texts.items()}
    assert counts == {"train": 2_088_628, "valid": 217_646, "test": 245_569}
    assert tokeniser.decode(tokeniser.encode(texts["valid"])) == texts["valid"]


@pytest.mark.parametrize("kind", ["unigram", "bpe"])
def test_subwords_learn_from_a_long_line_and_of_a_large_corpus(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subwords, "SAMPLE_CHARACTERS", 20_000)
    lines = ["the cat sat on the mat and the dog sat on the cat " * 100] * 3 + ["never a mat for the dog"] * 5000
    tokeniser = train_tokeniser(kind, lines, 330)
    assert len(tokeniser.encode("the cat")) < 7


@cache
def _spaced_model(kind: str) -> bytes:
    return train_subword_model(kind, ["a ba  abba é.  aab", "  bab aba.", "中a  中 b"] * 50, 30)


@pytest.mark.parametrize("kind", ["unigram", "bpe"])
@given(texts=st.lists(st.text(st.sampled_from("aabé  .中"), max_size=50), min_size=1, max_size=3))
@example(texts=["a.   "])
def test_words_that_are_remembered_are_spelled_as_in_a_whole_text(kind: str, texts: list[str]) -> None:
    """Or as likely: of two unigram spellings with the same pieces in another order neither is the right one."""
    trained = _spaced_model(kind)
    model, processor = SubwordModel(trained), SubwordModel(trained).processor
    for _ in range(2):
        for text in texts:
            found = model.encode(text).tolist()
            whole = [token - 1 for token in processor.Encode(text)]
            as_likely = kind == "unigram" and sorted(found) == sorted(whole)
            assert found == whole or as_likely
            assert processor.Decode([token + 1 for token in found]) == processor.Decode([token + 1 for token in whole])
    assert all(len(word) <= subwords.LONGEST_REMEMBERED for word in model.words)


@given(st.text(alphabet="ab \n\u2581", max_size=60), st.integers(1, 9))
def test_a_long_text_has_the_words_of_a_short_one(text: str, size: int) -> None:
    model = SubwordModel(train_subword_model("bpe", ["aa ab ba bb " * 9], 20))
    expected = model.encode(text).tolist()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(subwords, "AT_ONCE", size)
        assert model.encode(text).tolist() == expected


def test_only_a_number_of_words_is_remembered() -> None:
    model = SubwordModel(train_subword_model("bpe", ["aa ab ba bb " * 9], 20))
    model.words.most = 3
    ids = model.encode("aa ab ba bb aaa").tolist()
    assert list(model.words) == [" bb", " aaa"]
    assert model.encode("aa ab ba bb aaa").tolist() == ids


def test_a_large_corpus_is_sampled_evenly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subwords, "SAMPLE_CHARACTERS", 100)
    sample = subwords.sample_lines(f"{number:04}" for number in range(1000))
    assert len(sample) <= 25
    assert {int(after) - int(before) for before, after in pairwise(sample)} == {64}


def test_an_unknown_kind_names_the_nearest() -> None:
    with pytest.raises(TokeniserError, match="no kind 'unigramm'") as caught:
        train_tokeniser("unigramm", [], 300)
    assert caught.value.hint == "did you mean unigram?"


@pytest.mark.parametrize("kind", TOKENISERS)
def test_a_vocabulary_without_room_for_the_bytes_is_refused(kind: str) -> None:
    with pytest.raises(TokeniserError, match="255 cannot hold the 256 bytes"):
        train_tokeniser(kind, [], 255)


@pytest.mark.parametrize("data", [b"", b"{", b"\xff\xfe", b"[]", b"{}", b"null", b"[" * 100_000, b'{"kind":"word"}'])
def test_what_is_no_tokeniser_is_refused(data: bytes) -> None:
    with pytest.raises(TokeniserError):
        load_tokeniser(data)


def test_a_damaged_tokeniser_is_refused(tokeniser: Tokeniser) -> None:
    whole = tokeniser.to_bytes()
    for place in range(0, len(whole), max(1, len(whole) // 60)):
        damaged = whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :]
        with pytest.raises(TokeniserError):
            load_tokeniser(damaged)
        with pytest.raises(TokeniserError):
            load_tokeniser(whole[:place])


def document(kind: str, payload: object) -> bytes:
    """A tokeniser's file with any payload, its checksum right."""
    from nlpseq.text.tokenisers.tokeniser import checksum

    return json.dumps({"nlpseq-tokeniser": 1, "kind": kind, "check": checksum(payload), "payload": payload}).encode()


@pytest.mark.parametrize(
    ("kind", "payload"),
    [
        *[
            ("byte", ["a"]),
            ("byte", None),
            ("char", ["a"]),
            ("char", ["éé"]),
            ("char", ["é", "é"]),
            ("char", [1]),
        ],
        *[("char", "éü"), ("word", ["a b"]), ("word", [""]), ("word", ["a\n"]), ("word", ["\udc80"])],
        *[
            ("word", {"a": 1}),
            ("bpe", ["a"]),
            ("bpe", "!"),
            ("bpe", "AAAA"),
            ("unigram", "YWJj"),
            ("unigram", 7),
        ],
    ],
)
def test_units_that_cannot_be_are_refused(kind: str, payload: object) -> None:
    with pytest.raises(TokeniserError, match=r"damaged|does not begin"):
        load_tokeniser(document(kind, payload))


def test_a_newer_format_says_so() -> None:
    with pytest.raises(TokeniserError, match="its format is 2, but this version reads 1"):
        load_tokeniser(b'{"nlpseq-tokeniser": 2}')


def test_a_kind_of_another_version_is_refused() -> None:
    with pytest.raises(TokeniserError, match="no kind 'morse'"):
        load_tokeniser(document("morse", []))
