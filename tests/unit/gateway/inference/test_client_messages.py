"""Field numbers of the gateway's messages against those of other clients."""

from __future__ import annotations

import pytest

from onnxmesh.oip import open_inference_pb2 as oip
from onnxmesh.routing.table.table import RoutingTable
from onnxmesh.v1.mesh_pb2 import RouteTable
from services.gateway.inference.metadata import model_metadata
from tests.fakes.client_messages import ALL, OURS, client_message
from tests.fakes.routed_models import routed_model


def compared(fields, names):
    """Label and type of each field by its number; the type of a map is what its entries are."""
    by_number = {}
    for number, _, label, kind, type_name in (field for field in fields if len(field) > 1):
        entry = tuple(tuple(each) for each in names.get(type_name, ()) if type_name.endswith("Entry"))
        by_number[number] = (label, kind, entry)
    return by_number


@pytest.mark.parametrize("client", ALL)
@pytest.mark.parametrize("message", OURS)
def test_field_that_a_client_knows_is_of_the_type_that_it_expects(client, message):
    """A number that both have has one type: else one of them cannot parse what the other sends, or reads something else."""
    theirs = compared(ALL[client].get(message, ()), ALL[client])
    ours = compared(OURS[message], OURS)
    shared = ours.keys() & theirs.keys()
    assert {number: ours[number] for number in shared} == {number: theirs[number] for number in shared}


@pytest.mark.parametrize("client", ALL)
def test_model_metadata_parses_for_every_client(client):
    """The properties, which each client would read otherwise, are under a number of our own."""
    table = RoutingTable.from_proto(RouteTable(models=[routed_model([[], []], version=9)]))
    sent = model_metadata(table.find("m", "9"), table.versions("m"))
    assert sent.properties
    read = client_message(client, "ModelMetadataResponse").FromString(sent.SerializeToString())
    assert (read.name, list(read.versions), read.platform) == ("m", ["9"], "onnxruntime_onnx")
    assert [(each.name, each.datatype, list(each.shape)) for each in read.inputs] == [("x", "FP32", [-1, 4])]
    assert [each.name for each in read.outputs] == ["y"]


def test_messages_of_mlserver_refuse_the_field_that_clashed():
    """What the facts are for: properties under the protocol's own number 6 are bytes that MLServer's stubs cannot parse."""
    clashing = client_message("open-inference-protocol", "ModelMetadataResponse")(properties={"version": "9"})
    with pytest.raises(Exception, match="Error parsing message"):
        client_message("mlserver 1.7.1", "ModelMetadataResponse").FromString(clashing.SerializeToString())
    assert not oip.ModelMetadataResponse.FromString(clashing.SerializeToString()).properties
