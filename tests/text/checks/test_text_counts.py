"""Lines counted in batches are counted as they are one by one."""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from nlpseq.text.checks.text_counts import ODD, TextCounts

PIECES = [
    "a",
    "b",
    " ",
    "\t",
    "\r",
    "é",
    "e\u0301",
    "\u0301",
    "猫",
    "한",
    "\0",
    "\x85",
    "\u2028",
    "\ufeff",
    "\ufffd",
    "q",
]
LINES = st.lists(
    st.lists(st.sampled_from(PIECES), max_size=12).map(lambda pieces: "".join(pieces).encode()) | st.binary(max_size=4),
    max_size=20,
)
LONG = st.sampled_from([b"x" * 10_001, "é".encode() * 5001, "猫".encode() * 10_001, b"y" * 10_000])


def _one_by_one(lines: list[bytes]) -> dict[str, Any]:
    """What is counted, line by line, by the definition of each count."""
    places: defaultdict[str, list[int]] = defaultdict(list)
    alphabet, characters = set(), 0
    for number, line in enumerate(lines, 1):
        places["CRLF" if line[-1:] == b"\r" else "LF"].append(number)
        line = line[:-1] if line[-1:] == b"\r" else line
        try:
            text = line.decode()
        except UnicodeDecodeError:
            places["damaged"].append(number)
            text = line.decode(errors="ignore")
        alphabet |= set(text)
        characters += len(text)
        for character in set(text):
            if ODD.match(character):
                places[character].append(number)
        if len(text) > 10_000:
            places["long"].append(number)
        if not line.strip():
            places["blank"].append(number)
        if unicodedata.normalize("NFC", text) != text:
            places["decomposed"].append(number)
        elif unicodedata.normalize("NFD", text) != text:
            places["composed"].append(number)
    found = {name: (len(numbers), numbers[0]) for name, numbers in places.items()}
    return {**found, "characters": characters, "alphabet": len(alphabet)}


@settings(deadline=None, max_examples=50)
@given(batches=st.lists(st.lists(st.one_of(LINES.map(lambda lines: lines or [b""]), LONG.map(lambda line: [line])))))
def test_batches_are_counted_as_lines_are(batches: list[list[list[bytes]]]) -> None:
    counts = TextCounts()
    lines: list[bytes] = []
    for parts in batches:
        batch = [line.replace(b"\n", b"") for part in parts for line in part]
        if batch:
            counts.add(batch)
            lines += batch
    tallies = {**counts.seen, **counts.odd}
    found: dict[str, Any] = {name: (tally.count, tally.first) for name, tally in tallies.items() if tally.count}
    found |= {"characters": counts.num_characters, "alphabet": counts.num_different}
    assert found == _one_by_one(lines)
    assert counts.lines == len(lines) and counts.hashes.count == sum(bool(line.strip()) for line in lines)
