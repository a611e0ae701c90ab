"""What would steer a terminal reaches none; a pipe gets every byte."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from nlpseq.models.model_file import read_tensors, write_tensors
from nlpseq.models.model_path import bundled_file
from nlpseq.text.display import harmless

pty = pytest.importorskip("pty", reason="this system has no pseudo-terminals")

EVIL = "\x1b]0;title\x07\x1b[2J\x9b31m\x7f\u202e\u2066\x08\x1b[5n"
NAME = f"text {EVIL}.txt"
LEFT = re.compile("[\0-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
OURS = re.compile(r"\x1b\[(?:\d+;?)*m|\x1b\[\?25[lh]|\x1b\[\d*[AK]|\r")  # colours, and the movements of the live line
COMMANDS = {
    "classify": ["-m", "evil.safetensors", "a dull film"],
    "classify --all": ["-m", "evil.safetensors", f"a dull {EVIL}"],
    "classify --json": ["-m", "evil.safetensors", f"a dull {EVIL}"],
    "inspect model": ["-m", "evil.safetensors"],
    "inspect words": ["-m", "evil.safetensors", f"a dull {EVIL} film"],
    "inspect attention": [f"a cat {EVIL}"],
    "corpus show": [NAME],
    "corpus check": [NAME],
    "corpus check --labels": ["labels.tsv"],
    "generate": ["--seed", EVIL, "--length", "5"],
    "generate --json": ["--seed", EVIL, "--length", "5"],
    "generate -m": [f"nothing{EVIL}"],
    "translate --json": [EVIL],
    "translate -m": [f"nothing{EVIL}", "x"],
    "score --json": [EVIL],
    "score": [f"nothing{EVIL}.txt"],
    "embed -m": [f"nothing{EVIL}", "x"],
    "nearest": [EVIL, "--in", NAME],
    "evaluate -m stories": [NAME],
    "evaluate -m evil.safetensors": ["labels.tsv"],
    "tokenize encode -m stories --pieces": [EVIL],
    "tokenize decode -m stories": ["27 93 48 59 7 127 194 155"],
    "tokenize train --vocab-size 280": [NAME, "--out", f"tokens {EVIL}"],
    "runs": ["."],
    "runs --json": [f"nothing{EVIL}"],
    "bench decode -m": [f"nothing{EVIL}"],
    "train lm --steps 2 --hidden-size 8 --overwrite": [NAME, "--out", f"run {EVIL}"],
    "train lm --config": [EVIL],
    "unknown": [EVIL],
}

PROGRAM = """
import json, os, sys
from nlpseq.commands import cli
import typer
program = typer.main.get_command(cli.app)
for words in json.loads(sys.argv[1]):
    os.write(1, b"<<<")
    try:
        program.main(words, prog_name="nlpseq")
    except SystemExit:
        pass
    sys.stderr.flush()
    os.write(1, b">>>")
"""


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What each command writes to a terminal: standard output and standard error. One process runs them all."""
    import json

    folder = tmp_path_factory.mktemp("terminal")
    (folder / NAME).write_text(f"the cat {EVIL} sat\n" * 300)
    (folder / "labels.tsv").write_text(f"label\ttext\nneg{EVIL}\tgood {EVIL} film\npos\tbad film\n" * 5)
    header, tensors = read_tensors(bundled_file("reviews") or Path())
    header = {key: value for key, value in header.items() if key != "storage"}
    header |= {"labels": [f"neg{EVIL}", "pos"], "data": {"corpus": [NAME]}}
    write_tensors(folder / "evil.safetensors", header, tensors)
    (folder / f"other {EVIL}").mkdir()
    (folder / f"other {EVIL}" / "config.json").write_text(json.dumps({"task": EVIL, "asked": {"corpus": [EVIL]}}))
    lines = [[*command.split(), *arguments] for command, arguments in COMMANDS.items()]
    terminal, ours = pty.openpty()
    settings = {**os.environ, "TERM": "xterm", "OMP_NUM_THREADS": "1"}
    program = [sys.executable, "-c", PROGRAM, json.dumps(lines)]
    with subprocess.Popen(program, cwd=folder, env=settings, stdin=subprocess.DEVNULL, stdout=ours, stderr=ours):
        os.close(ours)
        data = b""
        while block := _read(terminal):
            data += block
    os.close(terminal)
    found = re.findall("<<<(.*?)>>>", data.decode("utf-8", "replace"), re.DOTALL)
    assert len(found) == len(COMMANDS)
    return dict(zip(COMMANDS, found, strict=True))


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 65536)
    except OSError:  # nothing writes to the terminal any more
        return b""


@pytest.mark.parametrize("command", COMMANDS)
def test_nothing_steers_a_terminal(command: str, shown: dict[str, str]) -> None:
    text = shown[command]
    assert text.strip() and "Traceback" not in text, text
    assert not LEFT.findall(OURS.sub("", text)), text


@pytest.mark.parametrize("command", ["classify", "inspect model", "corpus show", "generate", "inspect words"])
def test_what_was_escaped_is_still_told(command: str, shown: dict[str, str]) -> None:
    assert "]0;title" in shown[command]


def test_a_pipe_gets_every_byte(tmp_path: Path) -> None:
    data = f"the {EVIL} cat\nsat \r ä\n".encode()
    (tmp_path / NAME).write_bytes(data)
    words = [sys.executable, "-m", "nlpseq", "corpus", "show", NAME]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, check=True)
    assert done.stdout == data


def test_what_steers_a_terminal_is_spelled_as_in_json() -> None:
    spelled = r"a\u001bb\u0007\u007f\u009b\u202e\u2069 \u000d"
    assert harmless("a\x1bb\x07\x7f\x9b\u202e\u2069 \r") == spelled
    assert harmless("tab\tline\nä 猫 \u200d\u00ad") == "tab\tline\nä 猫 \u200d\u00ad"
    assert harmless("\udc9b\ud800") == "\ufffd\ufffd"
