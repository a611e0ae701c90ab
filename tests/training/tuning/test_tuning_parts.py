"""The part that no trial sees: nothing is lost, nothing is in both parts, and it is always the same part."""

from __future__ import annotations

import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from nlpseq.errors import CorpusError, OptionError
from nlpseq.tasks import CLASSIFIER, LANGUAGE_MODEL, TRANSLATOR, Task
from nlpseq.text.progress import unwatched
from nlpseq.training.requests import make_request
from nlpseq.training.tuning.named_part import refuse_test_without_pairs
from nlpseq.training.tuning.parts import Parts, as_named, make_parts, split_anew

WORDS = ["the", "cat", "sat", "on", "a", "mat", "with", "odd", "red", "hats", "and", "猫", "où", "öl"]


def _texts(count: int) -> list[str]:
    generator = random.Random(1)
    return [" ".join(generator.choices(WORDS, k=6)) + f" {index}" for index in range(count)]


def _split(task: Task, corpus: Path, folder: Path, **options: Any) -> Parts:
    return make_parts(task, make_request(task, [corpus], options), (), folder, unwatched)


def _rows(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(name).read_text().splitlines()]


def test_a_tenth_of_the_texts_of_each_label_is_held_out(tmp_path: Path) -> None:
    texts = _texts(300)
    labels = ["rare" if index < 2 else "good" if index % 3 else "bad" for index in range(300)]
    corpus = tmp_path / "corpus.tsv"
    rows = [f"{label}\t{text}\n" for label, text in zip(labels, texts, strict=True)]
    corpus.write_text("label\ttext\n" + "".join(rows))
    parts = _split(CLASSIFIER, corpus, tmp_path / "parts")
    train, test = _rows(*parts.request.corpus), _rows(*parts.test)
    assert parts.are_own
    assert sorted(row["text"] for row in (*train, *test)) == sorted(texts)
    assert Counter(row["label"] for row in test) == {
        label: max(1, round(count / 10)) for label, count in Counter(labels).items()
    }
    random.Random(2).shuffle(rows)
    corpus.write_text("label\ttext\n" + "".join(rows))
    shuffled = _split(CLASSIFIER, corpus, tmp_path / "shuffled")
    assert {row["text"] for row in _rows(*shuffled.test)} == {row["text"] for row in test}


def test_texts_with_several_labels_keep_them_and_each_label_is_trained_on(tmp_path: Path) -> None:
    corpus = tmp_path / "corpus.jsonl"
    labels = [["a"] * (index % 2 == 0) + ["b, c"] * (index % 3 == 0) + ["rare"] * (index < 2) for index in range(200)]
    rows = [{"label": own, "text": text} for own, text in zip(labels, _texts(200), strict=True)]
    corpus.write_text("".join(json.dumps(row) + "\n" for row in rows))
    parts = _split(CLASSIFIER, corpus, tmp_path / "parts")
    train, test = _rows(*parts.request.corpus), _rows(*parts.test)
    key = json.dumps
    assert sorted(map(key, (*train, *test))) == sorted(map(key, rows))
    assert {label for row in train for label in row["label"]} == {"a", "b, c", "rare"}
    counts = Counter(label for row in test for label in row["label"] or [""])
    assert {name: counts[name] for name in ("a", "b, c")} == {"a": 10, "b, c": 7}
    assert 0 < counts[""] <= 7 and counts["rare"] <= 1


@pytest.mark.parametrize("with_valid", [False, True])
def test_other_texts_are_held_out_by_each_split(with_valid: bool, tmp_path: Path) -> None:
    texts = _texts(240)
    rows = [{"label": ["a"] * (n % 2) + ["b"] * (n % 3 == 0), "text": text} for n, text in enumerate(texts)]
    corpus, valid = tmp_path / "corpus.jsonl", tmp_path / "valid.jsonl"
    corpus.write_text("".join(json.dumps(row) + "\n" for row in rows[:180]))
    valid.write_text("".join(json.dumps(row) + "\n" for row in rows[180:]))
    request = make_request(CLASSIFIER, [corpus], {"valid": valid} if with_valid else {})
    whole, held_out = texts[: 240 if with_valid else 180], []
    for number in (1, 2, 1):
        own = split_anew(request, number, tmp_path / "splits", unwatched)
        train, others = _rows(*own.corpus), _rows(*own.valid)
        assert sorted(row["text"] for row in (*train, *others)) == sorted(whole)
        assert all(row in rows for row in (*train, *others)), "with their labels"
        assert len(others) == pytest.approx(60 if with_valid else 18, abs=12 if with_valid else 6)
        held_out.append({row["text"] for row in others})
    assert held_out[0] == held_out[2] != held_out[1]


def test_columns_and_beginnings_are_of_the_corpus_and_not_of_its_parts(tmp_path: Path) -> None:
    corpus, valid = tmp_path / "corpus.csv", tmp_path / "valid.csv"
    for path, count in ((corpus, 120), (valid, 30)):
        rows = [f"{index},{text},{index % 2}\n" for index, text in enumerate(_texts(count))]
        path.write_text("number,words,mood\n" + "".join(rows))
    options = {"label_column": "mood", "text_column": "words", "take": 100, "valid": valid}
    parts = _split(CLASSIFIER, corpus, tmp_path / "parts", **options)
    request: Any = parts.request
    assert (request.take, request.label_column, request.text_column) == (None, None, None)
    assert len(_rows(*request.corpus)) + len(_rows(*parts.test)) == 100
    assert [row["text"] for row in _rows(*request.valid)] == _texts(30)


def test_pairs_stay_together(tmp_path: Path) -> None:
    texts = _texts(400)
    source, target = tmp_path / "corpus.en", tmp_path / "corpus.de"
    source.write_text("".join(f"{text}\n" for text in texts))
    target.write_text("".join(f"{text.upper()}\n" for text in texts))
    request = make_request(TRANSLATOR, [], {"source": source, "target": target})
    parts = make_parts(TRANSLATOR, request, (), tmp_path / "parts", unwatched)
    train, test = _rows(*parts.request.corpus), _rows(*parts.test)
    assert (len(train), len(test)) == (380, 20)
    assert all(row["target"] == row["source"].upper() for row in (*train, *test))
    assert [row["source"] for row in train] == [text for text in texts if text in {row["source"] for row in train}]


def test_the_end_of_a_text_is_held_out(tmp_path: Path) -> None:
    corpus = tmp_path / "corpus.txt"
    corpus.write_text("".join(f"{text}\n" for text in _texts(900)))
    parts = _split(LANGUAGE_MODEL, corpus, tmp_path / "parts")
    train, test = Path(*parts.request.corpus).read_bytes(), Path(*parts.test).read_bytes()
    assert train + test == corpus.read_bytes()
    assert 0.08 < len(test) / len(train + test) < 0.12
    assert train.endswith(b"\n")


@pytest.mark.parametrize("task", [LANGUAGE_MODEL, CLASSIFIER, TRANSLATOR], ids=lambda task: task.command)
def test_a_corpus_that_is_too_short_is_refused_with_a_way_out(task: Task, tmp_path: Path) -> None:
    corpus = tmp_path / "corpus.tsv"
    corpus.write_text("".join(f"{'ab'[index % 2]}\t{text}\n" for index, text in enumerate(_texts(20))))
    with pytest.raises(CorpusError, match="too short to spare a part") as refused:
        _split(task, corpus, tmp_path / "parts")
    assert refused.value.hint.startswith("--test FILE")


def test_a_test_part_that_is_named_leaves_the_corpus_as_it_is(tmp_path: Path) -> None:
    corpus = tmp_path / "corpus.txt"
    corpus.write_text("a text")
    request = make_request(LANGUAGE_MODEL, [corpus], {})
    parts = make_parts(LANGUAGE_MODEL, request, (str(corpus),), tmp_path / "parts", unwatched)
    assert parts == (request, (str(corpus),), False)
    assert not (tmp_path / "parts").exists()


def test_what_can_be_read_only_once_or_is_not_there_is_refused(tmp_path: Path) -> None:
    corpus = tmp_path / "corpus.txt"
    corpus.write_text("a text")
    for names, test in (("-", ()), (corpus, ("-",)), (corpus, ("missing.txt",))):
        request = make_request(LANGUAGE_MODEL, [names], {})
        with pytest.raises(CorpusError):
            make_parts(LANGUAGE_MODEL, request, test, tmp_path / "parts", unwatched)


def test_one_text_is_no_test_part_of_a_translator() -> None:
    for good in ((), ("pairs.tsv",), ("test.en", "test.de")):
        refuse_test_without_pairs(good)
    with pytest.raises(OptionError, match="two files"):
        refuse_test_without_pairs(("test.en",))


TABLE = "label\ttext\n" + "".join(f"{'ab'[index % 2]}\tthe text {index}\n" for index in range(30))
PAIRS = "source\ttarget\n" + "".join(f"say {index}\tsag {index}\n" for index in range(30))


@pytest.mark.parametrize(
    ("task", "corpus", "test", "said"),
    [
        (LANGUAGE_MODEL, "a text\n" * 50, "", "empty"),
        (CLASSIFIER, TABLE, "", "empty"),
        (CLASSIFIER, TABLE, "label\ttext\nc\tthe text\n", "'c'"),
        (CLASSIFIER, TABLE, "x\ty\tz\n1\t2\t3\n", "columns"),
        (TRANSLATOR, PAIRS, "", "empty"),
        (TRANSLATOR, PAIRS, TABLE, "a label and a text"),
    ],
)
def test_a_faulty_test_part_is_refused_before_anything_is_trained(
    tmp_path: Path, task: Task, corpus: str, test: str, said: str
) -> None:
    paths = tmp_path / "corpus.tsv", tmp_path / "test.tsv"
    for path, text in zip(paths, (corpus, test), strict=True):
        path.write_text(text)
    request = make_request(task, [paths[0]], {})
    with pytest.raises(CorpusError, match=said) as refused:
        make_parts(task, request, (str(paths[1]),), tmp_path / "parts", unwatched)
    assert refused.value.where.startswith(str(paths[1]))
    paths[1].write_text(corpus)
    assert make_parts(task, request, (str(paths[1]),), tmp_path / "parts", unwatched).test == (str(paths[1]),)


def test_labels_of_a_test_part_may_be_those_of_a_list(tmp_path: Path) -> None:
    corpus, test = tmp_path / "corpus.jsonl", tmp_path / "test.jsonl"
    rows = [{"label": ["a", "b"][: index % 3], "text": f"text {index}"} for index in range(30)]
    corpus.write_text("".join(json.dumps(row) + "\n" for row in rows))
    test.write_text(json.dumps({"label": ["b"], "text": "one"}) + "\n")
    request = make_request(CLASSIFIER, [corpus], {})
    assert make_parts(CLASSIFIER, request, (str(test),), tmp_path / "parts", unwatched).test == (str(test),)
    test.write_text(json.dumps({"label": ["b", "c"], "text": "one"}) + "\n")
    with pytest.raises(CorpusError, match="'c'"):
        make_parts(CLASSIFIER, request, (str(test),), tmp_path / "parts", unwatched)


def test_labels_that_cannot_be_learned_are_told_of_the_corpus_as_by_a_training_run(tmp_path: Path) -> None:
    corpus, valid = tmp_path / "one.tsv", tmp_path / "valid.tsv"
    corpus.write_text("label\ttext\n" + "".join(f"same\t{text}\n" for text in _texts(400)))
    with pytest.raises(CorpusError) as trained:
        CLASSIFIER.load("run")(make_request(CLASSIFIER, [corpus], {"out": tmp_path / "run"}))
    with pytest.raises(CorpusError) as tuned:
        _split(CLASSIFIER, corpus, tmp_path / "parts")
    assert vars(tuned.value) == vars(trained.value)
    assert tuned.value.where == str(corpus) and "all 400 are" in tuned.value.what
    corpus.write_text(
        "label\ttext\n" + "".join(f"{'ab'[index % 2]}\t{text}\n" for index, text in enumerate(_texts(60)))
    )
    valid.write_text("label\ttext\na\tgood\nc\tbad\n")
    with pytest.raises(CorpusError, match="'c'") as unknown:
        _split(CLASSIFIER, corpus, tmp_path / "parts", valid=valid)
    assert unknown.value.where == f"{valid}:3"


def test_an_error_about_a_part_is_told_of_the_file_that_the_user_named(tmp_path: Path) -> None:
    corpus, valid = tmp_path / "corpus.tsv", tmp_path / "my valid.tsv"
    for path in (corpus, valid):
        rows = [f"{'ab'[index % 2]}\t{text}\n" for index, text in enumerate(_texts(60))]
        path.write_text("label\ttext\n" + "".join(rows))
    request = make_request(CLASSIFIER, [corpus], {"valid": valid})
    parts = make_parts(CLASSIFIER, request, (), tmp_path / "parts", unwatched)
    names = *parts.request.corpus, *parts.test, *parts.request.valid
    for name, own in zip(names, (corpus, corpus, valid), strict=True):
        for where in (name, f"{name}:7"):
            error = as_named(CorpusError(where, f"{name} is odd", f"mend {name}"), parts, CLASSIFIER, request)
            assert error.where in (str(own), f"'{own}'")
            assert str(tmp_path / "parts") not in error.what + error.hint
    named = Parts(request, (str(valid),), are_own=False)
    error = CorpusError(f"{corpus}:7", "is odd")
    assert as_named(error, named, CLASSIFIER, request) is error
