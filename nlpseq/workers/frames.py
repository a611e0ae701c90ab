"""Frames on a pipe: a length of eight bytes, and as many bytes."""

from __future__ import annotations

import os
from typing import BinaryIO

LENGTH = 8  # bytes


def write_frame(descriptor: int, data: bytes) -> None:
    """Write a frame to a pipe, as far as its reader keeps up. Raises BrokenPipeError if the reader has gone."""
    for rest in (memoryview(len(data).to_bytes(LENGTH, "little")), memoryview(data)):
        while rest:
            rest = rest[os.write(descriptor, rest) :]


def read_frame(stream: BinaryIO) -> bytes | None:
    """The next frame of a pipe, or None if its writer has gone, even in the middle of a frame."""
    head = stream.read(LENGTH)
    size = int.from_bytes(head, "little")
    data = stream.read(size)
    return data if len(head) == LENGTH and len(data) == size else None
