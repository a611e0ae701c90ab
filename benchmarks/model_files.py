"""What a model loses when its file is made smaller: a model stored in each number format, and its scores and size.

    python benchmarks/model_files.py checkpoints/demo
    python benchmarks/model_files.py checkpoints/translation test.tsv

Without a corpus, the model is evaluated on the text that its training held out.
"""

from __future__ import annotations

import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import nlpseq
from nlpseq.models.model_file import CHECKSUM, STORAGE, load_model, save_model
from nlpseq.models.storage import FORMATS

OWN = {"format", "version", "task", "options", STORAGE, CHECKSUM}  # entries of the header that are made anew


def main(model: str, *corpora: str) -> None:
    """Write a line for each number format: the size of the file in bytes, and the scores."""
    loaded = load_model(Path(model))
    details = {name: value for name, value in loaded.header.items() if name not in OWN}
    with TemporaryDirectory() as folder:
        for store in FORMATS:
            path = Path(folder) / f"{store}.safetensors"
            save_model(path, loaded.task, loaded.options, loaded.weights, loaded.tokeniser, store, **details)
            stored: Any = nlpseq.load(path)
            scores = "  ".join(f"{score.name} {score.value:.4f}" for score in stored.evaluate(*corpora))
            print(f"{store}  {path.stat().st_size:>10,} bytes  {scores}")


if __name__ == "__main__":
    main(*sys.argv[1:])
