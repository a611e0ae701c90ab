"""The process in which fuzz_files.py runs commands: a line of JSON with a folder and arguments in, the outcome out."""

from __future__ import annotations

import io
import json
import os
import resource
import sys
import traceback
from importlib import import_module
from pathlib import Path
from typing import Any

import sanitized


def work(memory: int) -> None:
    """Run commands until the input ends; each may map `memory` more bytes than this process has."""
    for name in (
        "torch",
        "nlpseq.training.tasks.task_run",
        "nlpseq.commands.cli",
    ):  # so that what they map does not count
        import_module(name)
    mapped = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    if sanitized.LIBRARY not in os.environ:  # a sanitizer maps terabytes
        resource.setrlimit(resource.RLIMIT_AS, (mapped + memory, mapped + memory))
    answers = os.fdopen(os.dup(1), "wb")
    for line in sys.stdin.buffer:
        folder, arguments = json.loads(line)
        os.chdir(folder)
        answers.write(json.dumps(run(arguments)).encode() + b"\n")
        answers.flush()


def run(arguments: list[str]) -> tuple[int, str, str]:
    """The status, the output and the errors of a command that runs in this process."""
    from nlpseq.commands.cli import app

    streams = {name: getattr(sys, name) for name in ("stdin", "stdout", "stderr")}
    output, errors = (io.TextIOWrapper(io.BytesIO(), "utf-8", "surrogateescape") for _ in range(2))
    sys.stdin, sys.stdout, sys.stderr = io.TextIOWrapper(io.BytesIO(), "utf-8"), output, errors
    status: Any = 0
    try:
        status = app(arguments, prog_name="nlpseq", standalone_mode=False)
    except SystemExit as end:
        status = end.code
    except BaseException:
        status = 70
        traceback.print_exc()
    finally:
        for name, stream in streams.items():
            setattr(sys, name, stream)
    texts = []
    for stream in (output, errors):
        stream.flush()
        texts.append(stream.buffer.getvalue().decode("utf-8", "replace"))
    return status if isinstance(status, int) else 0, texts[0], texts[1]


def main() -> None:
    """Run a training command, and end this process as soon as the run is saved before its end."""
    from nlpseq.commands import cli
    from nlpseq.training.run_folder import RunFolder

    save = RunFolder.save_resume

    def save_and_end(self: RunFolder, header: Any, *rest: Any) -> None:
        save(self, header, *rest)
        if 0 < header["step"] < (header["total"] or 0):
            os._exit(0)

    RunFolder.save_resume = save_and_end  # type: ignore[method-assign]
    cli.main()


if __name__ == "__main__":
    work(int(sys.argv[1]))
