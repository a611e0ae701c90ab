"""The live line: what it shows at each width of the terminal, and the pictures of it in docs/."""

from __future__ import annotations

import html
import io
import re
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from nlpseq.commands.training.bar import ReadingBar, TrainingBar
from nlpseq.training.progress import Progress

ROOT = Path(__file__).parents[3]
sys.path.insert(0, str(ROOT / "docs" / "tools"))

import live  # noqa: E402

STEP = Progress(
    step=205,
    total=1634,
    loss=1.3216,
    gradient_norm=0.2,
    tokens=2048,
    tokens_per_second=53_696.0,
    seconds_left=54.0,
    rate=0.003,
)
LEFT, NUMBER, TRAINING, BEST, SPEED = (
    "0:54 left",
    "step 205/1,634",
    "training 1.3216",
    "best validation 1.3008",
    "53,696 tokens/s",
)
BAR = "━╸╺-"
SHAPES = "▁▂▃▄▅▆▇█"


def _console(width: int, encoding: str = "utf-8") -> Console:
    file = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    return Console(file=file, force_terminal=True, width=width, color_system="truecolor", legacy_windows=False)


def _text(console: Console) -> str:
    """What a terminal shows of the last line that was drawn."""
    console.file.seek(0)
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", console.file.read()).split("\n")[-2].rstrip()


def _shown(width: int, *, encoding: str = "utf-8", change: Callable[[TrainingBar], object] = lambda bar: None) -> str:
    console = _console(width, encoding)
    bar = TrainingBar(console)
    for step in range(1, 206):
        bar.show(replace(STEP, step=step, loss=STEP.loss + (205 - step) / 100))
    bar.show(replace(STEP, validation=1.3008, best=True))
    bar.show(replace(STEP, validation=1.4))
    change(bar)
    console.print(bar.line)
    return _text(console)


@pytest.mark.parametrize(
    ("width", "texts"),
    [
        (120, [LEFT, NUMBER, TRAINING, BEST, SPEED]),
        (100, [LEFT, NUMBER, TRAINING, BEST, SPEED]),
        (80, [LEFT, NUMBER, TRAINING, BEST]),
        (60, [LEFT, NUMBER, TRAINING]),
        (40, [LEFT, NUMBER]),
        (20, [LEFT]),
    ],
)
def test_texts_drop_from_the_right_and_the_bar_and_the_time_left_stay(width: int, texts: list[str]) -> None:
    shown = _shown(width)
    bar, rest = re.fullmatch(rf"([{BAR}]+)  (.*)", shown).groups()  # type: ignore[union-attr]
    found = rest.split("  ")
    assert found[: len(texts)] == texts
    assert len(shown) <= width and len(bar) >= min(10, width - len(LEFT) - 2)
    sparkline = found[len(texts) :]
    assert [set(shapes) <= set(SHAPES) for shapes in sparkline] == ([True] if width == 120 else [])


def test_the_bar_is_as_full_as_the_run() -> None:
    """An eighth of the steps fill an eighth of the bar, to one character."""
    console = _console(80)
    bar = TrainingBar(console)
    bar.show(replace(STEP, step=200, total=1600))
    console.print(bar.line)
    console.file.seek(0)
    pieces = re.findall(r"\x1b\[([\d;]+)m([━╸╺]+)", console.file.read())
    full = sum(len(piece) for style, piece in pieces if style == pieces[0][0])
    length = sum(len(piece) for style, piece in pieces)
    assert abs(full - length / 8) <= 1 and full < length >= 10


def test_no_text_is_there_before_it_is_known() -> None:
    console = _console(120)
    bar = TrainingBar(console)
    console.print(bar.line)
    assert _text(console).strip(BAR + " ") == ":-- left"
    bar.show(replace(STEP, total=None, seconds_left=None))
    console.print(bar.line)
    assert "  -:-- left  step 205/?  training 1.3216  53,696 tokens/s" in _text(console)


def test_the_score_that_the_best_model_is_chosen_by_is_shown() -> None:
    shown = _shown(
        120, change=lambda bar: bar.show(replace(STEP, validation=1.2, score=12.345, criterion="bleu", best=True))
    )
    assert "best bleu 12.35" in shown or "best bleu 12.34" in shown


def test_the_final_evaluation_is_in_place_of_the_time_left() -> None:
    assert re.match(rf"[{BAR}]+  evaluating  step 205/1,634", _shown(40, change=TrainingBar.evaluate))


def test_a_terminal_of_ascii_has_a_bar_of_ascii() -> None:
    shown = _shown(120, encoding="ascii")
    assert shown.isascii() and shown.startswith("-") and LEFT in shown


def test_text_of_the_model_is_no_markup() -> None:
    console = _console(30)
    TrainingBar(console).say("[red]a[/red] " + "x" * 40 + " [/]")
    assert _text(console) == "[red]a[/red] " + "x" * 40 + " [/]"


@pytest.mark.parametrize(
    ("watched", "shown"),
    [
        ([("reading a.txt", 45, 100)], "45%  reading a.txt"),
        ([("a", 3, 4), ("counting", 1234, None)], "1,234  counting"),
    ],
)
def test_reading_is_shown(watched: list[tuple[str, int, int | None]], shown: str) -> None:
    console = _console(60)
    bar = ReadingBar(console, delay=0.0)
    for work in watched:
        bar.show(*work)
    console.print(bar.line)
    assert re.fullmatch(rf"[{BAR}]+  {shown}", _text(console))


def test_reading_that_takes_a_moment_shows_nothing() -> None:
    console = _console(60)
    bar = ReadingBar(console, delay=60.0)
    bar.show("reading a.txt", 45, 100)
    console.print(bar.line)
    console.file.seek(0)
    assert "reading" not in console.file.read()


@pytest.mark.parametrize("width", live.WIDTHS)
def test_the_picture_shows_the_line_as_it_is(width: int) -> None:
    """Compared as text, because another version of rich draws other coordinates."""
    picture = (ROOT / "docs" / f"live-{width}.svg").read_text(encoding="utf-8")
    made = live.picture(width)
    texts = [
        re.findall(r"<text [^>]*>(.*?)</text>", html.unescape(svg).replace("\xa0", " "), re.DOTALL)
        for svg in (picture, made)
    ]
    assert texts[0] == texts[1]
    shown = "".join(texts[0])
    assert "━" in shown and "0:18 left" in shown
