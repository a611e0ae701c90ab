"""Parquet files, streamed. Numbered labels, as in data sets of the hub, are replaced by their names."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from nlpseq.errors import CorpusError
from nlpseq.text.compression import read_blocks
from nlpseq.text.formats import need_source
from nlpseq.text.hub import with_label_names
from nlpseq.text.readers.json_lines import object_rows
from nlpseq.text.readers.table import Notes, Rows, TableFormat

ROWS_AT_ONCE = 1024


def _objects(name: str) -> Iterator[dict[str, Any]]:
    """The rows of a file. Raises CorpusError if it is not a parquet file."""
    need_source(name)
    next(read_blocks(name), b"")  # raises for a folder and for a file that cannot be read
    import pyarrow
    from pyarrow import parquet

    try:
        with open(name, "rb") as opened, parquet.ParquetFile(opened) as file:  # pyarrow would take s3://x for a host's
            names = _label_names((file.schema_arrow.metadata or {}).get(b"huggingface"))
            for batch in file.iter_batches(ROWS_AT_ONCE):
                for row in batch.to_pylist():
                    yield with_label_names(row, names)
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise CorpusError(name, f"it cannot be read as a parquet file: {reason}") from None


def _label_names(metadata: bytes | None) -> dict[str, list[str]]:
    """The names of numbered labels by column, from the metadata of a data set."""
    try:
        features = json.loads(metadata or b"{}")["info"]["features"]
        kinds = {column: kind.get("feature", kind) for column, kind in features.items()}  # of a list, its items'
        return {column: kind["names"] for column, kind in kinds.items() if isinstance(kind.get("names"), list)}
    except (KeyError, TypeError, AttributeError, ValueError):
        return {}


def _read(name: str, notes: Notes) -> Rows:
    return object_rows(name, _objects(name))


PARQUET = TableFormat((".parquet",), _read)
