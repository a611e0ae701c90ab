"""Run every page with the training that it names, and write what was measured into README.md, docs/ and the picture.

    python docs/tools/tour.py             all of it: some ten minutes
    python docs/tools/tour.py --picture   only docs/terminal.svg, from the models in checkpoints/

The pages are run in the order of `blocks.pages`; models that README.md trains are there for all others. Blocks that
are not marked as measured are run and left as they are: the tests hold them.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from contextlib import chdir
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from blocks import ROOT, Block, Shell, environment, pages, read_blocks, read_examples, shown
from rich.console import Console
from rich.text import Text

PICTURE = ROOT / "docs" / "terminal.svg"
WIDTH = 88
SHOWN = (
    'nlpseq generate --seed "The harbour" --length 150 --random-seed 4',
    'echo "The nights were astonishingly quiet." | nlpseq classify',
    'nlpseq inspect words "a dull film with a wonderful end"',
    'nlpseq inspect attention "The tired doctor thanked the brothers."',
)
SVG = """<svg class="rich-terminal" viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">
<style>
.{unique_id}-matrix {{ font-family: "DejaVu Sans Mono", Menlo, Consolas, monospace; font-size: {char_height}px;
  line-height: {line_height}px; font-variant-east-asian: full-width; }}
{styles}
</style>
<defs>
<clipPath id="{unique_id}-clip-terminal">
<rect x="0" y="0" width="{terminal_width}" height="{terminal_height}"/></clipPath>
{lines}
</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
</svg>
"""


def measure(path: Path, folder: Path, variables: dict[str, str]) -> None:
    """Run a page in a folder, and write what was measured into it."""
    page = path.read_text(encoding="utf-8")
    shell = Shell(folder, variables, quick=False)
    texts: list[tuple[Block, str]] = []
    with chdir(folder):
        for block in read_blocks(page):
            if block.language in ("console", "python"):
                texts.append((block, measured(shell, block)))
    for block, text in reversed(texts):
        if block.measured:
            page = page[: block.start] + text + page[block.end :]
    path.write_text(page, encoding="utf-8")


def measured(shell: Shell, block: Block) -> str:
    """A block's text with the output of its examples as it is now."""
    lines: list[str] = []
    for example in read_examples(block):
        print(example.source)
        found, _ = shell.run(block, example)
        print(*found, sep="\n", flush=True)
        if any(line.startswith("Traceback") for line in found):
            raise SystemExit(f"line {block.line}: a traceback")
        lines += [example.source, *shown(example, found)]
    return "\n".join(lines) + "\n"


def draw(folder: Path, variables: dict[str, str]) -> None:
    """Write the picture: the commands of SHOWN as a terminal shows them."""
    with open(os.devnull, "w") as nothing:
        console = Console(record=True, width=WIDTH, file=nothing, force_terminal=True, color_system="truecolor")
        for command in SHOWN:
            console.print(Text("$ ", "bold green") + Text(command, "bold"))
            console.print(Text.from_ansi(on_terminal(command, folder, variables)))
        text = console.export_svg(title="nlpseq", code_format=SVG, unique_id="nlpseq")
    PICTURE.write_text("\n".join(line.rstrip() for line in text.splitlines()) + "\n", encoding="utf-8")


def on_terminal(command: str, folder: Path, variables: dict[str, str]) -> str:
    """What a command writes to a terminal of its own, escapes included."""
    import pty  # only systems of the POSIX family have it

    child, descriptor = pty.fork()
    if child == 0:
        os.chdir(folder)
        known = {name: value for name, value in variables.items() if name != "NO_COLOR"}
        os.execvpe("sh", ["sh", "-c", command], {**known, "TERM": "xterm-256color", "COLUMNS": str(WIDTH)})
    pieces = []
    while True:
        try:
            piece = os.read(descriptor, 1 << 16)
        except OSError:  # Linux says so when the other end is closed
            break
        if not piece:
            break
        pieces.append(piece)
    os.waitpid(child, 0)
    return b"".join(pieces).decode("utf-8", "replace").replace("\r\n", "\n").rstrip("\n")


def main() -> None:
    """Run every page, or draw the picture alone."""
    with tempfile.TemporaryDirectory() as scratch:
        variables = environment(Path(scratch) / "bin")
        if "--picture" in sys.argv:
            draw(Path.cwd(), variables)
            return
        first = None
        for path in pages():
            folder = Path(scratch) / path.stem
            if first is not None:
                shutil.copytree(first / "checkpoints", folder / "checkpoints")
            folder.mkdir(exist_ok=True)
            print(f"=== {path.relative_to(ROOT)}")
            measure(path, folder, variables)
            if first is None:
                first = folder
                draw(folder, variables)


if __name__ == "__main__":
    main()
