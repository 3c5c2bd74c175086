"""Mixed load: small requests, requests of 10 MB, invalid ones and cancelled ones.

`python -m benchmarks.memory.mixed_load` ends with a line of JSON: the number of correctly handled requests of each kind. A
result for an invalid request, or an error for a valid one, ends it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
from collections import Counter
from pathlib import Path
from time import monotonic

import grpc.aio
import numpy as np
import uvloop

from benchmarks.load import METHOD, TIMEOUT_S, WrongAnswer, check, request
from onnxmesh.oip import open_inference_pb2 as oip
from onnxmesh.rpc.grpc.channel import open_channel

NUM_SMALL = 8
PAUSE_S = 0.02
"""Pause between invalid requests, and between large ones, so that each kind gets its share of the time."""

_LONGEST_BEFORE_CANCEL_S = 0.03


def wrong_requests(good: bytes) -> dict[str, bytes]:
    """Returns requests that must be refused, by their error."""
    found = {}
    for what in ("unknown model", "wrong shape", "wrong datatype", "truncated"):
        message = oip.ModelInferRequest.FromString(good)
        if what == "unknown model":
            message.model_name = "unknown"
        elif what == "wrong shape":
            message.inputs[0].shape[:] = [1, 17]
        elif what == "wrong datatype":
            message.inputs[0].datatype = "INT64"
        else:
            message.raw_input_contents[0] = message.raw_input_contents[0][:-1]
        found[what] = message.SerializeToString()
    return found


class MixedLoad:
    """Every kind of request to one mesh, until an end time.

    Args:
        call: ModelInfer.
        cases: Request and output of each model.
        end: End time on the clock of `monotonic`.
    """

    def __init__(
        self, call: grpc.aio.UnaryUnaryMultiCallable, cases: dict[str, tuple[bytes, np.ndarray]], end: float
    ) -> None:
        self._call = call
        self._cases = cases
        self._end = end
        self._counts: Counter[str] = Counter()

    async def run(self) -> Counter[str]:
        """Sends all kinds concurrently; returns the number of correctly handled requests of each."""
        async with asyncio.TaskGroup() as tasks:
            for _ in range(NUM_SMALL):
                tasks.create_task(self._answered("identity", 0.0))
            for model in self._cases:
                if model != "identity":
                    tasks.create_task(self._answered(model, PAUSE_S))
            tasks.create_task(self._refused())
            tasks.create_task(self._cancelled())
        return self._counts

    async def _answered(self, model: str, pause_s: float) -> None:
        body, expected = self._cases[model]
        while monotonic() < self._end:
            check(await self._call(body, timeout=TIMEOUT_S), expected)
            self._counts[model] += 1
            await asyncio.sleep(pause_s)

    async def _refused(self) -> None:
        bodies = wrong_requests(self._cases["identity"][0])
        while monotonic() < self._end:
            for what, body in bodies.items():
                try:
                    await self._call(body, timeout=TIMEOUT_S)
                except grpc.aio.AioRpcError as error:
                    if error.code() not in {grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND}:
                        raise
                    self._counts[what] += 1
                else:
                    raise WrongAnswer(f"expected an error for an invalid request: {what}")
            await asyncio.sleep(PAUSE_S)

    async def _cancelled(self) -> None:
        rng = random.Random(0)
        bodies = [body for body, _ in self._cases.values()]
        while monotonic() < self._end:
            for body in bodies:
                call = self._call(body, timeout=TIMEOUT_S)
                await asyncio.sleep(rng.uniform(0.0, _LONGEST_BEFORE_CANCEL_S))
                if call.cancel():
                    self._counts["cancelled"] += 1
            await asyncio.sleep(PAUSE_S)


async def run(address: str, cases: list[str], seconds: float) -> Counter[str]:
    """Loads a mesh for some seconds.

    Args:
        address: HOST:PORT of its gateway.
        cases: MODEL=CASE.npz of each model.
        seconds: Duration.
    """
    bodies = {}
    for each in cases:
        model, _, path = each.partition("=")
        with np.load(Path(path)) as case:
            inputs = {name: case[name] for name in case.files if name != "expected"}
            bodies[model] = (request(model, inputs), case["expected"])
    async with open_channel(address) as channel:
        return await MixedLoad(channel.unary_unary(METHOD), bodies, monotonic() + seconds).run()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--address", required=True, help="HOST:PORT of a gateway")
    parser.add_argument("--seconds", required=True, type=float)
    parser.add_argument("cases", nargs="+", metavar="MODEL=CASE.npz", help="one of them is `identity`")
    arguments = parser.parse_args()
    print(json.dumps(uvloop.run(run(arguments.address, arguments.cases, arguments.seconds))))


if __name__ == "__main__":
    main()
