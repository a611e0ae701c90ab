"""The file of `nlpseq translate --attention`: an object for each line, written at once, or a drawing of all at the end.

It is written under a temporary name and renamed at the end, so a file of the final name is always complete.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO

from nlpseq.commands import output
from nlpseq.errors import RunError
from nlpseq.files import open_temporary, put_in_place, temporary_path
from nlpseq.insight.attention import draw, to_json
from nlpseq.models.attention import Alignment

MOST_DRAWN = 20  # matrices in a drawing; more are not readable


class AttentionFile:
    """A file of alignments; nothing is written if the path is None.

    Raises OptionError or RunError if the file cannot be written.
    """

    def __init__(self, path: Path | None, *, quiet: bool) -> None:
        self.path = path
        self.quiet = quiet
        self.lines = self.aligned = 0  # the number of lines, and of those with an alignment
        self.drawn: list[Alignment] = []
        if path is not None:
            output.check_target(path, "--attention", (".jsonl", ".json", ".svg"), "attention")
            self.file: IO[str] | None = None

    def __enter__(self) -> AttentionFile:
        if self.path is not None:
            try:
                self.file = io.TextIOWrapper(open_temporary(self.path), encoding="utf-8", errors="replace")
            except OSError as error:
                raise self._failed(error) from None
        return self

    def add(self, alignments: Iterable[Alignment | None]) -> None:
        """Write the alignments of the next lines; None for a line that has none."""
        if self.path is None or self.file is None:
            return
        for alignment in alignments:
            self.lines += 1
            self.aligned += alignment is not None
            if self.path.suffix.lower() != ".svg":
                fields = {"source": [], "target": [], "shares": []} if alignment is None else to_json(alignment)
                self._write(json.dumps({"line": self.lines, **fields}, ensure_ascii=False) + "\n")
            elif alignment is not None and len(self.drawn) < MOST_DRAWN:
                self.drawn.append(alignment)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.path is None or self.file is None:
            return
        try:
            if kind is None and self.path.suffix.lower() == ".svg":
                self._write(draw(self.drawn))
                if self.aligned > len(self.drawn):
                    what = f"note: {self.path} shows the first {len(self.drawn)} of {self.aligned:,} lines"
                    output.note(what, quiet=self.quiet)
            if kind is None:
                put_in_place(self.file, self.path)
            self.file.close()
        except OSError as failure:
            raise self._failed(failure) from None
        finally:
            with suppress(OSError):
                temporary_path(self.path).unlink()

    def _failed(self, error: OSError) -> RunError:
        return RunError(str(self.path), f"cannot be written: {error.strerror}", "--attention ANOTHER.jsonl")

    def _write(self, text: str) -> None:
        assert self.path is not None and self.file is not None
        try:
            self.file.write(text)
        except OSError as error:
            raise self._failed(error) from None
