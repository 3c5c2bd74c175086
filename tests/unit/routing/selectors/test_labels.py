"""Tags and attributes become one mapping."""

from __future__ import annotations

from onnxmesh.routing.selectors.labels import labels_of


def test_labels_of_merges_tags_and_attributes():
    labels = labels_of(("gpu", "zone=tagged", "zone=eu", "k=v=w"), {"zone": "eu", "cores": "2"})
    assert labels == {"zone": ("eu", "tagged"), "cores": ("2",), "gpu": ("",), "k": ("v=w",)}
