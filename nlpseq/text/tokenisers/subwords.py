"""Word pieces by sentencepiece, for all text that it does not change.

Sentencepiece writes a space as U+2581, reserves U+2585, drops NUL and refuses lone surrogates. So these characters and
all control characters, newlines included, never reach it: a text is cut around them, and they are spelled in bytes. All
other text round-trips exactly, with identity normalisation, no space added in front, no space removed, and byte
fallback. No piece crosses a control character, and a tab costs a token.

A piece may start with spaces, but has no space after another character, so the pieces of a text are those of its words.
Words are repeated, so their ids are remembered. This makes encoding several times faster; scripts without spaces gain
nothing. Few words are remembered unless a corpus is encoded: a filter's memory then hardly grows with its input, and
lines take two fifths longer to encode than with MANY_WORDS, which are up to 30 MB.

A corpus is sampled to SAMPLE_CHARACTERS: every second line, every fourth, and so on, evenly over the whole corpus and
always the same lines. The sample is in memory while the pieces are learned.
"""

from __future__ import annotations

import io
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nlpseq.errors import TokeniserError
from nlpseq.text.encodings import to_utf8

SPACE_MARK = "\u2581"
SAMPLE_CHARACTERS = 5_000_000
LONGEST_RUN = 300  # characters that sentencepiece gets at once in training; longer runs are cut, at a space if possible
COVERAGE = 0.9995  # fraction of the corpus' characters that the alphabet covers, if half of the units are enough

_NUM_BYTES = 256
FEW_WORDS, MANY_WORDS = 4_096, 100_000  # whose ids are remembered, and as many older ones
AT_ONCE = 1 << 20  # characters that are cut into words at once
LONGEST_REMEMBERED = 32  # characters of such a word, with the spaces before it
_RESERVED = "\x00-\x1f\x7f-\x9f\u2581\u2585\ud800-\udfff"
_WORD = re.compile(f" *[^ {_RESERVED}]+| +|[{_RESERVED}]+")
_FIRST_SPACE = re.compile("(?<! ) ")  # of a word; no word before it reaches beyond it
_RESERVED_CHARACTER = re.compile(f"[{_RESERVED}]")


class SubwordModel:
    """A trained sentencepiece model, with its ids shifted so that bytes are 0 to 255 and units follow.

    An empty `model` has no units, and all text is spelled in bytes.
    """

    def __init__(self, model: bytes) -> None:
        self.model = model
        self.units: list[str] = []
        if model:
            self._load(model)

    def _load(self, model: bytes) -> None:
        from sentencepiece import SentencePieceProcessor

        try:
            self.processor = SentencePieceProcessor(model_proto=model)
        except (RuntimeError, ValueError) as error:
            raise TokeniserError("tokeniser", f"it is damaged: sentencepiece says {error}") from None
        pieces = [self.processor.IdToPiece(token) for token in range(self.processor.GetPieceSize())]
        if pieces[1 : 1 + _NUM_BYTES] != [f"<0x{value:02X}>" for value in range(_NUM_BYTES)]:
            raise TokeniserError("tokeniser", "its sentencepiece model does not start with the 256 bytes")
        if SPACE_MARK not in pieces:
            raise TokeniserError("tokeniser", "its sentencepiece model has no piece for a space")
        self.units = [piece.replace(SPACE_MARK, " ") for piece in pieces[1 + _NUM_BYTES :]]
        self.words = RememberedWords(self.processor, len(pieces))

    @property
    def scores(self) -> dict[str, float]:
        """The scores of the units, in the order of their ids: the higher one wins."""
        first = 1 + _NUM_BYTES
        return {unit: self.processor.GetScore(first + index) for index, unit in enumerate(self.units)}

    def encode(self, text: str) -> NDArray[np.int32]:
        """Ids [T] of any text."""
        if not self.model:
            return np.frombuffer(to_utf8(text), np.uint8).astype(np.int32)
        known = self.words.__getitem__
        joined = b"".join(b"".join(map(known, cut_into_words(part))) for part in _parts(text))
        return np.frombuffer(joined, self.words.dtype).astype(np.int32)


def cut_into_words(text: str) -> list[str]:
    """The words of a text, each with the spaces before it, and its runs of characters that are spelled in bytes."""
    return _WORD.findall(text)


def _parts(text: str) -> Iterator[str]:
    """A text in parts of about AT_ONCE characters, each with whole words, for the words of a long text are many."""
    start = 0
    while len(text) - start > AT_ONCE and (end := _FIRST_SPACE.search(text, start + AT_ONCE)):
        yield text[start : end.start()]
        start = end.start()
    yield text[start:]


def is_spelled(word: str) -> bool:
    """Whether a word of `cut_into_words` is a run of characters that are spelled in bytes."""
    return _RESERVED_CHARACTER.match(word) is not None


class RememberedWords(dict[str, bytes]):
    """The ids of words, as bytes of the type `dtype`, computed when they are first needed.

    `most` words are kept, and as many that were kept before them.
    """

    def __init__(self, processor: Any, num_pieces: int) -> None:
        self.most = FEW_WORDS
        self._processor = processor
        self._older: dict[str, bytes] = {}
        self.dtype = np.dtype(np.uint16 if num_pieces <= 1 << 16 else np.uint32)

    def __missing__(self, word: str) -> bytes:
        ids = self._older.get(word)
        if ids is None:
            ids = np.array(self._spelled(word), self.dtype).tobytes()
        if len(self) >= self.most:
            self._older = dict(self)
            self.clear()
        if len(word) <= LONGEST_REMEMBERED:
            self[word] = ids
        return ids

    def _spelled(self, word: str) -> list[int]:
        if is_spelled(word):
            return list(to_utf8(word))
        return [token - 1 for token in self._processor.Encode(word, out_type=int)]


def train_subword_model(kind: str, sample: Sequence[str], num_units: int) -> bytes:
    """Learn at most `num_units` units by `kind`, "unigram" or "bpe": the model's bytes, empty without a unit.

    The alphabet (one unit for each character, always with the space) takes at most half of the units; the rarest
    characters are spelled in bytes. The same lines give the same model.
    """
    alphabet = _alphabet(sample, max(1, num_units // 2))
    if num_units < 1 or not alphabet:
        return b""
    outside = re.compile(f"[^{''.join(map(re.escape, alphabet))}]+")
    runs = [piece for line in sample for run in outside.split(line) for piece in _cut(run)]
    return _train(kind, [" ", *runs], num_units)


def _train(kind: str, runs: list[str], num_units: int) -> bytes:
    from sentencepiece import SentencePieceTrainer

    model = io.BytesIO()
    try:
        SentencePieceTrainer.train(
            sentence_iterator=iter(runs),
            model_writer=model,
            model_type=kind,
            vocab_size=1 + _NUM_BYTES + num_units,  # 1 for the unknown piece, which is never used
            seed_sentencepiece_size=max(100_000, 10 * num_units),
            hard_vocab_limit=False,
            byte_fallback=True,
            character_coverage=1.0,
            normalization_rule_name="identity",
            add_dummy_prefix=False,
            remove_extra_whitespaces=False,
            allow_whitespace_only_pieces=True,
            max_sentence_length=8 * LONGEST_RUN,
            num_threads=4,  # a fixed number: unigram's sums depend on it
            unk_id=0,
            bos_id=-1,
            eos_id=-1,
            pad_id=-1,
            minloglevel=2,
        )
    except RuntimeError as error:
        raise TokeniserError("tokeniser", f"sentencepiece cannot learn it: {error}") from None
    return model.getvalue()


def sample_lines(lines: Iterable[str]) -> list[str]:
    """Lines spread evenly over the corpus, in all at most SAMPLE_CHARACTERS (or one longer line)."""
    kept: list[str] = []
    stride, characters = 1, 0
    for number, line in enumerate(lines):
        if number % stride:
            continue
        kept.append(line)
        characters += len(line)
        while characters > SAMPLE_CHARACTERS and len(kept) > 1:
            kept, stride = kept[::2], stride * 2
            characters = sum(map(len, kept))
    return kept


def _alphabet(sample: Sequence[str], most: int) -> list[str]:
    """The space and the most frequent characters until COVERAGE is reached; empty if there are no characters."""
    counts: Counter[str] = Counter()
    for line in sample:
        counts.update(line)
    usable = {character: count for character, count in counts.items() if not _RESERVED_CHARACTER.match(character)}
    total, covered = sum(usable.values()), 0
    alphabet: list[str] = [" "] if usable else []
    for character in sorted(usable, key=lambda letter: (-usable[letter], letter)):
        if len(alphabet) >= most or covered >= COVERAGE * total:
            break
        covered += usable[character]
        if character != " ":
            alphabet.append(character)
    return alphabet


def _cut(run: str) -> Iterator[str]:
    """`run` in pieces of at most LONGEST_RUN characters, cut before a space if possible."""
    while len(run) > LONGEST_RUN:
        space = run.rfind(" ", 1, LONGEST_RUN)
        end = space if space > 0 else LONGEST_RUN
        yield run[:end]
        run = run[end:]
    if run:
        yield run
