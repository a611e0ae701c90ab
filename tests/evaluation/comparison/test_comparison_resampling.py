"""Intervals and p-values against closed forms, exact tests and sacrebleu's own."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF
from sacrebleu.significance import PairedTest
from scipy import stats

from nlpseq.errors import OptionError
from nlpseq.evaluation.bleu import BleuOptions
from nlpseq.evaluation.comparison.comparison import compare_sides
from nlpseq.evaluation.comparison.intervals import Sampled, percentile_interval, welch_interval
from nlpseq.evaluation.comparison.label_statistics import labels_measured
from nlpseq.evaluation.comparison.measures import ACCURACY, LABEL_LOSS, Measured, each_counted
from nlpseq.evaluation.comparison.records import (
    BOOTSTRAP,
    PAIRED_AR,
    PAIRED_BS,
    RANDOMISATION,
    SEEDS,
    Compared,
    Outputs,
    Side,
    Units,
)
from nlpseq.evaluation.comparison.resampling import DRAWN, ResamplingOptions, bootstrap_sums, randomised_sums
from nlpseq.evaluation.comparison.translation_statistics import translation_measured

sys.path.insert(0, str(Path(__file__).parents[3] / "benchmarks"))

import compare_coverage

BOTH = ("bleu", "chrf")


def _compare(*sides: list[Measured] | list[list[Measured]], **options: int) -> list[Compared]:
    """Sides of one model, or of several, compared."""
    models = [side if isinstance(side[0], list) else [side] for side in sides]
    named = [
        Side(f"side {number}", [Outputs(f"{number}.{index}", own) for index, own in enumerate(side)])
        for number, side in enumerate(models)
    ]
    count = models[0][0][0].statistics.shape[0]
    return compare_sides(named, Units(count, f"lines:{count}"), ResamplingOptions(**options)).compared


def _outputs(seed: int, rate: float, references: list[str]) -> list[str]:
    generator = np.random.default_rng(seed)
    return [" ".join("x" if generator.random() < rate else word for word in line.split()) for line in references]


@pytest.fixture(scope="module")
def translations() -> tuple[list[str], list[str], list[str]]:
    """References, and the outputs of two systems that are nearly as good as each other."""
    generator = np.random.default_rng(4)
    words = [f"w{number}" for number in range(60)]
    references = [" ".join(generator.choice(words, generator.integers(4, 15))) for _ in range(150)]
    return references, _outputs(1, 0.30, references), _outputs(2, 0.27, references)


@pytest.mark.parametrize("seed", [12345, 7])
def test_bleu_and_chrf_are_tested_as_sacrebleu_tests_them(
    translations: tuple[list[str], list[str], list[str]], seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    references, first, other = translations
    monkeypatch.setenv("SACREBLEU_SEED", str(seed))
    measured = [
        list(translation_measured(texts, [references], BOTH, BleuOptions()).values()) for texts in (first, other)
    ]
    found = {each.measure.name: each for each in _compare(*measured, random_seed=seed, trials=1000)}
    for kind, way in (("bs", PAIRED_BS), ("ar", PAIRED_AR)):
        metrics = {"bleu": BLEU(), "chrf": CHRF()}
        _, theirs = PairedTest([("a", first), ("b", other)], metrics, [references], test_type=kind, n_samples=1000)()
        for name, label in (("bleu", "BLEU"), ("chrf", "chrF2")):
            ours = found[name]
            baseline, system = theirs[label]
            assert [side.value for side in ours.sides] == [baseline.score, system.score]
            assert ours.differences[0].p_values[way] == system.p_value
            if kind == "bs":
                for side, result in zip(ours.sides, (baseline, system), strict=True):
                    assert side.sacrebleu == (pytest.approx(result.mean, abs=0), pytest.approx(result.ci, abs=0))


def test_draws_do_not_depend_on_how_many_are_made_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(1)
    one, two = generator.random((2, 41, 3))
    whole = np.concatenate([sums[0] for sums in bootstrap_sums([one], 130, 5)])
    trials = np.concatenate([sums[0] for sums in randomised_sums([one], [two], 130, 5)], 1)
    monkeypatch.setattr("nlpseq.evaluation.comparison.resampling.DRAWN", 41 * 7)
    monkeypatch.setattr("nlpseq.evaluation.comparison.resampling.COLUMNS", 10)
    few = list(bootstrap_sums([one], 130, 5))
    assert len(few) > 10 and DRAWN > 41 * 130
    np.testing.assert_allclose(np.concatenate([sums[0] for sums in few]), whole, rtol=1e-12)
    found = list(randomised_sums([one], [two], 130, 5))
    assert len(found) == 5
    np.testing.assert_allclose(np.concatenate([sums[0] for sums in found], 1), trials, rtol=1e-12)
    np.testing.assert_allclose(trials.sum(0), np.broadcast_to((one + two).sum(0), (130, 3)), rtol=1e-12)


def test_interval_of_a_mean_is_that_of_the_normal_distribution() -> None:
    values = np.random.default_rng(3).exponential(size=(2, 900))
    (found,) = _compare(*([Measured(LABEL_LOSS, each_counted(each))] for each in values), samples=20_000)
    (difference,) = found.differences
    error = (values[1] - values[0]).std() / 30
    observed = values[1].mean() - values[0].mean()
    assert difference.value == pytest.approx(observed)
    assert difference.interval == pytest.approx((observed - 1.96 * error, observed + 1.96 * error), abs=0.06 * error)
    exact = 2 * stats.norm.sf(abs(observed) / error)
    assert difference.p_values[RANDOMISATION] == pytest.approx(exact, abs=0.02)
    assert difference.p_values[BOOTSTRAP] == pytest.approx(exact, abs=0.02)
    for side, own in zip(found.sides, values, strict=True):
        width = 1.96 * own.std() / 30
        assert side.interval == pytest.approx((own.mean() - width, own.mean() + width), abs=0.1 * width)


@pytest.mark.parametrize(("better", "worse"), [(6, 0), (5, 1), (30, 14), (9, 9), (25, 8)])
def test_randomisation_of_accuracy_is_mcnemars_exact_test(better: int, worse: int) -> None:
    first, other = np.zeros(200), np.zeros(200)
    first[:100] = other[:100] = 1
    other[100 : 100 + better] = 1
    first[199 - worse : 199] = 1
    (found,) = _compare(*([Measured(ACCURACY, each_counted(each))] for each in (first, other)), trials=40_000)
    exact = stats.binomtest(better, better + worse).pvalue
    assert found.differences[0].p == pytest.approx(exact, abs=0.012)
    assert found.differences[0].value == pytest.approx((better - worse) / 2)


def test_few_units_have_wider_intervals() -> None:
    values = np.random.default_rng(2).normal(size=100_000)
    few, many = percentile_interval(values, 20), percentile_interval(values, 100_000)
    assert many == pytest.approx((-1.96, 1.96), abs=0.03)
    assert few.high == pytest.approx(stats.t.ppf(0.975, 19) * np.sqrt(20 / 19), abs=0.03)


def test_welch_interval_is_that_of_the_t_test() -> None:
    one, two = np.random.default_rng(5).normal(size=4), np.random.default_rng(6).normal(1, 3, size=7)
    expected = stats.ttest_ind(two, one, equal_var=False)
    parts = [Sampled(float(each.var(ddof=1)) / len(each), len(each) - 1) for each in (one, two)]
    interval, p = welch_interval(float(two.mean() - one.mean()), parts)
    assert p == pytest.approx(expected.pvalue)
    assert interval == pytest.approx(tuple(expected.confidence_interval(0.95)))


def test_seeds_that_differ_much_hide_a_difference() -> None:
    generator = np.random.default_rng(8)
    hard = generator.random(400)

    def side(chances: tuple[float, ...]) -> list[list[Measured]]:
        return [[Measured(ACCURACY, each_counted(hard < chance))] for chance in chances]

    (alike,) = _compare(side((0.70, 0.701, 0.702)), side((0.80, 0.801, 0.802)))
    (apart,) = _compare(side((0.55, 0.70, 0.85)), side((0.65, 0.80, 0.95)))
    assert alike.differences[0].better == "side 1" and apart.differences[0].better is None
    assert list(alike.differences[0].p_values) == [SEEDS]
    rates = [100 * (hard < chance).mean() for chance in (0.55, 0.70, 0.85)]
    first = apart.sides[0]
    assert first.value == pytest.approx(np.mean(rates)) and first.spread == pytest.approx(np.std(rates, ddof=1))
    assert list(first.models.values()) == pytest.approx(rates)
    assert "models:3+3|interval:welch-t" in apart.signature


def test_equal_outputs_are_alike_and_not_different() -> None:
    labels = np.random.default_rng(1).integers(0, 3, 50)
    found = _compare(labels_measured(labels, labels[::-1], 3), labels_measured(labels, labels[::-1].copy(), 3))
    for each in found:
        (difference,) = each.differences
        assert difference.equal and difference.better is None
        assert set(difference.p_values.values()) == {1.0} and difference.interval == (0, 0)


def test_the_better_model_is_the_one_with_less_loss() -> None:
    losses = np.random.default_rng(1).random(100)
    (found,) = _compare(
        [Measured(LABEL_LOSS, each_counted(losses))], [Measured(LABEL_LOSS, each_counted(losses + 0.1))]
    )
    assert found.differences[0].value == pytest.approx(0.1) and found.differences[0].better == "side 0"


def test_each_side_is_compared_with_the_first() -> None:
    generator = np.random.default_rng(1)
    sides = [[Measured(LABEL_LOSS, each_counted(generator.random(60) + more))] for more in (0, 1, 2)]
    (found,) = _compare(*sides)
    assert [each.name for each in found.differences] == ["side 1", "side 2"]
    assert [each.value for each in found.differences] == pytest.approx([1, 2], abs=0.2)


@pytest.mark.parametrize("case", ["accuracy", "bits/byte", "seeds"])
def test_intervals_hold_the_true_difference(case: str) -> None:
    covered, false = compare_coverage.shares(case, 40, seed=3)
    assert covered >= 87.5 and false <= 15  # of 40 pairs, three standard deviations below 95 % and above 5 %


@pytest.mark.parametrize("wrong", [{"samples": 5}, {"trials": 1}, {"random_seed": -1}, {"block_bytes": 2}])
def test_options_have_limits(wrong: dict[str, int]) -> None:
    with pytest.raises(OptionError, match="must be at least"):
        ResamplingOptions(**wrong)
