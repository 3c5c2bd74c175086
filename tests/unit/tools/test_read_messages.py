"""Facts about the messages of generated stubs."""

from __future__ import annotations

from pathlib import Path

from onnxmesh.oip import open_inference_pb2
from tools.read_messages import MAP_ENTRY, facts, file_of_stub


def test_facts_of_a_stub_are_those_of_its_descriptor():
    """They are read from the text of the stub, which is never imported."""
    found = facts(file_of_stub(Path(open_inference_pb2.__file__)))
    assert found[".inference.ModelReadyRequest"] == [
        [1, "name", "LABEL_OPTIONAL", "TYPE_STRING", ""],
        [2, "version", "LABEL_OPTIONAL", "TYPE_STRING", ""],
    ]
    assert found[".inference.ModelMetadataResponse.PropertiesEntry"][0] == [MAP_ENTRY]
    numbers = {field[0] for field in found[".inference.ModelMetadataResponse"]}
    assert numbers == {1, 2, 3, 4, 5, 1001}
