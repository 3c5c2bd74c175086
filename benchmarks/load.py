"""A closed-loop client in a process of its own: `python -m benchmarks.load`, one JSON line per run.

Each of `--in-flight` loops keeps exactly one ModelInfer in flight. The request is encoded once, answers are compared with
the first one by length, so that the client's own share of the machine stays small.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from time import perf_counter, process_time

import grpc.aio
import numpy as np
import uvloop

from onnxmesh.oip import open_inference_pb2 as oip
from onnxmesh.rpc.channel import open_channel

METHOD = "/inference.GRPCInferenceService/ModelInfer"
WARM_UP_S = 0.5


def request(model: str, input_name: str, shape: tuple[int, ...]) -> bytes:
    data = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    message = oip.ModelInferRequest(model_name=model, raw_input_contents=[data.tobytes()])
    message.inputs.add(name=input_name, datatype="FP32", shape=shape)
    return message.SerializeToString()


async def run(
    call: grpc.aio.UnaryUnaryMultiCallable, body: bytes, size: int, in_flight: int, seconds: float
) -> dict:
    latencies: list[float] = []
    num_requests = 0
    begin = perf_counter() + WARM_UP_S
    end = begin + seconds

    async def loop() -> None:
        nonlocal num_requests
        while (sent := perf_counter()) < end:
            answer = await call(body, timeout=60)
            now = perf_counter()
            num_requests += 1
            if len(answer) != size:
                raise SystemExit(f"expected an answer of {size} bytes, got {len(answer)}")
            if begin <= now <= end:
                latencies.append(now - sent)

    cpu = process_time()
    async with asyncio.TaskGroup() as tasks:
        for _ in range(in_flight):
            tasks.create_task(loop())
    return {"latencies": latencies, "num_requests": num_requests, "client_cpu_s": process_time() - cpu}


async def main(arguments: argparse.Namespace) -> None:
    body = request(arguments.model, arguments.input, tuple(arguments.shape))
    async with open_channel(arguments.mesh) as channel:
        call = channel.unary_unary(METHOD)
        size = len(await call(body, timeout=60))
        for _ in range(arguments.runs):
            outcome = await run(call, body, size, arguments.in_flight, arguments.seconds)
            sys.stdout.write(json.dumps(outcome) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mesh", required=True, help="HOST:PORT of a gateway")
    parser.add_argument("--model", required=True)
    parser.add_argument("--input", required=True, help="name of the model's input, FP32")
    parser.add_argument("--shape", required=True, type=int, nargs="+")
    parser.add_argument("--in-flight", required=True, type=int)
    parser.add_argument("--seconds", required=True, type=float)
    parser.add_argument("--runs", required=True, type=int)
    uvloop.run(main(parser.parse_args()))
