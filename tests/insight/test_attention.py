"""Attention as numbers, shades and a drawing."""

from __future__ import annotations

import json
from xml.etree import ElementTree

import numpy as np

from nlpseq.insight.attention import NEWLINE_SIGN, SHADES, draw, shade, text_width, to_json
from nlpseq.models.attention import Alignment

ALIGNMENT = Alignment(["<a>", "b&", "\n"], ["猫", "x", "\n"], np.array([[1, 0, 0], [0.5, 0.5, 0], [0.1, 0.2, 0.7]]))


def test_json_has_tokens_and_shares() -> None:
    found = json.loads(json.dumps(to_json(ALIGNMENT)))
    assert found == {"source": ALIGNMENT.source, "target": ALIGNMENT.target, "shares": ALIGNMENT.shares.tolist()}


def test_shades_are_as_dark_as_shares_are_large() -> None:
    numbers, cat, x, end, blank, legend = shade(ALIGNMENT)
    assert numbers.split() == ["1", "2", "3"] and not blank
    assert legend == f"1 <a>  2 b&  3 {NEWLINE_SIGN}"
    assert cat == f"猫 {SHADES[-1] * 2}"
    assert x == f" x {SHADES[2] * 4}"
    assert end == f" {NEWLINE_SIGN} {SHADES[0] * 2}{SHADES[1] * 2}{SHADES[4] * 2}"


def test_the_drawing_is_xml_with_a_cell_for_each_share() -> None:
    root = ElementTree.fromstring(draw([ALIGNMENT, ALIGNMENT]))
    cells = [one for one in root.iter() if one.get("class") == "cell"]
    assert len(cells) == 2 * np.count_nonzero(ALIGNMENT.shares)
    assert {float(one.get("opacity", "")) for one in cells} == {1, 0.5, 0.1, 0.2, 0.7}
    words = [one.text for one in root.iter() if one.tag.endswith("text")]
    assert words == ["<a>", "b&", NEWLINE_SIGN, "猫", "x", NEWLINE_SIGN] * 2
    width, height = float(root.get("width", "0")), float(root.get("height", "0"))
    for one in cells:
        assert 0 < float(one.get("x", "")) < width - 22 and 0 < float(one.get("y", "")) < height - 22
    assert ElementTree.fromstring(draw([])) is not None


def test_widths_are_those_of_a_terminal() -> None:
    assert [text_width(text) for text in ("abc", "猫", "e\u0301", "")] == [3, 2, 1, 0]
