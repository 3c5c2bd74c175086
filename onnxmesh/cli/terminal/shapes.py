"""Shapes to plan for: the options `--batch` and `--shape`."""

from __future__ import annotations

import re
from collections.abc import Sequence

from onnxmesh.errors import InvalidRequest
from onnxmesh.model.input_shapes import InputShapes

# Names of tensors may have '=' and ':' in them; a shape has neither.
_OPTION = re.compile(r"(?P<name>.+)=(?P<dims>[0-9]+(x[0-9]+)*|scalar)")


def parse_shapes(batch: int, shapes: Sequence[str]) -> InputShapes:
    """Returns the shapes of `--batch N` and each `--shape NAME=1x3x224x224`; `NAME=scalar` has no dimensions.

    Raises:
        InvalidRequest: The batch is not positive, a shape cannot be read, or an input has two shapes (INVALID_ARGUMENT).
    """
    if batch < 1:
        raise InvalidRequest(f"--batch: expected a positive number, got {batch}")
    inputs: dict[str, tuple[int, ...]] = {}
    for option in shapes:
        found = _OPTION.fullmatch(option)
        if found is None:
            raise InvalidRequest(f"--shape: expected NAME=1x3x224x224, got '{option}'")
        name, dims = found["name"], found["dims"]
        if name in inputs:
            raise InvalidRequest(f"--shape: '{name}' is given twice")
        inputs[name] = () if dims == "scalar" else tuple(map(int, dims.split("x")))
    return InputShapes(batch, inputs)
