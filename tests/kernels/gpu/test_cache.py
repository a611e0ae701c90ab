"""Triton's cache: its own folder if that can be written, else a temporary one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from nlpseq.kernels.gpu.cache import ensure_cache


def test_a_folder_that_can_be_written_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path / "cache"))
    ensure_cache()
    assert os.environ["TRITON_CACHE_DIR"] == str(tmp_path / "cache")
    assert not list((tmp_path / "cache").iterdir())


@pytest.mark.parametrize("name", ["TRITON_CACHE_DIR", "TRITON_HOME", "HOME"])
def test_one_that_cannot_is_replaced(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("in the way")
    for one in ("TRITON_CACHE_DIR", "TRITON_HOME"):
        monkeypatch.setenv(one, "")
    monkeypatch.setenv(name, str(tmp_path / "file"))
    ensure_cache()
    folder = Path(os.environ["TRITON_CACHE_DIR"])
    assert folder.is_dir() and tmp_path not in folder.parents
