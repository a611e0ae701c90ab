"""Character generation from a single sentence: an LSTM learns it by heart and says it again from its first word.

Three lines on the library's API: train, generate, score. `own_training_loop.py` does the same step by step.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import nlpseq

SENTENCE = "hello world, how are you?"
SEED = "hello"


def main() -> None:
    """Learn the sentence, print what follows the seed, and how likely the sentence is beside another one."""
    with TemporaryDirectory() as folder:
        corpus = Path(folder) / "sentence.txt"
        corpus.write_text(f"{SENTENCE}\n" * 20)
        model = nlpseq.train("lm", corpus, out=Path(folder) / "model", steps=80, hidden_size=64, ngrams=1)
        assert isinstance(model, nlpseq.LanguageModel)
        for line in (SENTENCE, SENTENCE[::-1]):
            print(f"perplexity {model.score(line).perplexity:12.2f}  {line}")
        print(f"generated: {model.generate(SEED, temperature=0, stop='?')}?")


if __name__ == "__main__":
    main()
