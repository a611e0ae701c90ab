"""The table that a benchmark makes: each part measures in a folder of its own, and its rows are shown as they come."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

Rows = Iterable[tuple[str, str]]  # what, and the measured figures


def measure(parts: Iterable[Callable[[Path], Rows]], out: Path | None) -> None:
    """Run parts of a benchmark, each in an empty folder; the table is written to `out`, too."""
    table = "| what | measured |\n|---|---|\n"
    for part in parts:
        with tempfile.TemporaryDirectory() as folder:
            for what, measured in part(Path(folder)):
                table += f"| {what} | {measured} |\n"
                print(f"{what}: {measured}", flush=True)
    if out is not None:
        out.write_text(table)
