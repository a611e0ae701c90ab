"""Which sockets commands open on local input: `python benchmarks/no_sockets.py [COMMAND...]`.

Each command runs under strace, its threads and processes included. No socket may be opened but those between processes
of one machine (AF_UNIX), so no name is looked up and nothing is sent. The input is made here: text, tables, parquet
files with odd names, a model trained in the first command. The programs cost two minutes on one core.

    python benchmarks/no_sockets.py                  all commands
    python benchmarks/no_sockets.py train corpus     those whose first word is named

The status is 1 if a command opened another socket or failed, and 2 without strace. The last table has a row for each.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

TINY = ("--steps", "2", "--hidden-size", "8", "--quiet", "--overwrite")
COMMANDS: tuple[tuple[str, ...], ...] = (
    ("train", "lm", "text.txt", *TINY, "--out", "lm"),
    ("train", "sentiment", "a[1].parquet", "--unlabelled", "text.txt", *TINY, "--out", "sentiment"),
    ("train", "translation", "pairs.tsv", *TINY, "--out", "translation"),
    ("distil", "lm", "text.txt", *TINY, "--out", "small"),
    ("generate", "--seed", "the", "--length", "5", "-m", "lm"),
    ("generate", "--seed", "the", "--length", "5", "--save-state", "here.state"),
    ("classify", "text.txt"),
    ("classify", "--processes", "2", "text.txt"),
    ("translate", "lines.txt"),
    ("score", "text.txt"),
    ("score", "-m", "english-german", "--source", "lines.txt", "lines.txt"),
    ("embed", "--output", "vectors.npy", "lines.txt"),
    ("nearest", "cat", "--in", "lines.txt"),
    ("evaluate", "-m", "lm", "text.txt", "--baseline"),
    ("evaluate", "-m", "sentiment", "a[1].parquet"),
    ("evaluate", "-m", "translation", "pairs.tsv"),
    ("tokenize", "train", "text.txt", "--vocab-size", "280"),
    ("tokenize", "encode", "-t", "tokeniser.json", "text.txt"),
    ("corpus", "list"),
    ("corpus", "show", "text.txt"),
    ("corpus", "show", "--text-column", "text", "a[1].parquet"),
    ("corpus", "show", "--text-column", "text", "s3://a.parquet"),
    ("corpus", "check", "text.txt", "--against", "lines.txt"),
    ("corpus", "check", "--labels", "b*.parquet"),
    ("inspect", "model", "-m", "lm"),
    ("inspect", "words", "a dull film"),
    ("inspect", "attention", "a cat"),
    ("runs", "."),
)
OPENED = re.compile(r"\bsocket(?:pair)?\((\w+)")


def make_input(folder: Path) -> None:
    """Write the input of all commands to a folder."""
    import pyarrow
    from pyarrow import parquet

    (folder / "text.txt").write_text("".join(f"the cat {number} sat on the mat.\n" for number in range(400)))
    (folder / "lines.txt").write_text("a cat sleeps.\n" * 20)
    (folder / "pairs.tsv").write_text("".join(f"the cat {number}\tdie Katze {number}\n" for number in range(100)))
    (folder / "s3:").mkdir()
    texts = [f"good film {number}" if number % 2 else f"bad film {number}" for number in range(100)]
    table = pyarrow.table({"label": ["bad", "good"] * 50, "text": texts})
    for name in ("a[1].parquet", "a1.parquet", "b*.parquet", "s3:/a.parquet"):
        with (folder / name).open("wb") as file:
            parquet.write_table(table, file)


def sockets(command: Sequence[str], folder: Path) -> tuple[int, list[str]]:
    """The exit status of a command, and the families of the sockets that it opened, but for AF_UNIX."""
    trace = folder / "trace"
    run = [sys.executable, "-m", "nlpseq", *command]
    traced = ["strace", "-f", "-qq", "-e", "trace=socket,socketpair", "-o", str(trace), *run]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        traced, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, env=environment, timeout=600, check=False
    )
    families = OPENED.findall(trace.read_text(errors="replace"))
    return done.returncode, [family for family in families if family not in ("AF_UNIX", "AF_LOCAL")]


def main() -> int:
    """Try the commands; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("commands", nargs="*", metavar="COMMAND", help="first words of commands")
    parser.add_argument("--out", type=Path, help="a file for the table, too")
    asked = parser.parse_args()
    if shutil.which("strace") is None:
        print("this program needs strace", file=sys.stderr)
        return 2
    table, found = "| command | status | sockets |\n|---|---|---|\n", 0
    with tempfile.TemporaryDirectory() as folder:
        make_input(Path(folder))
        for command in COMMANDS:
            if asked.commands and command[0] not in asked.commands:
                continue
            status, opened = sockets(command, Path(folder))
            found += bool(opened) or status != 0
            table += f"| `{' '.join(command)}` | {status} | {', '.join(opened) or 'none'} |\n"
            print(f"{' '.join(command)}: status {status}, {', '.join(opened) or 'no'} sockets", flush=True)
    print(f"\n{table}")
    if asked.out is not None:
        asked.out.write_text(table)
    return int(found > 0)


if __name__ == "__main__":
    sys.exit(main())
