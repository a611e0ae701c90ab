"""Text to token ids and back.

tokeniser.py     the tokenisers and their table
subwords.py      word pieces, by sentencepiece
token_lines.py   lines of text to lines of ids, for `nlpseq tokenize`
"""

from nlpseq.text.tokenisers.tokeniser import (
    LONGEST_WORD,
    NEWLINE,
    NUM_BYTES,
    SPACE,
    TOKENISERS,
    BpeTokeniser,
    ByteTokeniser,
    CharTokeniser,
    SubwordTokeniser,
    Tokeniser,
    UnigramTokeniser,
    WordTokeniser,
    load_tokeniser,
    to_utf8,
    train_tokeniser,
)

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
