"""The fit of a linear model, against scikit-learn's estimators on scikit-learn's features."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.sparse import csr_matrix, hstack
from sklearn.feature_extraction.text import CountVectorizer, TfidfTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.svm import LinearSVC

from nlpseq.errors import RunError
from nlpseq.evaluation.shares import Calibration
from nlpseq.models.linear import LinearModel
from nlpseq.models.storage import pack, unpack
from nlpseq.models.text_ngrams import PARTS, WORDS, count_ngrams
from nlpseq.training.data import linear
from nlpseq.training.data.labels import open_labelled, tokenise_labelled
from nlpseq.training.data.linear import FILE, Examples, Fitted, fit_linear

WORD = r"\w+|[^\w\s]"
SETTINGS: dict[str, list[dict[str, Any]]] = {
    WORDS: [{"token_pattern": WORD, "ngram_range": (1, 2)}],
    PARTS: [{"token_pattern": WORD, "ngram_range": (1, 2)}, {"analyzer": "char_wb", "ngram_range": (2, 5)}],
}
NAMES = ["good", "bad", "odd", "red"]
FILLER = ["film", "plot", "song", "tale", "end", "a", "the", "of", "seen", "heard"]
VALID = 40


def made(count: int, labels: int, seed: int = 1) -> tuple[list[str], np.ndarray]:
    """Texts with a word for their label, which is wrong in a fifth of them."""
    generator = np.random.default_rng(seed)
    own = generator.integers(labels, size=count)
    said = np.where(generator.random(count) < 0.2, generator.integers(labels, size=count), own)
    texts = [
        " ".join(generator.permutation([NAMES[label], *generator.choice(FILLER, generator.integers(2, 9))]))
        for label in said
    ]
    return texts, own


def examples(texts: Sequence[str], labels: np.ndarray) -> Examples:
    return Examples(lambda: iter(texts), labels)


def matrices(kind: str, train: Sequence[str], valid: Sequence[str]) -> list[Any]:
    """Features of the training and the validation texts, by scikit-learn."""
    groups = []
    for settings in SETTINGS[kind]:
        counts = CountVectorizer(**settings, lowercase=False)
        weigh = TfidfTransformer(sublinear_tf=True)
        groups.append(
            [weigh.fit_transform(counts.fit_transform(train)), weigh.transform(counts.transform(valid))],
        )
    return [hstack(parts).tocsr() for parts in zip(*groups, strict=True)]


def first(monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    """Let a way to fit be the first, which is kept if the losses of all are equal, and let its weights be exact."""
    monkeypatch.setattr(linear, "round_to_bf16", np.asarray)
    monkeypatch.setattr(linear, "AVERAGED", 1)
    monkeypatch.setattr(linear, "COSTS", (0.3,) if way == "machine" else ())
    monkeypatch.setattr(linear, "WEIGHED_COSTS", () if way == "logistic" else (0.3,))


def equal(_: np.ndarray) -> Calibration:
    """The same loss for all logits."""
    return Calibration(0.0, 1.0)


def margins(train: Any, own: np.ndarray, valid: Any, *, weigh: bool) -> np.ndarray:
    """The margins of validation texts to a label by LinearSVC, with weights of evidence if asked."""
    if weigh:
        present = (train > 0).toarray()
        inside, total, fraction = present[own].sum(0), present.sum(0), own.mean()
        evidence = np.log((inside + 1) / (fraction * total + 1))
        evidence -= np.log((total - inside + 1) / ((1 - fraction) * total + 1))
        train, valid = csr_matrix(train.multiply(evidence)), csr_matrix(valid.multiply(evidence))
    found: np.ndarray = LinearSVC(C=0.3, random_state=1).fit(train, own).decision_function(valid)
    return found


@pytest.mark.parametrize("kind", [WORDS, PARTS])
@pytest.mark.parametrize("way", ["machine", "weighed", "logistic"])
@pytest.mark.parametrize("labels", [2, 4])
def test_it_is_the_model_of_scikit_learn(labels: int, way: str, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    first(monkeypatch, way)
    texts, own = made(200, labels)
    train, valid = texts[:-VALID], texts[-VALID:]
    fitted = fit_linear(examples(train, own[:-VALID]), valid, labels, kind, equal)
    features = matrices(kind, train, valid)
    numbers = own[:-VALID]
    if way == "logistic":
        expected = LogisticRegression(C=4.0, max_iter=1000).fit(features[0], numbers).decision_function(features[1])
        expected = np.stack([-expected, expected], 1) / 2 if labels == 2 else expected
    else:
        chosen = range(labels) if labels > 2 else [1]
        columns = [margins(features[0], numbers == label, features[1], weigh=way == "weighed") for label in chosen]
        expected = np.stack(columns if labels > 2 else [-columns[0] / 2, columns[0] / 2], 1)
    assert fitted.valid_logits.shape == (VALID, labels)
    assert np.allclose(fitted.valid_logits, expected, atol=2e-3)
    assert np.array_equal(fitted.model.logits(valid), fitted.valid_logits)
    assert (fitted.valid_logits.argmax(1) == own[-VALID:]).mean() > 0.6


@pytest.mark.parametrize("way", ["machine", "weighed"])
@pytest.mark.parametrize("labels", [1, 2, 3])
def test_each_of_several_labels_has_a_machine_of_its_own(
    labels: int, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    first(monkeypatch, way)
    texts, _ = made(150, 4)
    flags = np.array([[name in text for name in NAMES[:labels]] for text in texts], np.uint8)
    flags[::7] ^= 1
    train, valid = texts[:-VALID], texts[-VALID:]
    fitted = fit_linear(examples(train, flags[:-VALID]), valid, labels, WORDS, equal)
    features = matrices(WORDS, train, valid)
    own = flags[:-VALID].astype(bool)
    columns = [margins(features[0], own[:, label], features[1], weigh=way == "weighed") for label in range(labels)]
    assert np.allclose(fitted.valid_logits, np.stack(columns, 1), atol=2e-3)


@pytest.mark.parametrize("way", ["machine", "weighed", "logistic"])
def test_labels_without_texts_are_improbable(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    first(monkeypatch, way)
    texts, own = made(120, 2)
    for labels, numbers in ((4, own * 2), (4, own * 0 + 3), (2, own * 0), (2, own * 0 + 1)):
        fitted = fit_linear(examples(texts, numbers), texts[:5], labels, PARTS, equal)
        present = np.unique(numbers)
        absent = np.setdiff1d(np.arange(labels), present)
        assert fitted.valid_logits.shape == (5, labels)
        assert set(fitted.valid_logits.argmax(1).tolist()) <= set(present.tolist())
        assert np.all(fitted.valid_logits[:, absent] < fitted.valid_logits[:, present].max(1, keepdims=True) - 0.9)


def test_the_weights_fit_two_bytes_and_are_read_from_the_file_as_they_are() -> None:
    texts, own = made(100, 4)
    model = fit_linear(examples(texts, own), texts[:5], 4, PARTS, equal).model
    tensors, entries = pack(model.weights(0.3), "fp32")
    assert tensors["linear.weight"].dtype == np.uint16
    again = LinearModel.of(unpack(tensors, entries), PARTS)
    assert again is not None
    assert np.array_equal(again.weight, model.weight * np.float32(0.3))


def test_a_label_of_all_texts_or_none_has_no_weights() -> None:
    texts, own = made(100, 2)
    flags = np.stack([np.ones(100), np.zeros(100), own], 1).astype(np.uint8)
    fitted = fit_linear(examples(texts, flags), ["good", "seen"], 3, WORDS, equal)
    assert not fitted.model.weight[:, :2].any() and fitted.model.weight[:, 2].any()
    assert fitted.model.bias[0] > 0 > fitted.model.bias[1]


def test_the_models_with_the_smallest_losses_are_averaged_each_with_its_temperature() -> None:
    texts, own = made(200, 2)
    tried: list[np.ndarray] = []

    def judge(logits: np.ndarray) -> Calibration:
        tried.append(logits)
        return Calibration({3: 0.2, 5: 0.1, 6: 0.3}.get(len(tried), 1.0), float(len(tried)))

    fitted = fit_linear(examples(texts[:-VALID], own[:-VALID]), texts[-VALID:], 2, WORDS, judge)
    assert len(tried) == len(linear.COSTS) + len(linear.WEIGHED_COSTS) + 1
    expected = sum(tried[number - 1] / (3 * number) for number in (3, 5, 6))
    assert np.allclose(fitted.valid_logits, expected, atol=2e-3)  # weights are rounded to 8 bits
    assert len({logits.tobytes() for logits in tried}) == len(tried)


def test_large_corpora_are_fitted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    texts, own = made(100, 2)
    monkeypatch.setattr(linear, "CHEAP_PRODUCTS", 0)
    monkeypatch.setattr(linear, "FEW_PRODUCTS", 0)
    tried: list[np.ndarray] = []

    def judge(logits: np.ndarray) -> Calibration:
        tried.append(logits)
        return equal(logits)

    fit_linear(examples(texts, own), texts[:5], 2, WORDS, judge)
    assert len(tried) == 1


def numbered(count: int) -> list[str]:
    """Texts of ten n-grams each, words and word pairs, which no other text has but the word of its label."""
    return [
        f"{NAMES[index % 2]} {' '.join(f'w{index}x{place}' for place in range(4))} {index}" for index in range(count)
    ]


def keys_of(texts: Sequence[str], kind: str) -> list[int]:
    return np.unique(count_ngrams(texts, kind).keys).tolist()


@pytest.mark.parametrize("sample", [7, 2000])
@pytest.mark.parametrize(("most", "step"), [(11 * 120, 1), (11 * 60, 2), (11 * 40, 3), (11 * 25, 5)])
def test_of_a_large_corpus_words_are_read_and_then_some_texts(
    most: int, step: int, sample: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(linear, "MOST_NGRAMS", most)
    monkeypatch.setattr(linear, "SAMPLE", sample)
    texts = numbered(120)
    labels = np.arange(120) % 2
    fitted = fit_linear(examples(texts, labels), texts[:3], 2, PARTS, equal)
    assert fitted.kind == WORDS
    assert fitted.model.vocabulary.keys.tolist() == keys_of(texts[::step], WORDS)


def test_labels_count_as_ngrams_do(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = numbered(120)
    monkeypatch.setattr(linear, "MOST_PRODUCTS", 11 * 120 * 4)
    for count, step in ((4, 1), (8, 2)):
        fitted = fit_linear(examples(texts, np.arange(120) % 3), texts[:3], count, WORDS, equal)
        assert fitted.model.vocabulary.keys.tolist() == keys_of(texts[::step], WORDS)


def test_a_small_corpus_is_read_with_parts_of_words() -> None:
    texts = numbered(30)
    fitted = fit_linear(examples(texts, np.arange(30) % 2), texts[:3], 2, PARTS, equal)
    assert fitted.kind == PARTS
    assert fitted.model.vocabulary.keys.tolist() == keys_of(texts, PARTS)


def test_the_most_frequent_ngrams_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    texts, own = made(100, 2)
    monkeypatch.setattr(linear, "LARGEST_VOCABULARY", 9)
    found = count_ngrams(texts, WORDS)
    keys, frequencies = np.unique(found.keys, return_counts=True)
    kept = fit_linear(examples(texts, own), texts[:3], 2, WORDS, equal).model.vocabulary
    assert len(kept.keys) == 9
    least = frequencies[np.isin(keys, kept.keys)].min()
    assert least >= np.sort(frequencies)[-9]
    expected = np.log(101 / (1 + frequencies[np.isin(keys, kept.keys)])) + 1
    assert np.allclose(kept.idf, expected)
    monkeypatch.setattr(linear, "MOST_WEIGHTS", 20)
    assert len(fit_linear(examples(texts, own), texts[:3], 5, WORDS, equal).model.vocabulary.keys) == 4


def test_what_was_fitted_before_changes_nothing() -> None:
    corpora = [made(120, 2, seed=5), made(90, 4, seed=6)]

    def fit(index: int) -> dict[str, bytes]:
        texts, own = corpora[index]
        arrays = fit_linear(examples(texts, own), texts[:9], 2 + 2 * index, PARTS, equal).model.weights()
        return {name: value.tobytes() for name, value in arrays.items()}

    in_order = [fit(0), fit(1)]
    assert [fit(1), fit(0)] == in_order[::-1]


@pytest.fixture
def fitted() -> Fitted:
    """A fitted model."""
    texts, own = made(60, 2)
    return fit_linear(examples(texts, own), texts[:7], 2, PARTS, equal)


def test_what_is_written_is_read_again(fitted: Fitted, tmp_path: Path) -> None:
    assert Fitted.read(tmp_path) is None
    fitted.write(tmp_path)
    again = Fitted.read(tmp_path)
    assert again is not None and again.kind == PARTS
    assert np.array_equal(again.valid_logits, fitted.valid_logits)
    arrays, expected = again.model.weights(), fitted.model.weights()
    assert arrays.keys() == expected.keys()
    for name, value in expected.items():
        assert arrays[name].dtype == value.dtype and np.array_equal(arrays[name], value)


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[:-1],
        lambda data: data[:20],
        lambda data: b"",
        lambda data: data.replace(b"linear.idf", b"linear.odd"),
    ],
)
def test_a_damaged_file_is_refused(damage: Callable[[bytes], bytes], fitted: Fitted, tmp_path: Path) -> None:
    fitted.write(tmp_path)
    (tmp_path / FILE).write_bytes(damage((tmp_path / FILE).read_bytes()))
    with pytest.raises(ValueError, match=FILE):
        Fitted.read(tmp_path)


@pytest.mark.parametrize("several", [False, True])
def test_a_corpus_is_written_with_its_linear_model(several: bool, tmp_path: Path) -> None:
    texts, own = made(150, 2)
    rows = [
        {"text": text.upper(), "label": [NAMES[label]] if several else NAMES[label]}
        for text, label in zip(texts, own, strict=True)
    ]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    corpus = tokenise_labelled([str(tmp_path / "a.jsonl")], (), tmp_path, tokens="word", linear=None)
    assert corpus.linear is not None and corpus.linear.kind == PARTS
    assert corpus.linear.valid_logits.shape == (len(corpus.valid), 2)
    right = corpus.valid.labels[:, 1] if several else corpus.valid.labels
    assert (np.diff(corpus.linear.valid_logits)[:, 0] > 0).tolist().count(True) > 0
    assert ((np.diff(corpus.linear.valid_logits)[:, 0] > 0) == right).mean() > 0.6
    again = open_labelled(tmp_path).linear
    assert again is not None and np.array_equal(again.valid_logits, corpus.linear.valid_logits)
    (tmp_path / FILE).write_bytes(b"rubbish")
    with pytest.raises(RunError, match="tokens cannot be read"):
        open_labelled(tmp_path)


def test_texts_without_spaces_are_counted_in_characters(tmp_path: Path) -> None:
    rows = [f"{index % 2}\t{'好坏'[index % 2]}{'电影的故事音乐很' * 5}{chr(0x5000 + index)}" for index in range(80)]
    (tmp_path / "a.tsv").write_text("label\ttext\n" + "\n".join(rows) + "\n", "utf-8")
    corpus = tokenise_labelled([str(tmp_path / "a.tsv")], (), tmp_path, linear=None)
    assert corpus.linear is not None and corpus.linear.kind == "characters"
    assert (corpus.linear.valid_logits.argmax(1) == corpus.valid.labels).all()
    chosen = tokenise_labelled([str(tmp_path / "a.tsv")], (), tmp_path, linear="words")
    assert chosen.linear is not None and chosen.linear.kind == WORDS
