"""The library: which one is taken, which instructions it uses, and what is said where it cannot be."""

from __future__ import annotations

import ctypes
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from nlpseq.errors import BackendError
from nlpseq.native import extension, recurrence
from nlpseq.native.extension import SETTING, Unavailable


def test_an_available_set_is_used(instructions: str) -> None:
    assert extension.instructions() == instructions
    assert instructions in (*extension.INSTRUCTIONS, "plain")
    assert instructions in extension.describe()


def test_without_a_setting_the_best_set_is_used(instructions: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(SETTING)
    assert extension.kind() == len(extension.available_sets()) - 1


def test_bf16_is_multiplied_by_the_best_instructions_for_it(instructions: str) -> None:
    best = {"amx": recurrence.TILES_IN_HARDWARE, "avx512bf16": recurrence.PAIRS}
    assert recurrence.bf16_products() == best.get(instructions, recurrence.ROUNDED)


def test_a_misspelt_set_is_refused_with_all_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SETTING, "avx3")
    with pytest.raises(BackendError, match=r"must be one of sse2, avx2, avx512, .*, was 'avx3'") as caught:
        extension.kind()
    assert caught.value.hint == f"export {SETTING}=avx2"
    monkeypatch.setenv(SETTING, "quick")
    with pytest.raises(BackendError) as caught:
        extension.kind()
    assert caught.value.hint == f"unset {SETTING}"


def test_capital_letters_and_spaces_do_not_matter(instructions: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SETTING, f" {instructions.upper()} ")
    assert extension.instructions() == instructions


def test_a_set_that_the_processor_lacks_is_refused_with_what_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extension, "available_sets", lambda: ("sse2", "avx2"))
    monkeypatch.setenv(SETTING, "avx512")
    with pytest.raises(BackendError, match="which this processor does not have: it has sse2, avx2") as caught:
        extension.kind()
    assert caught.value.hint == f"export {SETTING}=avx2"


def _missing() -> Any:
    raise Unavailable("the package was built without a C compiler")


def test_a_set_is_refused_where_nothing_is_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extension, "available_sets", _missing)
    monkeypatch.setenv(SETTING, "avx2")
    with pytest.raises(BackendError, match="nothing compiled can run: the package was built without a C compiler"):
        extension.kind()
    monkeypatch.delenv(SETTING)
    with pytest.raises(Unavailable):
        extension.kind()


@pytest.mark.parametrize("library", [SimpleNamespace(nlpseq_interface=lambda: 1), SimpleNamespace()])
def test_a_library_of_another_version_is_not_called(library: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extension, "find_spec", lambda _: SimpleNamespace(origin="old.so"))
    monkeypatch.setattr(ctypes, "CDLL", lambda _: library)
    with pytest.raises(Unavailable, match=r"old\.so is not from this version of nlpseq"):
        extension.load_library.__wrapped__()


def test_interface_and_library_have_one_number() -> None:
    header = Path(extension.__file__).parent / "c" / "interface.h"
    assert f"#define INTERFACE {extension.INTERFACE}\n" in header.read_text(encoding="utf-8")
