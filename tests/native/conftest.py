"""Every test of compiled code runs for each instruction set that this processor has."""

from __future__ import annotations

import pytest

from nlpseq.native import extension
from nlpseq.native.extension import Unavailable

try:
    SETS = extension.available_sets()
    REASON = ""
except Unavailable as reason:
    SETS, REASON = (), str(reason)


@pytest.fixture(params=SETS or ("nothing",))
def instructions(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a set, which is in use for the test."""
    if REASON:
        pytest.skip(f"nothing compiled: {REASON}")
    monkeypatch.setenv(extension.SETTING, request.param)
    return str(request.param)
