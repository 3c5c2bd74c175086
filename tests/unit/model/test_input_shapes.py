"""Shapes that a plan is made for."""

from __future__ import annotations

import pytest

from onnxmesh.errors import InvalidRequest
from onnxmesh.model.input_shapes import InputShapes
from onnxmesh.model.tensor_spec import TensorSpec

IDS = TensorSpec("ids", "INT64", (-1, -1))
MASK = TensorSpec("mask", "INT64", (-1, -1))
IMAGE = TensorSpec("image", "FP32", (-1, 3, -1, -1))
SYMBOLS = {"ids": ("N", "L"), "mask": ("N", "L"), "image": ("N", 3, None, None)}


def test_shapes_default_to_the_batch_and_one():
    """Where no shape is given."""
    shapes = InputShapes(batch=4).of((IDS, IMAGE), SYMBOLS)
    assert shapes == {"ids": (4, 1), "image": (4, 3, 1, 1)}


def test_shapes_give_equal_symbols_equal_sizes():
    """One shape that is given settles every input that shares its symbols; it wins over the batch."""
    given = InputShapes(batch=2, inputs={"mask": (8, 128)})
    assert given.of((IDS, MASK, IMAGE), SYMBOLS) == {
        "ids": (8, 128),
        "mask": (8, 128),
        "image": (8, 3, 1, 1),
    }
    assert given.symbol_sizes((IDS, MASK, IMAGE), SYMBOLS) == {"N": 8, "L": 128}


def test_shapes_apply_the_batch_to_every_axis_of_its_symbol():
    """A symbol that comes first in any input counts the batch in all of them."""
    late = TensorSpec("late", "FP32", (5, -1))
    assert InputShapes(batch=6).of((late, IDS), {"late": (5, "N"), "ids": ("N", "L")}) == {
        "late": (5, 6),
        "ids": (6, 1),
    }


def test_shapes_that_contradict_each_other_are_refused():
    """The message names the symbol, both figures and both inputs."""
    given = InputShapes(inputs={"ids": (1, 128), "mask": (1, 64)})
    with pytest.raises(InvalidRequest, match="'L' is 128 in the shape for 'ids' and 64 in that for 'mask'"):
        given.of((IDS, MASK), SYMBOLS)


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        ({"pixels": (1,)}, "'pixels': the model's inputs are ids, image"),
        ({"image": (1, 4, 2, 2)}, r"'image': expected \[-1, 3, -1, -1\] \(-1 is free\), got \[1, 4, 2, 2\]"),
        ({"ids": (1,)}, r"'ids': expected \[-1, -1\]"),
    ],
)
def test_shapes_that_contradict_the_model_are_refused(inputs, words):
    """Unknown inputs, fixed dimensions, ranks."""
    with pytest.raises(InvalidRequest, match=words):
        InputShapes(inputs=inputs).of((IDS, IMAGE), SYMBOLS)


def test_shapes_refuse_negative_sizes():
    """Negative sizes, and a batch of nothing."""
    with pytest.raises(InvalidRequest, match="expected sizes of 0 or more, got"):
        InputShapes(inputs={"ids": (1, -1)})
    with pytest.raises(InvalidRequest, match="batch: expected 1 or more, got 0"):
        InputShapes(batch=0)


def test_shapes_survive_plain_values():
    """What is written is read."""
    shapes = InputShapes(3, {"ids": (3, 7), "scale": ()})
    assert InputShapes.from_plain(shapes.to_plain()) == shapes
