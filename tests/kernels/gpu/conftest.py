"""Fixtures of the tests of the GPU's kernels."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch

from nlpseq.kernels.gpu import ways
from nlpseq.kernels.gpu.persistent import tiles as persistent_tiles

HOPPER = ways.Device(132, (9, 0), None)


@pytest.fixture
def emulated(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """Kernels run under the emulator, with its settings; memory that is not written is NaN."""
    from nlpseq.kernels.gpu.persistent import recurrence as persistent_recurrence
    from tests.kernels.gpu import gluon_emulator

    settings: dict[str, Any] = {}

    def launch(fixed: Any, programs: Any, tensors: Any, numbers: Any) -> None:
        frame = persistent_tiles.frame_of(fixed)
        given = {name: value for name, value in settings.items() if name != "launches"}
        if "launches" in settings:
            settings["launches"].append(fixed.directions)
        gluon_emulator.run(persistent_recurrence.kernel_for(fixed), programs, tensors, (*numbers, frame), **given)

    monkeypatch.setattr(persistent_recurrence, "launch", launch)
    monkeypatch.setattr(ways, "device_of", lambda device: HOPPER)
    monkeypatch.setattr(ways, "HALF", (*ways.HALF, torch.float32))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    yield settings
    torch.use_deterministic_algorithms(False)
    torch.set_num_threads(threads)
