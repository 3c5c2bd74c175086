"""A closed-loop client in a process of its own: `python -m benchmarks.load`, the same for every server.

Each loop keeps exactly one ModelInfer in flight. The request is encoded once and the response is received as bytes, so that the
client's own share of the machine stays small: the length of every response is compared with the first one, the values of the first and
every hundredth one with those of ONNX Runtime. A program of `benchmarks.driver`.
"""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import grpc.aio
import numpy as np
import uvloop
from numpy.typing import NDArray

from benchmarks.driver import serve_runs
from benchmarks.measurement import percentile
from onnxmesh.oip import open_inference_pb2 as oip
from onnxmesh.rpc.grpc.channel import open_channel

METHOD = "/inference.GRPCInferenceService/ModelInfer"
TIMEOUT_S = 60.0
CHECK_EVERY = 100


class WrongAnswer(Exception):
    """A response is an error, or not the model's output."""


def request(model: str, inputs: dict[str, NDArray[Any]]) -> bytes:
    """Returns a ModelInferRequest with raw contents."""
    message = oip.ModelInferRequest(
        model_name=model,
        raw_input_contents=[np.ascontiguousarray(each).tobytes() for each in inputs.values()],
    )
    for name, each in inputs.items():
        message.inputs.add(name=name, datatype=_DATATYPES[each.dtype.name], shape=each.shape)
    return message.SerializeToString()


_DATATYPES = {"float32": "FP32", "int64": "INT64", "int32": "INT32"}


def check(answer: bytes, expected: NDArray[np.float32]) -> None:
    """Compares the one output of a response with the expected one.

    Raises:
        WrongAnswer: It differs by more than the order of additions explains.
    """
    message = oip.ModelInferResponse.FromString(answer)
    if len(message.raw_output_contents) != 1:
        raise WrongAnswer(f"expected one raw output, got {len(message.raw_output_contents)}")
    values = np.frombuffer(message.raw_output_contents[0], np.float32)
    if values.size != expected.size:
        raise WrongAnswer(f"expected an output of {expected.size} values, got {values.size}")
    if not np.allclose(values, expected.ravel(), rtol=1e-2, atol=1e-3):
        worst = float(np.abs(values - expected.ravel()).max())
        raise WrongAnswer(f"the output differs from ONNX Runtime's by up to {worst:.3g}")


class Client:
    """A closed loop over some connections to one server.

    Args:
        calls: ModelInfer on each connection; loops use them in turns.
        body: The request.
        expected: The model's output.
    """

    def __init__(
        self, calls: list[grpc.aio.UnaryUnaryMultiCallable], body: bytes, expected: NDArray[np.float32]
    ) -> None:
        self._calls = calls
        self._body = body
        self._expected = expected
        self._size = 0

    async def first(self) -> None:
        """Sends one request on each connection, and checks the responses."""
        for call in self._calls:
            answer = await self._send(call)
            check(answer, self._expected)
            self._size = len(answer)

    async def run(self, in_flight: int, seconds: float, warm_up_s: float) -> dict[str, Any]:
        """Keeps a number of requests in flight; returns the measurements within `seconds` after the warm-up.

        Raises:
            WrongAnswer: The first wrong response.
        """
        latencies: list[float] = []
        num_requests = 0
        begin = perf_counter() + warm_up_s
        end = begin + seconds

        async def loop(call: grpc.aio.UnaryUnaryMultiCallable) -> None:
            nonlocal num_requests
            while (sent := perf_counter()) < end:
                answer = await self._send(call)
                now = perf_counter()
                num_requests += 1
                if len(answer) != self._size:
                    raise WrongAnswer(f"expected an answer of {self._size} bytes, got {len(answer)}")
                if num_requests % CHECK_EVERY == 0:
                    check(answer, self._expected)
                if begin <= now <= end:
                    latencies.append(now - sent)

        cpu_s = process_time()
        try:
            async with asyncio.TaskGroup() as tasks:
                for number in range(in_flight):
                    tasks.create_task(loop(self._calls[number % len(self._calls)]))
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from None
        return {
            "requests_per_s": len(latencies) / seconds,
            "p50_ms": percentile(latencies, 0.50) * 1e3,
            "p99_ms": percentile(latencies, 0.99) * 1e3,
            "num_requests": num_requests,
            "client_cpu_s": process_time() - cpu_s,
        }

    async def _send(self, call: grpc.aio.UnaryUnaryMultiCallable) -> bytes:
        try:
            answer: bytes = await call(self._body, timeout=TIMEOUT_S)
        except grpc.aio.AioRpcError as error:
            raise WrongAnswer(f"{error.code().name}: {error.details()}") from None
        return answer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--address", required=True, help="HOST:PORT of a server")
    parser.add_argument("--model", required=True, help="its name there")
    parser.add_argument(
        "--case", required=True, type=Path, help="an .npz of inputs and the `expected` output"
    )
    parser.add_argument("--connections", type=int, default=1)
    arguments = parser.parse_args()
    with np.load(arguments.case) as case:
        inputs = {name: case[name] for name in case.files if name != "expected"}
        expected = case["expected"]
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:

        async def connected() -> Client:
            channels = [open_channel(arguments.address) for _ in range(arguments.connections)]
            body = request(arguments.model, inputs)
            client = Client([channel.unary_unary(METHOD) for channel in channels], body, expected)
            await client.first()
            return client

        client = runner.run(connected())
        serve_runs(lambda *command: runner.run(client.run(*command)))


if __name__ == "__main__":
    main()
