"""What is said of texts of training that cannot be read again."""

from __future__ import annotations

from pathlib import Path

import pytest

from nlpseq.errors import CorpusError
from nlpseq.evaluation.training_text import unreadable, was_removed
from nlpseq.models import language_model
from nlpseq.models.model_file import Model
from nlpseq.text.tokenisers import ByteTokeniser


@pytest.fixture
def model() -> Model:
    return Model(language_model.TASK, {}, {}, ByteTokeniser(()), {}, Path("runs/c/language-model/model.safetensors"))


@pytest.mark.parametrize("name", ["runs/c/.unlabelled/texts.txt", "runs/c/.unlabelled/texts.txt@20"])
def test_a_text_that_a_run_made_and_removed_is_not_looked_for(name: str, model: Model) -> None:
    assert was_removed(name)
    error = unreadable(model, CorpusError(name, "there is no such file or corpus"))
    assert "the text that it was trained with was not kept" in error.what and ".unlabelled" not in error.what
    assert error.hint == "nlpseq evaluate -m runs/c/language-model FILE"
    assert unreadable(model, CorpusError(name, "gone"), "leave out --baseline").hint == "leave out --baseline"


def test_a_text_that_is_there_and_a_text_of_the_users_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: Model
) -> None:
    monkeypatch.chdir(tmp_path)
    Path(".unlabelled").mkdir()
    Path(".unlabelled/damaged.txt").write_text("")
    for name in (".unlabelled/damaged.txt", "texts/mine.txt"):
        assert not was_removed(name)
        error = unreadable(model, CorpusError(name, "it is empty"))
        assert error.what == f"the text that it was trained with cannot be read: {name}: it is empty"
        assert error.hint.endswith(" FILE; or change to the folder it was trained in")
