"""Which way runs a recurrence on which device, and the reasons against the others."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from nlpseq.errors import BackendError
from nlpseq.kernels.gpu import ways
from nlpseq.kernels.gpu.arguments import Settings
from nlpseq.kernels.gpu.persistent import gluon_names
from nlpseq.kernels.gpu.persistent import tiles as persistent_tiles
from nlpseq.kernels.gpu.persistent.tiles import SHARED_BYTES, padded, tiles_of

HOPPER, AMPERE = ways.Device(132, (9, 0), None), ways.Device(108, (8, 0), "it is for compute capability 9.0")
BF16, FP32 = torch.bfloat16, torch.float32
MEASURED = [(20, 650), (32, 512), (64, 512), (64, 256), (64, 1024), (128, 1024), (128, 2048), (256, 512)]  # B, H


def request(
    cell: str, batch: int, size: int, operands: torch.dtype, *, normalised: bool = False, steps: int = 64
) -> ways.Request:
    gates = {"lstm": 4, "rnn": 1}.get(cell, 3)
    resets = cell == "gru-reset-before"
    settings = Settings(gates, gates, resets, cell == "lstm", True, normalised, 0, False, False, True, "tf32x3")
    return ways.Request(cell, settings, steps, batch, size, operands)


@pytest.mark.parametrize(
    ("device", "cell", "batch", "size", "operands", "way"),
    [
        *((HOPPER, cell, *shape, BF16, "persistent") for shape in MEASURED for cell in ("lstm", "gru", "rnn")),
        (HOPPER, "lstm", 4096, 256, torch.float16, "persistent"),
        (HOPPER, "lstm", 64, 4096, BF16, "steps"),
        (HOPPER, "gru-reset-before", 64, 512, BF16, "persistent"),
        (HOPPER, "gru-reset-before", 64, 2048, BF16, "rows"),
        (HOPPER, "lstm", 64, 512, FP32, "steps"),
        (HOPPER, "lstm", 64, 64, FP32, "column"),
        (AMPERE, "lstm", 64, 128, BF16, "column"),
        (AMPERE, "lstm", 64, 256, BF16, "grid"),
        (AMPERE, "lstm", 128, 256, BF16, "steps"),
        (AMPERE, "lstm", 32, 512, BF16, "steps"),
        (AMPERE, "rnn", 64, 128, BF16, "column"),
        (AMPERE, "rnn", 64, 256, BF16, "rows"),
        (AMPERE, "rnn", 64, 1024, BF16, "rows"),
    ],
)
def test_the_way_for_a_size(
    device: ways.Device, cell: str, batch: int, size: int, operands: torch.dtype, way: str
) -> None:
    assert ways.chosen(None, request(cell, batch, size, operands), device) == way


@pytest.mark.parametrize(
    ("way", "cell", "batch", "size", "operands", "normalised", "reason"),
    [
        ("grid", "rnn", 64, 1024, BF16, False, "256 programs cannot all run at once on 132"),
        ("grid", "lstm", 16, 64, BF16, True, "no layer normalisation"),
        ("steps", "gru-reset-before", 16, 64, BF16, False, "no reset before a product"),
        ("column", "lstm", 16, 512, BF16, False, "one multiprocessor cannot hold the weights of 512 units"),
        ("persistent", "gru-reset-before", 16, 64, BF16, True, "no layer normalisation with a reset before a product"),
        ("persistent", "mingru", 16, 64, BF16, False, "no cell mingru"),
        ("persistent", "lstm", 16, 64, FP32, False, "16-bit"),
        ("persistent", "lstm", 16, 8192, BF16, False, "does not hold 8192 units"),
        ("columns", "lstm", 16, 64, BF16, False, "there is no way 'columns'"),
    ],
)
def test_a_way_that_cannot_run_is_refused_with_the_reason(
    way: str, cell: str, batch: int, size: int, operands: torch.dtype, normalised: bool, reason: str
) -> None:
    with pytest.raises(BackendError, match=reason):
        ways.chosen(way, request(cell, batch, size, operands, normalised=normalised), HOPPER)


def test_the_persistent_way_says_what_it_wants_of_a_device() -> None:
    for device in (AMPERE, ways.Device(132, (9, 0), "Triton's Gluon lacks jit"), ways.device_of(torch.device("cpu"))):
        reason = ways.reason_against("persistent", request("lstm", 16, 64, BF16), device)
        assert reason == device.without_gluon and reason
    with pytest.raises(BackendError, match="Gluon lacks jit"):
        ways.chosen(
            "persistent", request("lstm", 16, 64, BF16), device=ways.Device(9, (9, 0), "Triton's Gluon lacks jit")
        )


def test_layer_normalisation_has_its_ways() -> None:
    for device, cell, way in (
        (HOPPER, "lstm", "persistent"),
        (HOPPER, "gru-reset-before", "rows"),
        (AMPERE, "lstm", "rows"),
    ):
        assert ways.chosen(None, request(cell, 64, 512, BF16, normalised=True), device) == way


def test_a_sequence_too_long_for_its_addresses_is_refused() -> None:
    assert ways.reason_against("persistent", request("lstm", 64, 2048, BF16, steps=10_000), HOPPER)
    assert not ways.reason_against("persistent", request("lstm", 1024, 1024, BF16, steps=2000), HOPPER)


@pytest.mark.parametrize("processors", [114, 132])
@pytest.mark.parametrize("cell", persistent_tiles.GATES)
def test_tiles_fit_a_multiprocessor_and_the_device(cell: str, processors: int) -> None:
    gates = persistent_tiles.GATES[cell]
    for size in (1, 64, 65, 256, 300, 512, 650, 1000, 1024, 1025, 1500, 1800, 2048):
        for batch in (1, 20, 64, 65, 128, 200, 256, 512):
            count = persistent_tiles.most_sequences(cell, 100, batch, size, processors)
            if not count:
                assert gates == 4 and (padded(size) // 16 > processors or cell == persistent_tiles.RESETS)
                continue
            found = tiles_of(cell, count, size, processors)
            assert found is not None and (count == batch or count % 64 == 0)
            for backward, tiles in enumerate(found):
                across, down = tiles.programs(count, size)
                assert across * down <= processors and down * tiles.rows >= count
                assert across * tiles.units == padded(size) and across % tiles.split == 0
                chunks = (gates * padded(size) // tiles.split if backward else padded(size)) // 64
                wide = tiles.split * tiles.units if backward else gates * tiles.units
                buffers = min(tiles.buffers, chunks)
                assert buffers >= min(chunks, 4)
                weights = min(tiles.held, chunks) + (buffers if tiles.held < chunks else 0)
                assert (weights * wide + buffers * tiles.rows) * 128 <= SHARED_BYTES - 1024


class _Module(SimpleNamespace):
    pass


def test_names_are_found_in_every_release_of_triton() -> None:
    older = _Module(thread_barrier="barrier"), _Module(async_copy_global_to_shared="copy")
    newer = _Module(barrier="barrier"), _Module(async_load="copy", async_copy_global_to_shared="raises")
    assert gluon_names.moved_names(*older) == gluon_names.moved_names(*newer) == ("barrier", "copy")
    for modules in ((_Module(), older[1]), (older[0], _Module())):
        with pytest.raises(ImportError, match="there is no"):
            gluon_names.moved_names(*modules)


def test_a_name_that_is_missing_is_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    names = {name for every in gluon_names.NEEDED.values() for name in every}
    names |= {gluon_names.BARRIERS[0], gluon_names.COPIES[1]}  # Triton 3.6
    modules: dict[str, Any] = {}

    def find(path: str) -> Any:
        return modules.setdefault(path, _Module(**{name: object() for name in names}))

    monkeypatch.setattr(gluon_names, "import_module", find)
    assert gluon_names.missing_names() is None
    for path, gone, said in (
        ("", "jit", "lacks jit"),
        (".language", "NVMMASharedLayout", "lacks NVMMASharedLayout"),
        (".language", "thread_barrier", "no thread_barrier or barrier"),
        (".language.nvidia.ampere.async_copy", "async_copy_global_to_shared", "no async_load or"),
    ):
        modules.clear()
        delattr(find(gluon_names.HERE + path), gone)
        assert said in str(gluon_names.missing_names())

    def fail(path: str) -> Any:
        raise ImportError("No module named 'triton'")

    monkeypatch.setattr(gluon_names, "import_module", fail)
    assert "No module named 'triton'" in str(gluon_names.missing_names())


def test_gluon_can_be_used_with_the_triton_that_is_installed() -> None:
    pytest.importorskip("triton", reason="Triton is not installed")
    assert gluon_names.missing_names() is None
