"""What the gateway's HTTP/2 server adds to that of gRPC: answers to other clients, compressed answers."""

from __future__ import annotations

import asyncio
import subprocess

import numpy as np
import tritonclient.grpc.aio as triton

from onnxmesh.http2.protocol.frames import FrameType, frame
from tests.integration.gateway.running_gateway import SERVICE, request_of, running_gateway
from tests.integration.http2.server.raw_client import raw_client


async def test_clients_that_do_not_speak_grpc_learn_what_is_spoken():
    """The protocol, and a client with the address that they have used; HTTP/1 and HTTP/2 alike."""
    async with running_gateway() as gateway:
        host, _, port = gateway.address.rpartition(":")
        for protocol, status in (
            ("--http1.1", "505"),
            ("--http2", "505"),
            ("--http2-prior-knowledge", "415"),
        ):
            curl = await asyncio.create_subprocess_exec(
                *(
                    "curl",
                    "-s",
                    "-w",
                    " %{http_code}",
                    protocol,
                    "--noproxy",
                    "*",
                    f"http://{host}:{port}/v2",
                ),
                stdout=subprocess.PIPE,
            )
            out, _ = await curl.communicate()
            assert "Open Inference Protocol over gRPC" in out.decode()
            assert f"InferenceServerClient('{gateway.address}')" in out.decode()
            assert out.decode().endswith(f" {status}")


async def test_large_answers_are_compressed_where_the_gateway_is_set_to():
    """What the client reads is the same, whether it compresses its requests or not."""
    async with running_gateway(gzip_from_bytes=1024) as gateway:
        await gateway.publish(gateway.routed("a"))
        array = np.zeros((10_000, 4), np.float32)
        answer = await gateway.infer(request_of(array))
        assert answer.raw_output_contents[0] == array.tobytes()
        async with triton.InferenceServerClient(gateway.address) as client:
            tensor = triton.InferInput("x", array.shape, "FP32").set_data_from_numpy(array)
            for algorithm in (None, "gzip", "deflate"):
                result = await client.infer("m", [tensor], compression_algorithm=algorithm)
                assert result.as_numpy("y").tobytes() == array.tobytes()
        async with raw_client(gateway.address) as client:
            message = request_of(array).SerializeToString()
            client.send(client.headers(1, f"{SERVICE}ModelInfer", grpc_accept_encoding="gzip"))
            for begin in range(0, len(message), 50_000):
                piece = message[begin : begin + 50_000]
                prefix = b"" if begin else b"\0" + len(message).to_bytes(4, "big")
                client.send(frame(FrameType.DATA, begin + 50_000 >= len(message), 1, prefix + piece))
            fields = await client.status(1)
            assert (fields["grpc-status"], fields["grpc-encoding"]) == ("0", "gzip")
