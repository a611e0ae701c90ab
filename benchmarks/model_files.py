"""What a model loses and gains when its file is made smaller: its size, scores and speed in each number format.

    python benchmarks/model_files.py checkpoints/demo
    python benchmarks/model_files.py checkpoints/translation test.tsv

Without a corpus, the model is evaluated on the text that its training held out. The speed is that of a language model
that generates one text: tokens a second, the formats by turns.
"""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

import nlpseq
from nlpseq.models.language_model import TASK, LanguageModelOptions
from nlpseq.models.model_file import CHECKSUM, STORAGE, Model, load_model, save_model
from nlpseq.models.storage import FORMATS, rounded
from nlpseq.timing.clocks import median_seconds
from nlpseq.timing.decode import generate, our_step

TOKENS, ROUNDS = 200, 41  # of a text, and how often each format generates one
OWN = {"format", "version", "task", "options", STORAGE, CHECKSUM}  # entries of the header that are made anew


def main(model: str, *corpora: str) -> None:
    """Write a line for each number format: the size of the file in bytes, and the scores."""
    loaded = load_model(Path(model))
    rates = generation_rates(loaded) if loaded.task == TASK else {}
    details = {name: value for name, value in loaded.header.items() if name not in OWN}
    with TemporaryDirectory() as folder:
        for store in FORMATS:
            path = Path(folder) / f"{store}.safetensors"
            save_model(path, loaded.task, loaded.options, loaded.weights, loaded.tokeniser, store, **details)
            stored: Any = nlpseq.load(path)
            scores = "  ".join(f"{score.name} {score.value:.4f}" for score in stored.evaluate(*corpora))
            rate = f"  {rates[store]:,.0f} tokens a second" if rates else ""
            print(f"{store}  {path.stat().st_size:>10,} bytes  {scores}{rate}")


def generation_rates(model: Model) -> dict[str, float]:
    """Tokens a second of one text, for each number format; the medians of many texts."""
    options = LanguageModelOptions(**model.options)
    steps = [our_step(rounded(model.weights, store), options) for store in FORMATS]
    generator = np.random.default_rng(1)
    seconds = median_seconds([partial(generate, step, TOKENS, generator) for step in steps], ROUNDS)
    return {store: TOKENS / taken for store, taken in zip(FORMATS, seconds, strict=True)}


if __name__ == "__main__":
    main(*sys.argv[1:])
