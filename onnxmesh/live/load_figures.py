"""Load of workers as live state carries it."""

from __future__ import annotations

from onnxmesh.live.base import Values
from onnxmesh.v1.frame_pb2 import Load


def load_values(load: Load) -> Values:
    """Returns the figures that are set; what a stage or a way has for itself is not among them."""
    return {field.name: value for field, value in load.ListFields() if isinstance(value, int | float)}


def read_load(values: Values) -> Load:
    """Reads what `load_values` gave, be it that of another release."""
    known = Load.DESCRIPTOR.fields_by_name
    load = Load()
    for name, value in values.items():
        if name in known and isinstance(getattr(load, name), int | float):
            setattr(load, name, type(getattr(load, name))(value))
    return load
