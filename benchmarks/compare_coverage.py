"""Whether the intervals of `nlpseq compare` hold what they say: `python benchmarks/compare_coverage.py [--pairs 200]`.

Pairs of models are simulated whose true difference is known, and compared on a sample. Of the 95 % intervals, 92 to
98 % must hold the true difference, and of models that do not differ at most 8 % may have p < 5 %:

    accuracy    two classifiers of 300 texts that are often wrong together
    macro-F1    the same with four labels, of which two are rare; the truth is that of 100,000 texts
    BLEU        lines of random words with errors, 300 drawn from 8,000, whose difference is the truth
    bits/byte   losses of tokens that depend on those before them, in lines, cut into blocks as `compare` cuts them
    seeds       three models on each side, whose accuracies differ by chance, on 300 texts

It takes about three minutes of one core with 200 pairs. The exit status is 1 if a share is outside its limits.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from nlpseq.evaluation.bleu import BleuOptions
from nlpseq.evaluation.comparison.blocks import cut
from nlpseq.evaluation.comparison.comparison import compare_sides
from nlpseq.evaluation.comparison.label_statistics import labels_measured
from nlpseq.evaluation.comparison.measures import ACCURACY, TEXT_MEASURES, Measured, each_counted
from nlpseq.evaluation.comparison.records import Comparison, Outputs, Side, Units
from nlpseq.evaluation.comparison.resampling import ResamplingOptions
from nlpseq.evaluation.comparison.translation_statistics import translation_measured

LOWEST, HIGHEST = 92.0, 98.0  # per cent of intervals
MOST_FALSE = 8.0  # per cent of pairs without a difference
TEXTS = 300
POPULATION, SENTENCES = 100_000, 8_000
BITS_PER_BYTE = 3


class Drawn(NamedTuple):
    """One simulated pair: its true difference, and what was found."""

    truth: float
    comparison: Comparison

    @property
    def covered(self) -> bool:
        """Whether the interval holds the truth."""
        interval = self.comparison.compared[0].differences[0].interval
        return interval.low <= self.truth <= interval.high

    @property
    def sure(self) -> bool:
        """Whether p is below 5 %."""
        return self.comparison.compared[0].differences[0].p < 0.05


Pairs = Callable[[np.random.Generator, int, bool], Iterator[Drawn]]


def compared(first: list[Measured], other: list[Measured], units: int, noun: str = "line") -> Comparison:
    """Two sides, each with a model for each of its statistics."""
    sides = [
        Side(name, [Outputs(f"{name}{number}", [each]) for number, each in enumerate(own)])
        for name, own in (("a", first), ("b", other))
    ]
    options = ResamplingOptions(samples=1000, trials=400)
    return compare_sides(sides, Units(units, "simulated", noun), options)


def accuracies(generator: np.random.Generator, pairs: int, differs: bool) -> Iterator[Drawn]:
    """Two classifiers: a text is hard for both, or for neither."""
    gain = 0.04 if differs else 0.0
    for _ in range(pairs):
        hard = generator.random(TEXTS) < 0.4
        chances = np.where(hard, 0.5, 0.95)
        right = [generator.random(TEXTS) < chances + hard * more / 0.4 for more in (0.0, gain)]
        first, other = ([Measured(ACCURACY, each_counted(each))] for each in right)
        yield Drawn(100 * gain, compared(first, other, TEXTS))


def macro_f1(generator: np.random.Generator, pairs: int, differs: bool) -> Iterator[Drawn]:
    """Two classifiers with four labels."""
    own = generator.choice(4, POPULATION, p=(0.5, 0.3, 0.12, 0.08))
    sides = []
    for rate in (0.75, 0.82 if differs else 0.75):
        right = generator.random(POPULATION) < rate
        sides.append(np.where(right, own, generator.choice(4, POPULATION)))
    truth = [labels_measured(own, found, 4)[1].value for found in sides]
    for _ in range(pairs):
        rows = generator.choice(POPULATION, TEXTS)
        first, other = ([labels_measured(own[rows], found[rows], 4)[1]] for found in sides)
        yield Drawn(truth[1] - truth[0], compared(first, other, TEXTS))


def bleu(generator: np.random.Generator, pairs: int, differs: bool) -> Iterator[Drawn]:
    """Two translators that replace words at random."""
    words = np.array([f"w{number}" for number in range(200)])
    references = [generator.choice(words, generator.integers(5, 25)) for _ in range(SENTENCES)]
    sides = []
    for rate in (0.25, 0.22 if differs else 0.25):
        noisy = [np.where(generator.random(len(line)) < rate, "x", line) for line in references]
        texts, lines = ([" ".join(line) for line in each] for each in (noisy, references))
        sides.append(translation_measured(texts, [lines], ("bleu",), BleuOptions())["bleu"])
    for _ in range(pairs):
        rows = generator.choice(SENTENCES, TEXTS)
        first, other = ([Measured(each.measure, each.statistics[rows])] for each in sides)
        yield Drawn(sides[1].value - sides[0].value, compared(first, other, TEXTS))


def bits_per_byte(generator: np.random.Generator, pairs: int, differs: bool) -> Iterator[Drawn]:
    """Two language models of bytes, whose losses share a part; each part wanders over some hundred bytes."""
    size, gain = 100_000, 0.03 if differs else 0.0
    for _ in range(pairs):
        lengths = generator.integers(10, 120, 2000)
        lengths = lengths[np.cumsum(lengths) <= size]
        lines = np.stack([lengths // 6, lengths, lengths], 1)
        blocks = cut(lines, "simulated")
        ends = np.cumsum(blocks.sizes[:, 2]).astype(np.int64)
        shared = wandering(generator, int(ends[-1]), 150)
        measured = []
        for mean in (1.5, 1.5 - gain):
            losses = mean + shared + wandering(generator, int(ends[-1]), 100)
            nats = np.add.reduceat(losses, np.concatenate([[0], ends[:-1]]))
            statistics = np.column_stack([nats, blocks.sizes[:, 2], blocks.sizes])
            measured.append([Measured(TEXT_MEASURES[BITS_PER_BYTE], statistics)])
        yield Drawn(-gain / np.log(2), compared(*measured, len(blocks), "block"))


def wandering(generator: np.random.Generator, size: int, memory: int) -> np.ndarray:
    """A series of mean 0 whose values depend on those before: noise, averaged with exponential weights."""
    from scipy.signal import lfilter

    kept = np.exp(-1 / memory)
    noise = generator.normal(0, np.sqrt(1 - kept**2), size + 10 * memory)
    return np.asarray(lfilter([1.0], [1.0, -kept], noise))[10 * memory :] + generator.normal(0, 1, size)


def seeds(generator: np.random.Generator, pairs: int, differs: bool) -> Iterator[Drawn]:
    """Three models of each recipe; the truth is the difference of the recipes, over all seeds and texts."""
    gain = 0.04 if differs else 0.0
    for _ in range(pairs):
        hard = generator.random(TEXTS) < 0.4
        sides = []
        for mean in (0.7, 0.7 + gain):
            shifts = generator.normal(0, 0.015, 3)
            rights = [generator.random(TEXTS) < np.where(hard, mean - 0.15, mean + 0.1) + shift for shift in shifts]
            sides.append([Measured(ACCURACY, each_counted(right)) for right in rights])
        yield Drawn(100 * gain, compared(*sides, TEXTS))


CASES: dict[str, Pairs] = {
    "accuracy": accuracies,
    "macro-F1": macro_f1,
    "BLEU": bleu,
    "bits/byte": bits_per_byte,
    "seeds": seeds,
}


def shares(case: str, pairs: int, seed: int) -> tuple[float, float]:
    """The per cent of intervals that hold the truth, and of pairs without a difference that have p < 5 %."""
    generator = np.random.default_rng([seed, list(CASES).index(case)])
    covered = [drawn.covered for drawn in CASES[case](generator, pairs, True)]
    sure = [drawn.sure for drawn in CASES[case](generator, pairs, False)]
    return 100 * float(np.mean(covered)), 100 * float(np.mean(sure))


def main() -> int:
    """Simulate the pairs, and write a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("cases", nargs="*", metavar="CASE", help=f"of {', '.join(CASES)}; all by default")
    parser.add_argument("--pairs", type=int, default=200, help="simulated pairs of each case")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, help="write the table to this file, too")
    chosen = parser.parse_args()
    table, wrong = "| score | intervals with the truth | p < 5 % without a difference |\n|---|---|---|\n", 0
    for case in chosen.cases or CASES:
        covered, false = shares(case, chosen.pairs, chosen.seed)
        is_right = LOWEST <= covered <= HIGHEST and false <= MOST_FALSE
        wrong += not is_right
        table += f"| {case} | {covered:.1f} % | {false:.1f} % |{'' if is_right else ' **outside**'}\n"
        print(f"{case}: {covered:.1f} % hold the truth, {false:.1f} % false", file=sys.stderr, flush=True)
    print(table, end="")
    if chosen.out is not None:
        chosen.out.write_text(table, encoding="utf-8")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
