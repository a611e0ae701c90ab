"""A worker process: it applies a function to each item that comes on standard input.

The first frame names the function and holds its settings, and each further frame holds an item; the answers go to
standard output. A thread listens to the pipe all the time, and ends the process as soon as the pipe ends: so no worker
outlives its parent, however the parent died.
"""

from __future__ import annotations

import os
import pickle
import signal
import traceback
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from threading import Thread
from typing import Any

from nlpseq.errors import NlpseqError
from nlpseq.workers.frames import read_frame, write_frame
from nlpseq.workers.pool import load


def main() -> None:
    """Answer items until the parent process closes the pipe."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides
    requests, answers = _pipes()
    frames: SimpleQueue[bytes] = SimpleQueue()
    Thread(target=_listen, args=(requests, frames), daemon=True).start()
    apply = _prepared(frames.get())
    with suppress(BrokenPipeError):
        while True:
            write_frame(answers, _answer(apply, frames.get()))


def _pipes() -> tuple[int, int]:
    """Standard input and output under other descriptors: what prints or reads anything meets the null device."""
    pipes = os.dup(0), os.dup(1)
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(null, 1)
    os.close(null)
    return pipes


def _listen(descriptor: int, frames: SimpleQueue[bytes]) -> None:
    with os.fdopen(descriptor, "rb") as stream:
        while (frame := read_frame(stream)) is not None:
            frames.put(frame)
    os._exit(0)


def _prepared(frame: bytes) -> Callable[[Any], Any]:
    """The function with its settings; if that fails, a function that raises the reason for each item."""
    try:
        function, settings = pickle.loads(frame)
        return load(function)(settings)
    except Exception as error:
        fault = error

        def fail(item: Any) -> Any:
            raise fault

        return fail


def _answer(apply: Callable[[Any], Any], frame: bytes) -> bytes:
    """Whether an item has a result, and the result or the exception."""
    try:
        return pickle.dumps((True, apply(pickle.loads(frame))), pickle.HIGHEST_PROTOCOL)
    except Exception as error:
        return _fault(error)


def _fault(error: Exception) -> bytes:
    """An exception, with this process' traceback as a note unless it is one of the package."""
    told = "".join(traceback.format_exception(error))
    if not isinstance(error, NlpseqError):
        error.add_note(f"In a worker process:\n{told}")
    try:
        data = pickle.dumps((False, error))
        pickle.loads(data)
    except Exception:  # an exception may have any constructor
        data = pickle.dumps((False, RuntimeError(told)))
    return data


if __name__ == "__main__":
    main()
