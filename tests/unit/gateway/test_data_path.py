"""The data path: events of streams reach the parts that they concern; without sockets."""

from __future__ import annotations

from types import SimpleNamespace

from onnxmesh.routing.network import MeasuredLink
from onnxmesh.routing.table.table import EMPTY_TABLE, RoutingTable
from onnxmesh.routing.table.table_difference import difference
from onnxmesh.rpc.frames.frames import Frame
from onnxmesh.v1.frame_pb2 import FrameHeader, LinkMeasurement, Load
from onnxmesh.v1.mesh_pb2 import RoutedWorker, RouteTable
from services.gateway.data_path import DataPath
from services.gateway.settings import GatewaySettings
from tests.fakes.routed_models import routed_model


async def test_data_path_passes_a_load_frame_to_balancer_network_and_other_gateways():
    """With the link to the worker as this gateway measured it, and the links that the worker reports."""
    path = DataPath(GatewaySettings(id="g", scheduler="h:1", same_host=False, _cli_parse_args=False), 1)
    model = routed_model([[("a", "")], [("b", "")]])
    workers = [RoutedWorker(worker=worker) for worker in "ab"]
    table = RoutingTable.from_proto(RouteTable(models=[model], workers=workers))
    path.router.update(table, difference(EMPTY_TABLE, table))
    load = Load(expected_wait_us=20_000, links=[LinkMeasurement(node="b", round_trip_us=300)])
    link = SimpleNamespace(peer="a", estimate=SimpleNamespace(rtt_s=0.004, bytes_per_s=1e9))
    path._on_frame(link, Frame(FrameHeader(load=load)))
    network, board = path.router.balancer.network, path.router.balancer.workers
    assert network.links("g") == {"a": MeasuredLink(0.004, 1e9)}
    assert network.links("a") == {"b": MeasuredLink(0.0003)}
    assert board.others_s[board.slot("a")] == 0.02
    assert [each.item.load.expected_wait_us for each in path.sharing._loads.received()["a"]] == [20_000]


async def test_data_path_removes_the_worker_of_a_lost_link_from_the_compressor():
    """Unless another stream to it is open already."""
    path = DataPath(GatewaySettings(id="g", scheduler="h:1", same_host=False, _cli_parse_args=False), 1)
    removed = []
    path.compressor.remove_peer = removed.append
    link = SimpleNamespace(peer="a", is_open=True)
    path.links._links["a"] = link
    path._on_lost(link)
    assert removed == []
    link.is_open = False
    path._on_lost(link)
    assert removed == ["a"]
