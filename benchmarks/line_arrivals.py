"""Generated lines of bytes, and a child process that gets them in a random rhythm through real pipes.

A line starts with its number, so that a lost one shows. The rest is words, emoji, combining characters, bytes that are
not UTF-8, NUL, CR, U+2028, byte order marks, JSON good and bad, or nothing. An arrival says where the bytes are cut,
when the writer pauses, and how slowly the reader reads. All of it is drawn from a seed.
"""

from __future__ import annotations

import fcntl
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

WORDS = b"a dull film and the cat sat on mat a man is sleeping where never 12 3.5 don't".split()
ODD = (
    "öl 猫 où é e\u0301\u0323 ﷽ İ ß ǆ".encode(),
    "😀👩‍👩‍👧‍👦🇩🇪".encode(),
    "\u2028\u2029\x85\x0b\x0c\x1c\x1e".encode(),
    b"\r",
    b"\x00",
    b"\xef\xbb\xbf",
    b"\xff\xfe\x80",
    b"\xc3",
    b"\xed\xa0\x80",
    b"\xf4\x90\x80\x80",
    b"\t\ttab\t",
    b"\x1b[31mred\x1b[0m\x07",
)
OBJECTS = (
    b'{"text": "a dull film", "id": %d}',
    b'{"text": "the cat \\ud800 sat", "label": 3, "id": %d}',
    b'{"text": 5, "id": %d}',
    b'{"id": %d, "translation": [1, null], "tokens": "mine"}',
    b'["text", %d]',
    b'{"text": "cut off, %d',
    b'{"text": "", "status": "mine", "given_status": 1, "id": %d}',
    b"[" * 3000 + b"%d",
    b'{"text": "a", "text": "twice", "id": %d, "n": 1e999}',
    b'\xef\xbb\xbf{"text": "marked", "id": %d}',
    b'{"text": "bad \xff byte", "id": %d}\r',
)
ENDS_WELL = 60.0  # seconds a child has to end in once its input has ended, for each thousand lines


def make_lines(kind: str, count: int, draw: random.Random) -> list[bytes]:
    """Lines of a kind: `text`, `objects`, `ids` or `words`, one to a line."""
    make = {"text": _text, "objects": _object, "ids": _ids, "words": _word}[kind]
    return [make(number, draw) for number in range(count)]


def _text(number: int, draw: random.Random) -> bytes:
    kind = draw.random()
    if kind < 0.06:
        return draw.choice([b"", b" ", b"\r", b"\t"])
    if kind < 0.16:
        return draw.randbytes(draw.randrange(40)).replace(b"\n", b"")
    words = draw.choices(WORDS, k=draw.choice((1, 2, 4, 6, 9, 14)))
    if kind < 0.5:
        words.insert(draw.randrange(len(words) + 1), draw.choice(ODD))
    if kind > 0.997:
        words *= draw.choice((20, 300))
    return b"%d " % number + draw.choice((b" ", b" ", b"")).join(words)


def _object(number: int, draw: random.Random) -> bytes:
    if draw.random() < 0.2:
        return _text(number, draw)
    return draw.choice(OBJECTS) % number


def _ids(number: int, draw: random.Random) -> bytes:
    if draw.random() < 0.2:
        return _text(number, draw)
    numbers = [48 + int(digit) for digit in str(number)] + draw.choices(range(300), k=draw.randrange(9))
    return b" ".join(b"%d" % each for each in numbers)


def _word(number: int, draw: random.Random) -> bytes:
    return _text(number, draw) if draw.random() < 0.2 else draw.choice(WORDS)


@dataclass(frozen=True)
class Arrival:
    """How bytes come to a child, and how its answers are read."""

    name: str
    pieces: str = "all"  # all, random, lines, bytes, characters (cut within one)
    pauses: float = 0.0  # the chance of a pause after a piece
    slow_reader: bool = False
    small_pipes: bool = False
    non_blocking: bool = False
    by_file: bool = False
    ended: bool = True  # whether the last line has its newline
    seed: int = 0


FIRST = (
    Arrival("a file", by_file=True),
    Arrival("all at once"),
    Arrival("line by line", "lines", 0.02),
    Arrival("one byte at a time", "bytes"),
    Arrival("cut within characters", "characters", 0.02),
    Arrival("no newline at the end", ended=False),
    Arrival("a slow reader", slow_reader=True, small_pipes=True),
    Arrival("pipes that do not block", "random", 0.02, non_blocking=True),
)


def arrivals(count: int, seed: int) -> Iterator[Arrival]:
    """The first ones, and then random mixtures of them."""
    yield from (replace(arrival, seed=seed) for arrival in FIRST[:count])
    for number in range(len(FIRST), count):
        draw = random.Random(f"{seed} {number}")
        yield Arrival(
            f"mixture {number}",
            draw.choice(("random", "random", "lines", "characters")),
            draw.choice((0.0, 0.01, 0.05)),
            draw.random() < 0.3,
            draw.random() < 0.5,
            draw.random() < 0.3,
            ended=draw.random() < 0.7,
            seed=draw.randrange(1 << 30),
        )


def pieces(data: bytes, arrival: Arrival, draw: random.Random, most: int = 3000) -> Iterator[bytes]:
    """The data in pieces; after `most` of them the rest comes at once."""
    start = 0
    for _ in range(most):
        if start >= len(data) or arrival.pieces == "all":
            break
        stop = _stop(data, start, arrival.pieces, draw)
        yield data[start:stop]
        start = stop
    yield data[start:]


def _stop(data: bytes, start: int, kind: str, draw: random.Random) -> int:
    if kind == "bytes":
        return start + 1
    if kind == "lines":
        return data.find(b"\n", start) + 1 or len(data)
    stop = min(len(data), start + draw.choice((1, 7, 100, 4096, 65536)))
    while kind == "characters" and start + 1 < stop < len(data) and not data[stop] & 0x80:
        stop -= 1  # the next piece starts with a byte of a character of several, if there is one
    return max(stop, start + 1)


class Done(NamedTuple):
    """What a child wrote, and how it ended."""

    status: int  # -9 also for a child that had to be killed
    output: bytes
    messages: str


@dataclass(frozen=True)
class Child:
    """How a child process is started."""

    arguments: Sequence[str]
    package: Path | None = None  # another checkout
    environment: Mapping[str, str] = field(default_factory=dict)

    def start(self, **streams: Any) -> subprocess.Popen[bytes]:
        """Start it."""
        environment = {"OMP_NUM_THREADS": "1", **os.environ, **self.environment}
        if self.package:
            environment["PYTHONPATH"] = str(self.package)
        command = [sys.executable, "-P", "-m", "nlpseq", *self.arguments]
        return subprocess.Popen(command, env=environment, **streams)

    def run(self, data: bytes, arrival: Arrival, scratch: Path) -> Done:
        """The child's answers to data that come as in an arrival."""
        if not arrival.ended:
            data = data.removesuffix(b"\n")
        answers, own_answers = os.pipe()
        if arrival.by_file:
            (scratch / "input").write_bytes(data)
            own_input, writing = os.open(scratch / "input", os.O_RDONLY), None
        else:
            own_input, writing = os.pipe()
        for descriptor in (own_input, own_answers):
            if arrival.small_pipes and not (arrival.by_file and descriptor == own_input):
                fcntl.fcntl(descriptor, getattr(fcntl, "F_SETPIPE_SZ", fcntl.F_GETFL), 4096)
            os.set_blocking(descriptor, not arrival.non_blocking)
        child = self.start(stdin=own_input, stdout=own_answers, stderr=subprocess.PIPE)
        os.close(own_input)
        os.close(own_answers)
        return _finish(child, answers, writing, data, arrival)


def _finish(child: subprocess.Popen[bytes], answers: int, writing: int | None, data: bytes, arrival: Arrival) -> Done:
    """Write to a child and read what it writes, until both have ended."""
    messages: list[bytes] = []
    reading: Any = child.stderr
    errors = threading.Thread(target=lambda: messages.append(reading.read()))
    writer = threading.Thread(target=_write, args=(writing, data, arrival))
    alarm = threading.Timer(ENDS_WELL * (1 + data.count(b"\n") / 1000), child.kill)
    for thread in (errors, writer, alarm):
        thread.daemon = True
        thread.start()
    output = b"".join(_answers(answers, slow=arrival.slow_reader))
    child.wait()
    alarm.cancel()
    for thread in (errors, writer):
        thread.join()
    os.close(answers)
    reading.close()
    return Done(child.returncode, output, messages[0].decode("utf-8", "replace"))


def _write(descriptor: int | None, data: bytes, arrival: Arrival) -> None:
    if descriptor is None:
        return
    draw = random.Random(arrival.seed)
    try:
        for piece in pieces(data, arrival, draw):
            rest = memoryview(piece)
            while rest:
                rest = rest[os.write(descriptor, rest) :]
            if draw.random() < arrival.pauses:
                time.sleep(draw.choice((0.001, 0.01, 0.05)))
    except BrokenPipeError:  # the child has ended, which its status tells
        pass
    finally:
        os.close(descriptor)


def _answers(descriptor: int, *, slow: bool) -> Iterator[bytes]:
    pauses = 40
    while block := os.read(descriptor, 2000 if slow else 1 << 16):
        yield block
        if slow and pauses:
            pauses -= 1
            time.sleep(0.01)
