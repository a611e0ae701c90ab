"""Scores of translations: sacrebleu's own numbers, a published one, and the model's losses against torch's."""

from __future__ import annotations

import math
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from nlpseq.errors import OptionError
from nlpseq.evaluation.bleu import BleuOptions
from nlpseq.evaluation.translation_scores import bleu_score, given_source_scores, reference_scores
from nlpseq.models import translator
from nlpseq.models.model_file import Model
from nlpseq.models.translator import TranslatorOptions
from nlpseq.text.tokenisers import ByteTokeniser

SCORING = (Path(__file__).parents[2] / "../shared/data/scoring").resolve()
TEXTS = ["The cat sat on the mat.", "", "It is 3.5 km (or so), isn't it?"]
REFERENCES = [["The cat is on the mat.", "Nothing.", "It's 3.5 km, isn't it?"], ["A cat sat on a mat.", "", "Yes?"]]


@pytest.mark.skipif(not SCORING.is_dir(), reason="the scoring files are not beside this checkout")
def test_unsmoothed_bleu_of_given_words_is_the_published_figure() -> None:
    def lines(name: str) -> list[str]:
        return (SCORING / name).read_text(encoding="utf-8").removesuffix("\n").split("\n")

    texts, references = ([line.replace("@@ ", "") for line in lines(name)] for name in ("deen_output", "deen_ref_bpe"))
    score = bleu_score(texts, [references], BleuOptions(bleu_tokens="space", bleu_smoothing="none"))
    assert score.name == "bleu" and "tok:space" in score.signature
    assert score.value == pytest.approx(22.5855084573, abs=1e-10)


@pytest.mark.parametrize("tokens", ["13a", "zh", "char"])
@pytest.mark.parametrize("references", [REFERENCES[:1], REFERENCES], ids=["one", "two"])
def test_the_figures_are_those_of_sacrebleus_command(tokens: str, references: list[list[str]], tmp_path: Path) -> None:
    names = [tmp_path / f"reference{number}" for number, _ in enumerate(references)]
    for name, one in zip(names, references, strict=True):
        name.write_text("\n".join(one) + "\n", encoding="utf-8")
    (tmp_path / "texts").write_text("\n".join(TEXTS) + "\n", encoding="utf-8")
    program = [sys.executable, "-m", "sacrebleu", *map(str, names), "-i", str(tmp_path / "texts"), "-w", "8"]
    program += ["-m", "bleu", "chrf", "ter", "--tokenize", tokens]
    printed = subprocess.run(program, capture_output=True, text=True, check=True).stdout
    wanted = [float(one) for one in re.findall(r'"score": ([\d.]+)', printed)]
    scores = reference_scores(TEXTS, references, BleuOptions(bleu_tokens=tokens))
    assert [score.value for score in scores[:3]] == pytest.approx(wanted, abs=1e-7)
    signatures = [one.replace(" ", "") for one in re.findall(r'"signature": "([^"]*)"', printed)]
    assert [score.signature.partition("|")[2] for score in scores[:3]] == signatures


def test_a_text_is_right_where_all_of_it_is_any_reference() -> None:
    scores = reference_scores(["a b", "c", ""], [["a b", "d", "x"], ["z", "c", "y"]], BleuOptions())
    assert scores[3].name == "accuracy" and scores[3].value == pytest.approx(200 / 3)


def test_perplexity_is_that_of_torch_pair_by_pair() -> None:
    options = TranslatorOptions(hidden_size=5, embedding_size=4)
    weights = translator.initial_weights(options, 256, 1)
    model = Model(translator.TASK, {}, weights, ByteTokeniser(()), {}, Path())
    sources, targets = ["abc", "d", ""], ["xy", "", "wvu ö"]
    loss, perplexity = given_source_scores(model, options, sources, targets)
    tensors = {name: torch.from_numpy(value) for name, value in weights.items()}
    nats, tokens = 0.0, 0
    for pair in zip(sources, targets, strict=True):
        source, target = (torch.tensor([*text.encode(), 10])[:, None] for text in pair)
        memory, state = translator.encode(tensors, options, source, torch.tensor([len(source)]))
        begun = torch.cat([torch.tensor([[10]]), target[:-1]])
        features, _, _ = translator.decode(tensors, options, begun, memory, state)
        matrix, bias = translator.output_layer(tensors)
        nats += float(
            torch.nn.functional.cross_entropy(features[:, 0] @ matrix.T + bias, target[:, 0], reduction="sum")
        )
        tokens += len(target)
    assert loss.parts["tokens"] == tokens
    assert loss.value == pytest.approx(nats / tokens, rel=1e-5)
    assert perplexity.value == pytest.approx(math.exp(nats / tokens), rel=1e-5)
    assert np.isfinite(perplexity.value)


def test_words_that_cannot_be_cut_here_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sacrebleu.tokenizers.tokenizer_ja_mecab", None)
    with pytest.raises(OptionError, match="ja-mecab needs more than is installed") as refused:
        reference_scores(["a"], [["a"]], BleuOptions(bleu_tokens="ja-mecab"))
    assert refused.value.hint == "--bleu-tokens char"
