"""Lookups in the route table."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest

from onnxmesh.errors import InvalidRequest, NotFound
from onnxmesh.routing.table.table import EMPTY_TABLE, RoutingTable
from onnxmesh.tensors.datatype import Datatype
from onnxmesh.v1.mesh_pb2 import RoutedWorker, RouteTable
from tests.fakes.routed_models import routed_model

A, B = ("a", "h:1"), ("b", "h:2")


def table(*models):
    return RoutingTable.from_proto(RouteTable(epoch=3, models=models))


def test_routing_table_reads_the_whole_message():
    """Signature, stages, replicas and workers are there under the names that requests use."""
    routes = table(routed_model([[A, B], [B]], inputs=(("x", "FP32", [-1, 4]), ("s", "BYTES", []))))
    model = routes.find("m", "1")
    assert [(spec.index, spec.datatype, spec.shape) for spec in model.inputs] == [
        (0, Datatype.FP32, (-1, 4)),
        (1, Datatype.BYTES, ()),
    ]
    assert model.input_by_name["s"].index == 1
    assert [stage.key for stage in model.stages] == ["m/1/0", "m/1/1"]
    assert {worker: replica.address for worker, replica in routes.workers.items()} == {"a": "h:1", "b": "h:2"}
    assert routes.is_complete
    assert routes.epoch == 3


def test_find_without_version_returns_the_newest_complete_one():
    """A version that is being loaded does not take the requests of one that works."""
    routes = table(
        routed_model([[A]], version=2), routed_model([[A], []], version=10), routed_model([[A]], version=9)
    )
    assert routes.find("m", "").version == 9
    assert routes.find("m", "10").gap == 1
    assert [model.version for model in routes.versions("m")] == [10, 9, 2]
    assert not routes.is_complete


def test_find_draws_versions_by_the_traffic_split():
    """10 of 100, within four standard deviations; and who does not draw gets the one with the largest part."""
    routes = table(
        routed_model([[A]], version=1, percent=90),
        routed_model([[A]], version=2, percent=10),
        routed_model([[A]], version=3),
    )
    rng, num = Random(5), 20_000
    drawn = Counter(routes.find("m", "", rng).version for _ in range(num))
    assert abs(drawn[2] - num / 10) < 4 * (num * 0.1 * 0.9) ** 0.5
    assert drawn[3] == 0
    assert routes.find("m", "").version == 1
    assert routes.find("m", "3", rng).version == 3


def test_find_draws_nothing_where_there_is_one_version():
    """Its share does not matter, and other draws of the gateway stay the same."""
    rng = Random(5)
    before = rng.getstate()
    assert table(routed_model([[A]], percent=10)).find("m", "", rng).version == 1
    assert rng.getstate() == before


@pytest.mark.parametrize(
    ("complete", "drawn"), [({1, 2, 3}, {1, 2}), ({2, 3}, {2}), ({1, 3}, {1}), ({3}, {3}), (set(), {3})]
)
def test_find_skips_incomplete_versions_of_the_traffic_split(complete, drawn):
    """Where none of those with a part is complete, the newest that is answers."""
    percents = {1: 50, 2: 50, 3: 0}
    routes = table(
        *(
            routed_model([[A] if version in complete else []], version=version, percent=percent)
            for version, percent in percents.items()
        )
    )
    rng = Random(1)
    assert {routes.find("m", "", rng).version for _ in range(100)} == drawn


def test_routing_table_keeps_draining_workers():
    """Their address is omitted, so that no new request goes there."""
    workers = [RoutedWorker(worker="a"), RoutedWorker(worker="b", leaving=True)]
    routes = RoutingTable.from_proto(RouteTable(models=[routed_model([[A]])], workers=workers))
    assert {id_: bool(each.address) for id_, each in routes.workers.items()} == {"a": True, "b": False}


def test_find_returns_the_newest_where_none_is_complete():
    """The error then names what the newest lacks."""
    assert table(routed_model([[]], version=1), routed_model([[]], version=2)).find("m", "").version == 2


def test_find_names_deployed_models_for_an_unknown_one():
    """The error lists the deployed models, for misspelt names."""
    with pytest.raises(NotFound) as caught:
        table(routed_model([[A]], name="cat"), routed_model([[A]], name="ant")).find("dog", "")
    assert caught.value.message == "unknown model 'dog': deployed models are 'ant', 'cat'"
    with pytest.raises(NotFound, match="deployed models are none"):
        EMPTY_TABLE.find("dog", "")


def test_find_names_deployed_versions_for_an_unknown_one():
    """The versions are listed in their order."""
    with pytest.raises(NotFound) as caught:
        table(routed_model([[A]], version=10), routed_model([[A]], version=2)).find("m", "3")
    assert caught.value.message == "model 'm' has no version 3: deployed versions are 2, 10"


@pytest.mark.parametrize("version", ["newest", "-1", "1.0", " 1", "1e3", "\u0663", "9" * 5000])
def test_find_refuses_a_version_that_is_no_number(version):
    """Only decimal figures name versions."""
    with pytest.raises(InvalidRequest, match="expected a whole number as version"):
        table(routed_model([[A]])).find("m", version)


def test_routing_table_refuses_an_unknown_datatype():
    """A table is taken whole or not at all."""
    with pytest.raises(ValueError, match="FP12"):
        table(routed_model([[A]], inputs=(("x", "FP12", [1]),)))
