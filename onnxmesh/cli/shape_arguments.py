"""`--batch N` and `--shape NAME=1x3x224x224` as the shapes to plan with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated

import typer

from onnxmesh.errors import InvalidRequest
from onnxmesh.planning.input_shapes import InputShapes

Batch = Annotated[
    int, typer.Option(min=1, help="First dimension of every input where the model leaves it free.")
]

Shapes = Annotated[
    list[str] | None,
    typer.Option(
        "--shape", metavar="NAME=1x3x224x224", help="Shape of an input, where free dimensions are not 1; repeat."
    ),
]

_MOST_DIGITS = 12


def read_shapes(batch: int, arguments: Sequence[str]) -> InputShapes:
    """Returns the shapes that the options ask for. Whether they fit the model is found out with the model.

    Args:
        batch: Of `--batch`.
        arguments: Of `--shape`, each `NAME=1x3x224x224`; a scalar is `NAME=` alone.

    Raises:
        InvalidRequest: An argument that cannot be understood (INVALID_ARGUMENT).
    """
    shapes: dict[str, tuple[int, ...]] = {}
    for argument in arguments:
        # Names may hold '=', shapes do not.
        name, equals, text = argument.rpartition("=")
        sizes = text.lower().split("x") if text else []
        if not name or not equals or not all(s.isdecimal() and len(s) <= _MOST_DIGITS for s in sizes):
            raise InvalidRequest(f"--shape: expected NAME=1x3x224x224, got '{argument}'")
        if name in shapes:
            raise InvalidRequest(f"--shape: '{name}' is given twice")
        shapes[name] = tuple(int(size) for size in sizes)
    return InputShapes(batch, shapes)


def shapes_text(shapes: Mapping[str, Sequence[int]]) -> str:
    """Returns shapes as they are typed: `image=1x3x224x224, mask=1x8`."""
    return ", ".join(f"{name}={'x'.join(map(str, shape))}" for name, shape in shapes.items()) or "no inputs"
