"""Draw the live display of a training run at three widths: docs/live-120.svg, live-80.svg and live-40.svg.

    python docs/tools/live.py

The numbers are those of `nlpseq train lm stories --minutes 1 --random-seed 1` on a machine with two cores.
"""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from rich.console import Console
from rich.text import Text
from tour import SVG

from nlpseq.commands.training.bar import TrainingBar
from nlpseq.commands.training.lines import describe_validation
from nlpseq.training.progress import Progress

DOCS = Path(__file__).parents[1]
WIDTHS = (120, 80, 40)
COMMAND = "nlpseq train lm stories --minutes 1"
EVERY = 6  # steps between two of the losses
LOSSES = """
2.972 2.654 2.360 2.106 2.006 1.905 1.836 1.748 1.578 1.552 1.587 1.512 1.584 1.604 1.438 1.373 1.403 1.397 1.389 1.399
1.392 1.298 1.295 1.341 1.296 1.279 1.368 1.242 1.256 1.249 1.217 1.287 1.265 1.218 1.171 1.156 1.219 1.174 1.224 1.248
1.146 1.117 1.136 1.128 1.164 1.167 1.138 1.099 1.089
"""
VALIDATIONS = {224: (1.1926, 1.3025), 280: (1.1816, 1.2778)}  # step: training and validation loss
LAST = Progress(
    step=300,
    total=448,
    loss=1.1363,
    gradient_norm=0.2144,
    tokens=2048,
    tokens_per_second=16_758.5,
    seconds_left=18.1,
    rate=0.0015,
)


def picture(width: int) -> str:
    """The display in a terminal of that many columns, as SVG."""
    with open(os.devnull, "w", encoding="utf-8") as nothing:
        console = Console(
            record=True, width=width, file=nothing, force_terminal=True, color_system="truecolor", legacy_windows=False
        )
        bar = TrainingBar(console)
        console.print(Text("$ ", "bold green") + Text(COMMAND, "bold"))
        for index, loss in enumerate(LOSSES.split(), 1):
            bar.show(replace(LAST, step=index * EVERY, loss=float(loss)))
        for step, (loss, validation) in VALIDATIONS.items():
            validated = replace(LAST, step=step, loss=loss, validation=validation, best=True)
            console.print(Text(describe_validation(validated)))
        bar.show(replace(LAST, validation=validation, best=True))
        console.print(bar.line)
        text = console.export_svg(title=f"{width} columns", code_format=SVG, unique_id=f"live-{width}")
    return "\n".join(line.rstrip() for line in text.splitlines()) + "\n"


if __name__ == "__main__":
    for each in WIDTHS:
        (DOCS / f"live-{each}.svg").write_text(picture(each), encoding="utf-8")
