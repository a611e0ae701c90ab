"""A comparison on a screen: for each measure the sides with their intervals, their differences, and which is better."""

from __future__ import annotations

from nlpseq.commands import output
from nlpseq.commands.tables.score_table import INDENT, WIDTH, broken
from nlpseq.evaluation.comparison.records import (
    BOOTSTRAP,
    PAIRED_AR,
    PAIRED_BS,
    Compared,
    Comparison,
    Difference,
    SideScore,
)
from nlpseq.text.display import shortened

LONGEST = 24  # columns of a side's name in the table
LEAST = 0.001  # p-values below are not written out

Row = tuple[str, ...]


def comparison_lines(comparison: Comparison) -> list[str]:
    """The tables of all measures, each with a sentence for each difference, and the signatures."""
    lines = []
    for compared in comparison.compared:
        lines += [*_measure_lines(compared), ""]
    lines.append("signatures:" if len(comparison.compared) > 1 else "signature:")
    for compared in comparison.compared:
        lines += broken(output.printable(compared.signature))
    return [line.rstrip() for line in lines]


def _measure_lines(compared: Compared) -> list[str]:
    first, *others = compared.sides
    several = any(side.spread is not None for side in compared.sides)
    tested = any(BOOTSTRAP in each.p_values for each in compared.differences)
    last = (["spread"] if several else []) + ["p"] + (["bootstrap p"] if tested else [])
    rows = [(compared.measure.name, "value", "95 % interval", *last), _side_row(first, several)]
    for side, difference in zip(others, compared.differences, strict=True):
        rows += [_side_row(side, several), _difference_row(difference, several)]
    width = max(map(len, rows))
    lines = output.table_lines([(*row, *[""] * (width - len(row))) for row in rows])
    for difference in compared.differences:
        lines += _wrapped(_sentence(compared, difference))
    if library := _library_rows(compared):
        lines += [f"{INDENT}as sacrebleu --paired-bs, --paired-ar:", *output.table_lines(library)]
    return lines


def _side_row(side: SideScore, several: bool) -> Row:
    spread = [] if not several else ["" if side.spread is None else f"{side.spread:.4g}"]
    return (
        INDENT + _name(side.name),
        f"{side.value:.6g}",
        f"{side.interval.low:.5g} to {side.interval.high:.5g}",
        *spread,
    )


def _difference_row(difference: Difference, several: bool) -> Row:
    between = f"{difference.interval.low:+.4g} to {difference.interval.high:+.4g}"
    ways = [_p(difference.p), *(_p(p) for way, p in difference.p_values.items() if way == BOOTSTRAP)]
    return (f"{INDENT * 2}difference", f"{difference.value:+.4g}", between, *([""] if several else []), *ways)


def _library_rows(compared: Compared) -> list[Row]:
    """What sacrebleu prints for the sides: mean, half-width and p-values; none for other scores."""
    p_values = {each.name: each.p_values for each in compared.differences}
    rows: list[Row] = []
    for side in compared.sides:
        if side.sacrebleu is None:
            return []
        shown = f"{side.value:.1f} ({side.sacrebleu.mean:.1f} ± {side.sacrebleu.half_width:.1f})"
        found = p_values.get(side.name, {})
        both = [f"p = {found[way]:.4f}" for way in (PAIRED_BS, PAIRED_AR) if way in found]
        rows.append((INDENT * 2 + _name(side.name), shown, ", ".join(both)))
    return rows


def _sentence(compared: Compared, difference: Difference) -> str:
    first, other = _name(compared.sides[0].name), _name(difference.name)
    unit = " points" if compared.measure.is_per_cent else ""
    amount = f"{abs(difference.value):.4g}{unit}"
    if difference.equal:
        return f"{first} and {other} are alike in every {compared.noun}."
    if difference.better is None:
        way = "lower" if difference.value < 0 else "higher"
        return f"Neither is shown to be better: that of {other} is {amount} {way}, which may be chance."
    ends = sorted(map(abs, difference.interval))
    way = "lower" if compared.measure.lower_is_better else "higher"
    better = _name(difference.better)
    return f"{better} is better: its {compared.measure.name} is {amount} ({ends[0]:.4g} to {ends[1]:.4g}) {way}."


def _wrapped(sentence: str) -> list[str]:
    """A sentence in indented lines."""
    lines = [INDENT.rstrip()]
    for word in sentence.split(" "):
        if len(lines[-1]) + len(word) + 1 > WIDTH:
            lines.append(INDENT.rstrip())
        lines[-1] += (" " if lines[-1].strip() else INDENT) + word
    return lines


def _p(value: float) -> str:
    return f"<{LEAST}" if value < LEAST else f"{value:.3f}"


def _name(name: str) -> str:
    """A name in the table; of a long one the end, which tells paths apart."""
    return shortened(output.printable(name)[::-1], LONGEST, "…")[::-1]
