"""Translators that work together, on NumPy and on tensors, and what they look at."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from nlpseq import arrays
from nlpseq.decoding.alignment import aligned
from nlpseq.decoding.beam import BeamOptions
from nlpseq.decoding.ensemble import Ensemble, Member
from nlpseq.decoding.translation import Translations
from nlpseq.decoding.unknown_words import replace_unknown
from nlpseq.device import on_device
from nlpseq.errors import BackendError, ModelFileError, OptionError
from nlpseq.models import translator
from nlpseq.models.model_file import Model
from nlpseq.models.translator import TranslatorOptions
from nlpseq.text.padding import side_by_side
from nlpseq.text.tokenisers import NEWLINE, Tokeniser, train_tokeniser

LINES = ["abc", "a b c d e", "", "ccc " * 9]


@pytest.fixture(scope="module")
def tokeniser() -> Tokeniser:
    return train_tokeniser("char", ["abc ä"] * 2, 270)


def _member(tokeniser: Tokeniser, seed: int, **options: object) -> tuple[translator.Weights, TranslatorOptions]:
    made = TranslatorOptions(hidden_size=8, embedding_size=6, **options)  # type: ignore[arg-type]
    weights = translator.initial_weights(made, tokeniser.size, seed)
    weights["output.bias"][NEWLINE] += 4
    return weights, made


def _texts(ensemble: Ensemble, beam: BeamOptions | None = None) -> list[list[tuple[str, float]]]:
    found = Translations(ensemble, beam or BeamOptions(beam=3, n_best=2)).translate(LINES)
    return [[(one.text, round(one.log_probability, 3)) for one in best] for best in found]


def test_two_equal_models_are_one(tokeniser: Tokeniser) -> None:
    member = Member(*_member(tokeniser, 1))
    assert _texts(Ensemble([member, member], tokeniser)) == _texts(Ensemble([member], tokeniser))


def test_probabilities_are_the_mean_of_the_members(tokeniser: Tokeniser) -> None:
    members = [Member(*_member(tokeniser, 1)), Member(*_member(tokeniser, 2, attention="additive", cell="lstm"))]
    source = translator.line_ids(tokeniser, "abc")
    ids, wanted = np.array([NEWLINE]), np.array([0])
    alone = [Ensemble([one], tokeniser).begin([source], 1).step(ids, wanted) for one in members]
    both = Ensemble(members, tokeniser).begin([source], 1).step(ids, wanted)
    mean = np.mean([arrays.softmax(one.values) for one in alone], axis=0)
    np.testing.assert_allclose(np.exp(both.values - both.log_sums[:, None]), mean, rtol=1e-5)


def test_tensors_translate_as_arrays_do(tokeniser: Tokeniser) -> None:
    weights, options = _member(tokeniser, 1)
    tensors = Member(on_device(weights, "torch:cpu"), options)
    for beam in (BeamOptions(beam=1), BeamOptions(beam=3, n_best=2, coverage_penalty=0.1)):
        assert _texts(Ensemble([tensors], tokeniser), beam) == _texts(
            Ensemble([Member(weights, options)], tokeniser), beam
        )
    first, second = (aligned(Ensemble([one], tokeniser), "abc", "cab") for one in (tensors, Member(weights, options)))
    np.testing.assert_allclose(first.shares, second.shares, atol=1e-6)


def test_a_gpu_that_is_not_there_and_another_vocabulary_are_refused(
    tokeniser: Tokeniser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(BackendError, match="cuda cannot be used"):
        on_device({}, "cuda")
    other = train_tokeniser("char", ["xyz ü"] * 2, 270)
    models = [
        (Model(translator.TASK, {}, _member(one, 1)[0], one, {}, Path(name)), TranslatorOptions())
        for one, name in ((tokeniser, "first"), (other, "second"))
    ]
    with pytest.raises(ModelFileError, match="second: its vocabulary differs from that of first"):
        Ensemble.of(models)


def test_what_is_looked_at_is_what_the_steps_looked_at(tokeniser: Tokeniser) -> None:
    weights, options = _member(tokeniser, 3)
    ensemble = Ensemble([Member(weights, options)], tokeniser)
    sources = [translator.line_ids(tokeniser, one) for one in ("abc", "ca")]
    targets = [translator.line_ids(tokeniser, one) for one in ("b", "abab")]
    found = ensemble.attention(sources, targets)
    for source, target, shares in zip(sources, targets, found, strict=True):
        assert shares.shape == (len(target), len(source))
        memory, state = translator.encode(weights, options, *side_by_side([source]))
        for place, token in enumerate(translator.decoder_inputs(target[:, None])[:, 0]):
            _, state, looked = translator.decode(weights, options, np.array([[token]]), memory, state)
            np.testing.assert_allclose(looked[0, 0], shares[place], atol=1e-6)


def test_coverage_is_summed_over_the_source_in_the_closed_form(tokeniser: Tokeniser) -> None:
    decoder = Ensemble([Member(*_member(tokeniser, 1))], tokeniser).begin(
        [translator.line_ids(tokeniser, one) for one in ("abc", "a")], 2, coverage=True
    )
    ids = np.full(4, NEWLINE)
    for _ in range(2):
        decoder.step(ids, np.arange(4))
    assert decoder.covered is not None
    np.testing.assert_allclose(decoder.covered.sum(1), 2, rtol=1e-5)
    wanted = [np.log(np.minimum(1, decoder.covered[row, :length])).sum() for row, length in enumerate((4, 4, 2, 2))]
    np.testing.assert_allclose(decoder.coverage(), wanted, rtol=1e-5)
    decoder.select(np.array([1]), np.array([3, 2]))
    np.testing.assert_allclose(decoder.coverage(), wanted[:1:-1], rtol=1e-5)


def test_unknown_words_are_taken_over_from_where_attention_looks() -> None:
    words = train_tokeniser("word", ["the cat sat here"] * 2, 300)
    source = translator.line_ids(words, "the Bob sat")
    target = words.encode("here Rob cat").tolist()
    shares = np.zeros((len(target) + 1, len(source)))
    shares[:, 0] = 0.1
    spelled = [place for place, token in enumerate(source) if 0x20 < token < 256]
    shares[1:5, spelled[1]] = 0.9  # while "Rob" is spelled, with the space before it
    assert b" ".join(replace_unknown(words, source, target, shares)) == b"here Bob cat"
    known = words.encode("here cat").tolist()
    assert b" ".join(replace_unknown(words, source, known, shares)) == b"here cat"
    assert replace_unknown(words, source, [], shares[:1]) == [b""], "a translation may be empty"


def test_models_without_words_have_none_to_replace(tokeniser: Tokeniser) -> None:
    with pytest.raises(OptionError, match="replace_unknown: has nothing to replace"):
        Translations(Ensemble([Member(*_member(tokeniser, 1))], tokeniser), BeamOptions(), replace_unknown=True)
