"""Random inputs of a signature."""

from __future__ import annotations

import pytest

from onnxmesh.graph.measuring.random_inputs import random_inputs
from onnxmesh.model.tensor_spec import TensorSpec
from onnxmesh.tensors.arrays import to_array


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """A folder for what is measured of the device, once for all tests here."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def _own_cache(cache, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))


def test_random_integers_reach_their_bounds():
    """From 0 to the last index; without a bound they stay small."""
    specs = [TensorSpec("ids", "INT64", (-1,)), TensorSpec("free", "INT32", (-1,))]
    made = random_inputs(specs, 1, shapes={"ids": (5000,), "free": (100,)}, bounds={"ids": 1000})
    ids, free = to_array(made["ids"]), to_array(made["free"])
    assert (ids.min() >= 0, ids.max() < 1000, ids.max() > 900) == (True, True, True)
    assert free.max() < 4
    assert made["ids"].shape == (5000,)
