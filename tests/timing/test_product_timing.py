"""What is timed of products. How fast anything is, no test says."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from nlpseq.errors import BackendError
from nlpseq.native import extension
from nlpseq.native.extension import Unavailable
from nlpseq.timing import products
from nlpseq.timing.products import ProductTiming, measure_products
from nlpseq.timing.shapes import ProductShape


def test_each_product_is_timed_on_all_sides(monkeypatch: pytest.MonkeyPatch) -> None:
    try:
        extension.load_library()
    except Unavailable as reason:
        pytest.skip(f"nothing compiled: {reason}")
    made: list[tuple[int, ...]] = []

    def timed(turn: Callable[[], object]) -> float:
        result = turn()
        if isinstance(result, int):
            return 0.25
        made.append(tuple(result.shape))  # type: ignore[attr-defined]
        return 0.5

    monkeypatch.setattr(products, "block_seconds", timed)
    (timing,) = measure_products([ProductShape(3, 4, 5)], rounds=2)
    assert made == [(3, 5)] * 6
    assert timing.ours == timing.numpy == timing.torch == pytest.approx(2 * 3 * 4 * 5 / 0.5 / 1e9)
    assert timing.limit > 0
    assert timing.instructions == extension.instructions()


def test_a_product_is_held_against_the_faster_library() -> None:
    timing = ProductTiming(ProductShape(1, 2, 3), "avx2", ours=150, numpy=100, torch=120, limit=200)
    assert timing.ratio == pytest.approx(1.25)
    assert timing.as_json() == {
        "rows": 1,
        "inputs": 2,
        "outputs": 3,
        "instructions": "avx2",
        "ours_gflops": 150,
        "numpy_gflops": 100,
        "torch_gflops": 120,
        "limit_gflops": 200,
        "ratio": 1.25,
    }


def test_a_block_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(products, "BLOCK_SECONDS", 0.0)
    monkeypatch.setattr(products, "PAUSE_SECONDS", 0.0)
    calls: list[int] = []
    assert products.block_seconds(lambda: calls.append(1)) >= 0
    assert len(calls) == 6


def test_without_anything_compiled_the_reason_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> None:
        raise Unavailable("there was no compiler")

    monkeypatch.setattr(extension, "load_library", missing)
    with pytest.raises(BackendError, match="nothing compiled can run: there was no compiler"):
        measure_products([ProductShape(3, 4, 5)], rounds=1)
