"""Every answer of a gateway, read with the messages of every client."""

from __future__ import annotations

import numpy as np

from onnxmesh.oip import open_inference_pb2 as oip
from tests.fakes.client_messages import ALL, client_message
from tests.integration.gateway.running_gateway import SERVICE, request_of, running_gateway


async def answers() -> dict[str, bytes]:
    """The bytes of each method's answer, by the method's name."""
    traced = request_of(id="7")
    traced.parameters["mesh.trace"].bool_param = True
    requests = {
        "ServerLive": oip.ServerLiveRequest(),
        "ServerReady": oip.ServerReadyRequest(),
        "ServerMetadata": oip.ServerMetadataRequest(),
        "ModelReady": oip.ModelReadyRequest(name="m"),
        "ModelMetadata": oip.ModelMetadataRequest(name="m"),
        "ModelInfer": traced,
    }
    async with running_gateway() as gateway:
        await gateway.publish(gateway.routed("a", version=3))
        return {
            name: await gateway.channel.unary_unary(SERVICE + name)(request.SerializeToString(), timeout=20)
            for name, request in requests.items()
        }


async def test_responses_parse_with_the_messages_of_every_client():
    """With the protocol's, Triton's, KServe's and MLServer's, with the same content as in this project's messages."""
    sent = await answers()
    for client in ALL:
        check(
            {
                name: client_message(client, f"{name}Response").FromString(answer)
                for name, answer in sent.items()
            }
        )


def check(read) -> None:
    """Compares the answers, by the method's name, as one client has parsed them."""
    assert read["ServerLive"].live
    assert read["ServerReady"].ready
    assert read["ModelReady"].ready
    assert read["ServerMetadata"].name == "onnxmesh"
    assert [spec.name for spec in read["ModelMetadata"].inputs] == ["x"]
    inferred = read["ModelInfer"]
    assert (inferred.model_name, inferred.model_version, inferred.id) == ("m", "3", "7")
    assert inferred.parameters["mesh.trace"].string_param.startswith("{")
    assert [(each.name, each.datatype, list(each.shape)) for each in inferred.outputs] == [
        ("y", "FP32", [1, 4])
    ]
    assert np.frombuffer(inferred.raw_output_contents[0], np.float32).tolist() == [2, 2, 2, 2]
