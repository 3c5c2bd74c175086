"""Compressed tensors through real workers."""

from __future__ import annotations

import numpy as np

from onnxmesh.rpc.frames.compressed_frames import compressed_frame
from onnxmesh.rpc.frames.frames import Frame
from onnxmesh.tensors.arrays import from_array
from onnxmesh.tensors.compression.codec import encode_elements
from onnxmesh.tensors.compression.encoding import Encoding
from onnxmesh.v1 import frame_pb2
from tests.integration.worker.stage_models import wide

NUMBERS = np.linspace(-3, 3, 20_000, dtype=np.float32)


class CompressingGateway:
    """A gateway whose Activations leave in some encoding.

    Args:
        gateway: Takes the answers.
        worker: Of the first stage.
    """

    def __init__(self, gateway, worker):
        self._gateway = gateway
        self._worker = worker
        self._number = 1000

    async def send(self, route, encoding, change=None):
        """Returns the number of the request; `change` may corrupt the description of its tensor."""
        self._number += 1
        tensor = from_array("x", NUMBERS)
        header = frame_pb2.Activation(
            key=frame_pb2.RequestKey(origin=self._gateway.name, number=self._number),
            route=frame_pb2.Route(
                hops=[
                    frame_pb2.Hop(stage=stage, worker=worker, address=address)
                    for stage, worker, address in route
                ]
            ),
            tensors=[
                frame_pb2.Tensor(name="x", datatype="FP32", shape=tensor.shape, byte_size=tensor.byte_size)
            ],
        )
        plain = Frame(frame_pb2.FrameHeader(activation=header), (tensor.data,))
        frame = compressed_frame(plain, {0: encode_elements(tensor, encoding)})
        if change is not None:
            change(frame.header.activation.tensors[0])
        for _, worker, address in route:
            await self._gateway.links.connect(worker, address)
        await self._gateway.links.get(self._worker).send(frame)
        return self._number


async def test_compressed_activations_are_computed_in_every_encoding(bench):
    """Each encoding, through two workers: zstd to the bit, the others as far as they go."""
    first, second = await bench.worker("a"), await bench.worker("b")
    route = await bench.pipeline(wide(), [1], first, second)
    gateway = await bench.gateway()
    compressing = CompressingGateway(gateway, "a")
    for encoding in Encoding:
        if encoding is not Encoding.NONE:
            answer = (await gateway.answer(await compressing.send(route, encoding)))["y"]
            error = np.abs(answer - np.abs(NUMBERS)).max()
            assert error == 0 if encoding.is_lossless else 0 < error < 0.02


async def test_compressed_activations_that_cannot_be_decoded_fail_alone(bench):
    """The gateway gets the reason; requests before and after are answered."""
    first, second = await bench.worker("a"), await bench.worker("b")
    route = await bench.pipeline(wide(), [1], first, second)
    gateway = await bench.gateway()
    compressing = CompressingGateway(gateway, "a")
    corruptions = {
        "unknown encoding 99": lambda tensor: setattr(tensor, "encoding", 99),
        "80000 bytes, 12 are announced": lambda tensor: setattr(tensor, "decoded_bytes", 12),
        "bytes of int8": lambda tensor: setattr(tensor, "encoding", Encoding.INT8),
    }
    good = [await compressing.send(route, Encoding.ZSTD)]
    bad = {
        words: await compressing.send(route, Encoding.ZSTD, change) for words, change in corruptions.items()
    }
    good.append(await compressing.send(route, Encoding.ZSTD))
    for words, number in bad.items():
        failure = await gateway.failure(number)
        assert (failure.reason, failure.worker) == ("CORRUPT_DATA", "a")
        assert words in failure.message
    for number in good:
        assert np.array_equal((await gateway.answer(number))["y"], np.abs(NUMBERS))


async def test_workers_of_one_host_do_not_compress(bench):
    """However often: tensors in shared memory are sent without compression."""
    first, second = await bench.worker("a"), await bench.worker("b")
    route = await bench.pipeline(wide(), [1], first, second)
    gateway = await bench.gateway()
    for _ in range(5):
        number = await gateway.send(route, {"x": np.zeros(1_000_000, np.float32)})
        await gateway.answer(number)
        assert gateway.results[number].header.result.tensors[0].encoding == Encoding.NONE
