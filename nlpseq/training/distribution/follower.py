"""A process that the first one of a run has started: `python -m nlpseq.training.distribution.follower`."""

from __future__ import annotations

import os
import sys
import threading
from contextlib import suppress
from pathlib import Path

from nlpseq.errors import Interrupted, NlpseqError
from nlpseq.tasks import TASKS
from nlpseq.text.display import printable
from nlpseq.training.distribution.launch import follow, read_hello, remove_store, take_device
from nlpseq.training.distribution.processes import ProcessLost


def _end_with_first(store: Path) -> None:
    """Wait until the first process has closed its end of the pipe, which it also does when it is killed."""
    with suppress(OSError):
        os.read(sys.stdin.fileno(), 1)  # not through Python's buffer, whose lock the interpreter needs to end
    remove_store(store.parent)
    os._exit(1)


def main() -> int:
    """Train as the first process says; the status of this process."""
    hello = read_hello(sys.stdin.buffer)
    threading.Thread(target=_end_with_first, args=(Path(hello.store),), daemon=True).start()
    from nlpseq.training.distribution.group import Group, file_store

    uses_gpu = take_device(hello.request, hello.index, hello.count)
    try:
        store = file_store(hello.store, hello.count)
        group = Group(hello.index, hello.count, store, uses_gpu=uses_gpu, on_one_machine=True)
        try:
            follow(TASKS[hello.task], hello.request, group)
        finally:
            group.close()
    except ProcessLost:
        return 1  # the first process says which one has ended
    except Interrupted as stop:
        return 128 + stop.signal_number
    except NlpseqError as error:
        print(f"error: process {hello.index + 1} of {hello.count}: {printable(str(error))}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
