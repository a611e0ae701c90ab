"""A data set of the hub is fetched once, and no further than it is read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from nlpseq.errors import CorpusError
from nlpseq.text.checks.corpus import check_corpus
from nlpseq.text.formats import open_corpus
from nlpseq.text.hub import hub_rows, keeping_texts
from nlpseq.text.tables.labelled import read_labelled
from nlpseq.text.tables.parallel import read_parallel


class Hub:
    """Replaces `datasets.load_dataset`: rows without end, which must not be asked for beyond `most`."""

    features = None

    def __init__(self, most: int, error: Exception | None = None) -> None:
        self.most, self.error = most, error
        self.readings = 0
        self.fetched = 0

    def __call__(self, *_: Any, **options: Any) -> Hub:
        assert options == {"split": "train", "streaming": True}
        self.readings += 1
        return self

    def __iter__(self) -> Iterator[dict[str, Any]]:
        number = 0
        while number < self.most:
            number += 1
            self.fetched += 1
            yield {"text": f"text {number}", "label": number % 2, "en": f"one {number}", "de": f"eins {number}"}
        raise self.error or AssertionError(f"row {self.most + 1} is fetched")


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    def install(most: int, error: Exception | None = None) -> Hub:
        datasets = pytest.importorskip("datasets")
        replacement = Hub(most, error)
        monkeypatch.setattr("huggingface_hub.get_session", lambda: SimpleNamespace(head=lambda *_, **__: None))
        monkeypatch.setattr(datasets, "load_dataset", replacement)
        return replacement

    return install


def test_no_more_rows_are_fetched_than_taken(hub) -> None:  # type: ignore[no-untyped-def]
    hub(40)
    assert "".join(open_corpus("hf:a/b:c@40")).splitlines() == [f"text {number}" for number in range(1, 41)]
    assert len(read_labelled(["hf:a/b@40"])) == 40
    assert read_parallel(["hf:a/b@40"], two_files=False, columns=("en", "de")).targets[-1] == "eins 40"
    assert len(list(hub_rows("hf:a/b", 7))) == 7
    for kind in ("text", "labels"):
        assert "40" in check_corpus("hf:a/b@40", kind)[0].what  # type: ignore[arg-type]


def test_a_text_that_is_kept_is_fetched_once(hub, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    source = hub(3000)
    text = "".join(open_corpus("hf:a/b@3000"))
    source.readings = 0
    with keeping_texts(tmp_path / "new"):
        assert next(open_corpus("hf:a/b@3000")).startswith("text 1\n")  # not to the end, and not kept
        readings = [list(open_corpus("hf:a/b@3000")) for _ in range(3)]
        assert readings[0] == readings[1] == readings[2] and "".join(readings[0]) == text
        assert source.readings == 2
        assert "".join(open_corpus("hf:a/b@5")) == "".join(f"text {number}\n" for number in range(1, 6))
        assert source.readings == 3
        assert list((tmp_path / "new").iterdir())
    assert not list((tmp_path / "new").iterdir())
    list(open_corpus("hf:a/b@3000"))
    assert source.readings == 4


def test_a_network_that_fails_in_the_middle_is_one_sentence(hub, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    hub(1000, ConnectionError("the connection\nwas reset"))
    with keeping_texts(tmp_path), pytest.raises(CorpusError) as caught:
        list(open_corpus("hf:a/b"))
    what = "the hub's data set cannot be read after 1,000 rows: the connection was reset"
    assert (caught.value.where, caught.value.what) == ("hf:a/b", what)
    assert caught.value.hint.endswith("or name what came before: hf:a/b@1000")
    assert not list(tmp_path.iterdir())
    with pytest.raises(CorpusError, match="after 1,000 rows"):
        read_labelled(["hf:a/b@2000"])
    assert len(read_labelled(["hf:a/b@1000"])) == 1000
    (found,) = check_corpus("hf:a/b", "labels")
    assert found.level == "fault" and found.what == what


def test_a_copy_that_cannot_be_written_is_one_sentence(hub, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    hub(10)
    (tmp_path / "file").write_text("")
    with keeping_texts(tmp_path / "file"), pytest.raises(CorpusError, match="a copy of it cannot be written"):
        list(open_corpus("hf:a/b@10"))
