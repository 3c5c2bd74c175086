"""Shapes to try on a model."""

from __future__ import annotations

import pytest

from onnxmesh.errors import InvalidRequest
from onnxmesh.graph.measuring.trial_shapes import sized_shapes, trial_shapes
from onnxmesh.model.input_shapes import InputShapes
from onnxmesh.model.tensor_spec import TensorSpec

IDS = TensorSpec("ids", "INT64", (-1, -1))
MASK = TensorSpec("mask", "INT64", (-1, -1, 3))
SYMBOLS = {"ids": ("batch", "length"), "mask": ("batch", "batch", 3)}


def test_trial_shapes_put_the_plan_first_with_small_sizes_beside_it():
    """Then each of them alone, then the plan's batch with growing sizes; nothing is tried twice."""
    trials = list(trial_shapes([IDS], SYMBOLS, InputShapes(4, {"ids": (4, 20)})))
    assert trials[0] == ({"ids": (4, 20)}, {"ids": (2, 2)})
    assert trials[1:4] == [({"ids": (4, 20)},), ({"ids": (2, 2)},), ({"ids": (4, 2)},)]
    assert trials[-1] == ({"ids": (4, 16384)},)
    assert len({trial[0]["ids"] for trial in trials[1:]}) == len(trials) - 1


def test_fixed_shapes_are_tried_once():
    """A model without dynamic dimensions has one trial, and so has one without inputs."""
    fixed = TensorSpec("x", "FP32", (1, 3))
    assert list(trial_shapes([fixed], {}, InputShapes())) == [({"x": (1, 3)},)]
    assert list(trial_shapes([], {}, InputShapes())) == [({},)]


def test_images_are_not_tried_at_the_size_of_sounds():
    """An input with two dynamic dimensions stays below four million elements."""
    image = TensorSpec("image", "FP32", (-1, 3, -1, -1))
    assert max(trial[0]["image"][2] for trial in trial_shapes([image], {}, InputShapes())) == 512


def test_equal_symbols_have_equal_sizes():
    """The symbol of a first dimension is the batch at every axis; an unknown rank is one dimension."""
    unknown = TensorSpec("u", "FP32", None)
    assert sized_shapes([IDS, MASK, unknown], SYMBOLS, batch=1, size=8) == {
        "ids": (1, 8),
        "mask": (1, 1, 3),
        "u": (1,),
    }
    assert next(trial_shapes([unknown], {}, InputShapes(4)))[0] == {"u": (4,)}


def test_shapes_that_contradict_the_model_are_refused():
    """Before anything is run."""
    with pytest.raises(InvalidRequest, match="shape for 'ids'"):
        next(trial_shapes([IDS], SYMBOLS, InputShapes(1, {"ids": (1, 2, 3)})))
