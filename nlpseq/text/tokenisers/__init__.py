"""Text to token ids and back.

tokeniser.py     what a tokeniser is
characters.py    bytes and characters
words.py         words between spaces
pieces.py        pieces of words
subwords.py      sentencepiece, kept away from text that it would change
table.py         the table of tokenisers; training and loading
token_lines.py   lines of text to lines of ids, for `nlpseq tokenize`
"""

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
