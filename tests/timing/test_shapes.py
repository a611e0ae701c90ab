"""Shapes as text, and the usual ones."""

from __future__ import annotations

import pytest

from nlpseq.errors import OptionError
from nlpseq.timing.shapes import (
    PRODUCT_SHAPES,
    ProductShape,
    Shape,
    default_shapes,
    parse_product_shape,
    parse_shape,
    shape_text,
)


def test_a_shape_is_three_numbers() -> None:
    assert parse_shape("35x20x650") == Shape(time=35, batch=20, hidden_size=650)
    assert parse_product_shape("64x512x2048") == ProductShape(rows=64, inputs=512, outputs=2048)
    assert shape_text(Shape(35, 20, 650)) == "35x20x650"


@pytest.mark.parametrize(
    "text", ["", "3x2", "3x2x1x4", "0x2x3", "-1x2x3", "3 x 2 x 1", "٣x2x1", "1x1x8193", "8193x8192x1"]
)
def test_a_text_that_is_no_shape_or_too_large_is_refused(text: str) -> None:
    with pytest.raises(OptionError) as refused:
        parse_shape(text)
    assert refused.value.where == "shape"
    assert parse_shape(refused.value.hint.removeprefix("--shape "))


@pytest.mark.parametrize("text", ["3x4", "0x1x1", "65536x1025x1", "1x65536x1025", "65536x1x1025"])
def test_a_text_that_is_no_product_or_too_large_is_refused(text: str) -> None:
    with pytest.raises(OptionError) as refused:
        parse_product_shape(text)
    assert refused.value.where == "shape"
    assert parse_product_shape(refused.value.hint.removeprefix("--shape "))


def test_a_usual_shape_can_be_typed() -> None:
    assert set(default_shapes("cpu")) < set(default_shapes("cuda"))
    for shape in default_shapes("cuda"):
        assert parse_shape(shape_text(shape)) == shape
    for product in PRODUCT_SHAPES:
        assert parse_product_shape(shape_text(product)) == product
