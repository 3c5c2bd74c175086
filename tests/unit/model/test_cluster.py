"""Clusters: kinds, counts and links."""

from __future__ import annotations

import pytest

from onnxmesh.model.cluster import Cluster, DeviceKind
from onnxmesh.model.link import LinkSpec

FAST, SLOW = LinkSpec(1e9, 0.0), LinkSpec(1.0, 0.0)


def test_cluster_finds_links_in_both_directions():
    """A link is used in reverse where that direction has none of its own; else the default."""
    cluster = Cluster((DeviceKind("a"), DeviceKind("b", 3)), {("a", "b"): FAST}, SLOW)
    assert (cluster.link("a", "b"), cluster.link("b", "a")) == (FAST, FAST)
    assert cluster.link("a", "a") == SLOW
    assert cluster.num_devices == 4
    assert cluster.kind("b").count == 3
    with pytest.raises(KeyError, match="c"):
        cluster.kind("c")


def test_cluster_refuses_no_kinds_and_equal_names():
    """Devices of a plan are identified by the name of their kind."""
    with pytest.raises(ValueError, match="expected at least 1, got 0"):
        Cluster(())
    with pytest.raises(ValueError, match="not unique: a, a"):
        Cluster((DeviceKind("a"), DeviceKind("a")))
    with pytest.raises(ValueError, match="'a': expected at least 1 device, got 0"):
        DeviceKind("a", 0)
