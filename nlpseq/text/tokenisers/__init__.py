"""Text to token ids and back."""

from nlpseq.text.encodings import to_utf8
from nlpseq.text.tokenisers.characters import ByteTokeniser, CharTokeniser
from nlpseq.text.tokenisers.pieces import BpeTokeniser, SubwordTokeniser, UnigramTokeniser
from nlpseq.text.tokenisers.table import TOKENISERS, load_tokeniser, train_tokeniser
from nlpseq.text.tokenisers.tokeniser import NEWLINE, NUM_BYTES, SPACE, Tokeniser
from nlpseq.text.tokenisers.words import LONGEST_WORD, WordTokeniser

__all__ = [
    "LONGEST_WORD",
    "NEWLINE",
    "NUM_BYTES",
    "SPACE",
    "TOKENISERS",
    "BpeTokeniser",
    "ByteTokeniser",
    "CharTokeniser",
    "SubwordTokeniser",
    "Tokeniser",
    "UnigramTokeniser",
    "WordTokeniser",
    "load_tokeniser",
    "to_utf8",
    "train_tokeniser",
]
