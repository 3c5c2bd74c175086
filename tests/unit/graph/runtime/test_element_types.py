"""Element types and datatypes."""

from __future__ import annotations

from onnxmesh.graph.runtime.element_types import DATATYPE_OF, ELEMENT_TYPE_OF
from onnxmesh.tensors.datatype import Datatype


def test_element_types_cover_every_datatype():
    """The two tables are one another's inverse, and complete."""
    assert set(ELEMENT_TYPE_OF) == set(Datatype)
    assert {ELEMENT_TYPE_OF[datatype] for datatype in DATATYPE_OF.values()} == set(DATATYPE_OF)
