"""Tables of JSON objects, one in each line. The languages in an object `translation`, as on the hub, are columns.

JSON can spell half of a character, as \\ud800, which is no text: it becomes U+FFFD, and a note counts the lines.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from nlpseq.errors import CorpusError
from nlpseq.text.compression import new_name, shell_input, show_line
from nlpseq.text.readers.table import Notes, Row, Rows, TableFormat, table_lines

HALF = re.compile("[\ud800-\udfff]")  # half of a character, which no other half follows
LANGUAGES = "translation"  # the hub's name for an object of languages


def flat(row: Mapping[str, Any]) -> Mapping[str, Any]:
    """A row with the languages of its object `translation`, if it has one, as cells beside its other cells."""
    inner = row.get(LANGUAGES)
    if not isinstance(inner, Mapping):
        return row
    return {**inner, **{name: value for name, value in row.items() if name != LANGUAGES}}


def object_rows(name: str, objects: Iterator[Mapping[str, Any]]) -> Rows:
    """Rows of objects, numbered from 1."""
    return (Row(f"{name}:{number}", flat(row)) for number, row in enumerate(objects, 1))


def without_halves(value: Any) -> Any:
    """A JSON value in whose texts and names each half of a character is U+FFFD."""
    if isinstance(value, str):
        return HALF.sub("\ufffd", value)
    if isinstance(value, dict):
        return {HALF.sub("\ufffd", name): without_halves(item) for name, item in value.items()}
    return [without_halves(item) for item in value] if isinstance(value, list) else value


def _read(name: str, notes: Notes) -> Rows:
    halves, first = 0, 0
    for number, line in enumerate(table_lines(name), 1):
        where = f"{name}:{number}"
        if not line.strip():
            yield Row(where, {})
            continue
        if number == 1 and line.lstrip().startswith("["):
            hint = f"{shell_input(name, _jq('.[]'))} > {new_name(name, '.objects.jsonl')}"
            raise CorpusError(where, "it is a JSON array, but must be an object in each line", hint)
        try:
            value = json.loads(line)
            whole = without_halves(value) if "\\u" in line else value
        except (ValueError, RecursionError) as error:
            hint = show_line(name, number)
            if number == 1 and line.strip() == "{":
                hint = f"{shell_input(name, _jq('.'))} > {new_name(name, '.objects.jsonl')}"
            reason = f"{error.msg} at character {error.colno}" if isinstance(error, json.JSONDecodeError) else error
            raise CorpusError(where, f"it is not JSON: {reason}", hint) from None
        if not isinstance(value, dict):
            raise CorpusError(where, f"it must be an object, but is {json.dumps(value)[:40]}", show_line(name, number))
        if whole != value:
            halves, first = halves + 1, first or number
        yield Row(where, flat(whole))
    if halves:
        lines = "1 line has" if halves == 1 else f"{halves:,} lines have"
        notes.append(f"{lines} half of a character, which became U+FFFD; the first is line {first:,}")


def _jq(program: str) -> str:
    return f"jq -c '{program}'"


JSON_LINES = TableFormat((".jsonl", ".ndjson", ".json"), _read, is_text=True)
