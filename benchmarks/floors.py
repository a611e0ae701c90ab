"""The baselines beside a model's scores, measured: `python benchmarks/floors.py [PART...] [--kenlm FOLDER]`.

    words         Kneser-Ney of order 5 on WikiText-2, in words: test and validation perplexity
    characters    Kneser-Ney of orders 5 to 8 on tiny Shakespeare, in characters, nanoGPT's split: nats per character
    large         Kneser-Ney on 66 MB of reviews, in characters and in words: seconds and memory
    pairs         copied sources and nearest sources' targets on Multi30k and French: BLEU, chrF, seconds

Each model is counted by a program of its own, on one core, so that nothing else is in its peak memory; the time is that
of counting and reading, without tokenising. FOLDER has KenLM's `lmplz` and `query`, an independent implementation
(https://github.com/kpu/kenlm, built with cmake), which `words` and `characters` run on the same tokens: the text is one
line, with a word for each token, and neither the end of that line nor its start is scored. KenLM's uniform floor is
that of the tokens that it has seen and two more; ours is that of the tokeniser, with all 256 bytes.
"""

from __future__ import annotations

import argparse
import gzip
import math
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
from measured import measure
from rows import peak_memory

ROOT = Path(__file__).resolve().parents[1]
DATA = (ROOT / "../shared/data").resolve()
PROGRAM = "import floors, sys; floors.count(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))"

Rows = Iterator[tuple[str, str]]
Texts = dict[str, str]


def counted(folder: Path, texts: Texts, kind: str, order: int) -> str:
    """Tokenise texts, of which the first is for training, and count it in another program: what that found."""
    from nlpseq.text.tokenisers import train_tokeniser

    train = next(iter(texts.values()))
    tokeniser = train_tokeniser(kind, train.splitlines(), {"word": 50_000, "char": 16_384}[kind])
    for name, text in texts.items():
        np.save(folder / f"{name}.npy", tokeniser.encode(text, exact=False))
    return read(folder, tokeniser.size, order)


def read(folder: Path, size: int, order: int) -> str:
    """Count in another program: what that found."""
    path = os.pathsep.join([str(ROOT), str(ROOT / "benchmarks")])
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    words = [sys.executable, "-c", PROGRAM, str(folder), str(size), str(order)]
    return subprocess.run(words, capture_output=True, text=True, check=True, env=environment).stdout.strip()


def count(folder: str, size: int, order: int) -> None:
    """Print the perplexities of a folder's texts by a model of the text `train`, seconds, and peak memory."""
    from nlpseq.evaluation.floors.kneser_ney import KneserNey

    train = np.load(Path(folder, "train.npy"))
    before, started = peak_memory("self"), time.perf_counter()
    model = KneserNey(train, size, order)
    seconds, found = time.perf_counter() - started, []
    for path in sorted(Path(folder).glob("*.npy")):
        if path.stem != "train":
            tokens = np.load(path)
            loss = model.text_loss(tokens) / len(tokens)
            found.append(f"{path.stem} {math.exp(loss):.3f} ({loss:.4f} nats)")
    kept = sum(len(table.keys) for table in model.tables)
    fallback = f", fallback discounts in orders {model.fallback_orders}" if model.fallback_orders else ""
    memory = f"{before:,.0f} MB before, {peak_memory('self'):,.0f} MB at most"
    print(f"{', '.join(found)}; {len(train):,} tokens, {kept:,} n-grams in {seconds:.1f} s, {memory}{fallback}")


def kenlm(folder: Path, programs: Path, order: int) -> str:
    """The perplexities that KenLM finds for the texts in a folder, in the same tokens."""
    for path in folder.glob("*.npy"):
        path.with_suffix(".txt").write_text(" ".join(f"t{token}" for token in np.load(path).tolist()) + "\n")
    started, model = time.perf_counter(), folder / "kenlm.arpa"
    words = [programs / "lmplz", "-o", str(order), "-S", "1G", "-T", folder, "--discount_fallback"]
    with (folder / "train.txt").open() as text, model.open("w") as out:
        subprocess.run(words, stdin=text, stdout=out, stderr=subprocess.DEVNULL, check=True)
    seconds, found = time.perf_counter() - started, []
    for path in sorted(folder.glob("*.txt")):
        if path.stem != "train":
            query = [programs / "query", "-n", "-v", "summary", model]
            with path.open() as text:
                told = subprocess.run(query, stdin=text, capture_output=True, check=True, text=True).stdout
            perplexity = float(re.findall(r"Perplexity including OOVs:\s+(\S+)", told)[0])
            found.append(f"{path.stem} {perplexity:.3f} ({math.log(perplexity):.4f} nats)")
    return f"{', '.join(found)}; in {seconds:.1f} s"


def words(folder: Path, arguments: argparse.Namespace) -> Rows:
    """WikiText-2."""
    sides = ("train", "test", "valid")
    texts = {name: (DATA / f"wikitext2/{name}.txt").read_text(encoding="utf-8") for name in sides}
    yield "WikiText-2, words, order 5: perplexity", counted(folder, texts, "word", 5)
    if arguments.kenlm:
        yield "the same by KenLM", kenlm(folder, arguments.kenlm.resolve(), 5)


def characters(folder: Path, arguments: argparse.Namespace) -> Rows:
    """Tiny Shakespeare."""
    text = (DATA / "tinyshakespeare/input.txt").read_text(encoding="utf-8")
    cut = len(text) * 9 // 10
    for order in (5, 6, 7, 8):
        yield (
            f"tiny Shakespeare, characters, order {order}: perplexity",
            counted(folder, {"train": text[:cut], "valid": text[cut:]}, "char", order),
        )
        if arguments.kenlm and order <= 6:  # the most that KenLM is built for by default
            yield "the same by KenLM", kenlm(folder, arguments.kenlm.resolve(), order)


def large(folder: Path, arguments: argparse.Namespace) -> Rows:
    """The reviews without labels."""
    text = gzip.decompress((DATA / "imdb/unsup.txt.gz").read_bytes()).decode()
    for kind, name in (("char", "characters"), ("word", "words")):
        texts = {"train": text, "valid": text[-100_000:]}
        yield f"66 MB of reviews, {name}, order 5: perplexity of its own end", counted(folder, texts, kind, 5)


def pairs(folder: Path, arguments: argparse.Namespace) -> Rows:
    """Translation."""
    from nlpseq.evaluation.bleu import BleuOptions
    from nlpseq.evaluation.floors.nearest import NearestText
    from nlpseq.evaluation.translation_scores import reference_scores
    from nlpseq.text.tables.parallel import Pairs, read_parallel

    multi30k, french = DATA / "multi30k", DATA / "fra-eng"

    def of_files(name: str) -> Pairs:
        return read_parallel([str(multi30k / f"{name}.{side}") for side in ("en", "de")], two_files=True)

    def of_table(name: str) -> Pairs:
        return read_parallel([str(french / f"{name}.tsv")], two_files=False)

    for corpus, train, test in (
        ("Multi30k en-de, val", of_files("train"), of_files("val")),
        ("English-French, valid", of_table("train"), of_table("valid")),
    ):
        started = time.perf_counter()
        nearest = NearestText(train.sources)
        found = [nearest.index(source) for source in test.sources]
        seconds = time.perf_counter() - started
        targets = ["" if index is None else train.targets[index] for index in found]
        for name, texts in (("copied sources", test.sources), (f"nearest of {len(train):,} sources", targets)):
            scores = reference_scores(texts, [test.targets], BleuOptions())[:2]
            told = ", ".join(f"{score.name} {score.value:.2f}" for score in scores)
            yield f"{corpus}: {name}", told + (f"; found in {seconds:.1f} s" if texts is targets else "")


PARTS: dict[str, Callable[[Path, argparse.Namespace], Rows]] = {
    part.__name__: part for part in (words, characters, large, pairs)
}


def main() -> None:
    """Measure the named parts, or all, and print a table; `--out` writes it too."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", help="parts to measure [default: all]")
    parser.add_argument("--kenlm", type=Path, help="folder of KenLM's lmplz and query")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    measure([partial(PARTS[name], arguments=arguments) for name in arguments.parts or PARTS], arguments.out)


if __name__ == "__main__":
    main()
