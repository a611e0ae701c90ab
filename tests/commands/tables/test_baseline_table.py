"""Baselines beside scores on a screen."""

from __future__ import annotations

from nlpseq.commands.tables.baseline_table import baseline_lines
from nlpseq.evaluation.floors.baseline import Baseline, with_values
from nlpseq.evaluation.scores import Score

SCORES = [
    Score("loss", 1.25, "token", "loss|x", {"nats": 5.0}),
    Score("perplexity", 3.5, "token", "perplexity|x", {}),
    Score("perplexity", 20.5, "word", "perplexity|x", {}),
    Score("accuracy", 75.0, "text", "accuracy|x", {}),
]


def test_each_score_has_the_models_value_and_those_of_the_baselines() -> None:
    counted = [Score("perplexity", 8.0, "word", "", {}), Score("perplexity", 7.0, "token", "", {})]
    guess = Baseline("guess", "", with_values(SCORES, {"accuracy": 50.0, "loss": 2.0}))
    assert baseline_lines(SCORES, [Baseline("counts", "counts|order:5", counted), guess]) == [
        "score       unit   model  counts  guess",
        "loss        token  1.25           2",
        "perplexity  token  3.5    7",
        "perplexity  word   20.5   8",
        "accuracy    text   75 %           50 %",
        "",
        "signature of the baseline:",
        "  counts|order:5",
    ]


def test_scores_that_no_baseline_has_are_left_out() -> None:
    lines = baseline_lines(SCORES, [Baseline(name, "", with_values(SCORES, {"accuracy": 1.0})) for name in "ab"])
    assert lines == ["score     unit  model  a    b", "accuracy  text  75 %   1 %  1 %"]


def test_each_baseline_has_its_signature() -> None:
    lines = baseline_lines(SCORES, [Baseline(name, f"{name}|order:5", [SCORES[0]]) for name in "ab"])
    assert lines[-3:] == ["signatures of the baselines:", "  a|order:5", "  b|order:5"]


def test_a_wide_table_has_no_units() -> None:
    names = [f"linear model {number}" for number in range(4)]
    lines = baseline_lines(SCORES, [Baseline(name, "", SCORES[:1]) for name in names])
    assert len(lines[0]) <= 80 and lines[0].split() == ["score", "model", *" ".join(names).split()]
    assert lines[1].split() == ["loss", *["1.25"] * 5]
