"""Histories of good, bad and cancelled requests and lost gateways: each request ends once, and nothing is kept."""

from __future__ import annotations

import asyncio
import time

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from onnxmesh.rpc.frames.frames import Frame
from onnxmesh.tensors.datatype import Datatype
from onnxmesh.tensors.tensor import Tensor
from onnxmesh.v1 import frame_pb2
from tests.eventually import eventually
from tests.fakes.abort_links import abort_links
from tests.fakes.origin_gateway import OriginGateway
from tests.integration.worker.test_batching import expected, pipeline

LONG_S = 60.0
NUM_ROWS = [0, 1, 2, 5, 16, 17, 600]
GATEWAYS = ["g0", "g1"]

gateways = st.sampled_from(GATEWAYS)
requests = st.tuples(st.just("send request"), gateways, st.sampled_from(NUM_ROWS))
wrongs = st.tuples(
    st.just("send wrong request"),
    gateways,
    st.sampled_from(["index", "type", "size", "shape", "input", "output", "stage", "hop"]),
)
cancels = st.tuples(st.just("cancel"), gateways, st.integers(0, 3))
others = st.tuples(
    st.sampled_from(["send nonsense", "vanish", "yield to loop"]),
    gateways,
    st.binary(min_size=1, max_size=40),
)
steps = st.one_of(requests, requests, wrongs, cancels, others)


class Gateway:
    """A gateway that reconnects under its name after its links were aborted.

    Attributes:
        given_up: Requests that it does not wait for any more.
        inputs: Inputs of each valid request.
    """

    def __init__(self, name, route):
        self.name = name
        self.route = route
        self.origin = None
        self.inputs = {}
        self.wrong = set()
        self.given_up = set()

    async def __aenter__(self):
        await self._come()
        return self

    async def __aexit__(self, *failure):
        await self.origin.links.__aexit__(*failure)

    async def _come(self):
        self.origin = OriginGateway(self.name)
        # As a gateway's, which uses none twice.
        self.origin._number = self.first = time.time_ns()
        await self.origin.links.__aenter__()
        for _, worker, address in self.route:
            await self.origin.links.connect(worker, address)

    async def send_request(self, num_rows):
        i = np.random.default_rng(len(self.inputs)).integers(0, 16, (num_rows, 3))
        self.inputs[await self.origin.send(self.route, {"i": i})] = i

    async def send_wrong_request(self, how):
        i = np.ones((2, 3), np.int64)
        route, inputs, options = self.route, {"i": i}, {}
        if how == "index":
            inputs = {"i": i + 98}
        elif how == "type":
            inputs = {"i": i.astype(np.float64)}
        elif how == "size":
            inputs = {"i": Tensor("i", Datatype.INT64, (3, 3), i.tobytes())}
        elif how == "shape":
            inputs = {"i": Tensor("i", Datatype.INT64, (-2, 3), i.tobytes())}
        elif how == "input":
            inputs = {"z": i}
        elif how == "output":
            options = {"outputs": ["nothing"]}
        elif how == "stage":
            route = [("m/9/9", *self.route[0][1:])]
        if how == "hop":
            await self._send_at_hop(7)
        else:
            self.wrong.add(await self.origin.send(route, inputs, **options))

    async def _send_at_hop(self, hop):
        """Sends a request for a place that its route does not have."""
        self.origin._number += 1
        key = frame_pb2.RequestKey(origin=self.name, number=self.origin._number)
        self.wrong.add(key.number)
        body = frame_pb2.Activation(key=key, hop=hop)
        await self.origin.links.get("a").send(Frame(frame_pb2.FrameHeader(activation=body)))

    async def cancel(self, back):
        """Gives up the last request but so many."""
        number = self.origin._number - back
        if number > self.first:
            self.given_up.add(number)
            await self.origin.cancel(number, "a", "b")

    async def send_nonsense(self, words):
        """Sends bytes that are no message: the first worker closes the link, and requests in flight there are lost."""
        await self.origin.links.get("a")._pipe.write(b"\xff" + words)
        await eventually(lambda: self.origin.lost, LONG_S)
        await self._again()

    async def vanish(self, _):
        abort_links(self.origin.links)
        await eventually(lambda: self.origin.lost, LONG_S)
        await self._again()

    async def yield_to_loop(self, words):
        for _ in words:
            await asyncio.sleep(0)

    async def _again(self):
        await self.origin.links.__aexit__(None, None, None)
        self.inputs.clear()
        self.wrong.clear()
        self.given_up.clear()
        await self._come()

    def has_every_end(self):
        """Whether each request that it waits for has ended."""
        ended = set(self.origin.results) | set(self.origin.failures)
        return (self.wrong | set(self.inputs)) - self.given_up <= ended

    async def check(self):
        """Each request ended once: good ones with their own answer, the others with a failure."""
        assert all(len(failures) == 1 for failures in self.origin.failures.values())
        assert not set(self.origin.results) & set(self.origin.failures)
        assert not self.wrong & set(self.origin.results)
        for number, i in self.inputs.items():
            if number not in self.given_up:
                answer = await self.origin.answer(number)
                assert np.array_equal(answer["y"], expected(i))


async def play(route, history):
    async with Gateway("g0", route) as g0, Gateway("g1", route) as g1:
        of = {"g0": g0, "g1": g1}
        for step, name, detail in history:
            await getattr(of[name], step.replace(" ", "_"))(detail)
        for gateway in (g0, g1):
            await eventually(gateway.has_every_end, LONG_S)
            await gateway.check()
            for worker in "ab":
                loads = gateway.origin.loads
                await eventually(lambda loads=loads, worker=worker: at_rest(loads[worker]), LONG_S)


def at_rest(load):
    return not (load.queued or load.running or load.in_flight_bytes)


@pytest.mark.parametrize("max_rows", [1, 16])
async def test_histories_of_requests_end_each_once_and_leave_workers_idle(bench, max_rows):
    """Good ones get their own answer, bad ones a failure, those of a gateway that vanished or sent malformed bytes get nothing;
    others are not affected; at the end nothing is queued, running or held.
    """
    first, second = await bench.worker("a"), await bench.worker("b")
    route = await pipeline(bench, first, second, max_rows=max_rows)
    await asyncio.to_thread(playing(route))


def playing(route, max_examples=25):
    """Returns what plays histories on a route of the running loop's workers, from another thread."""
    loop = asyncio.get_running_loop()

    @settings(max_examples=max_examples, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(steps, max_size=20))
    def check(history):
        with capture_logs() as logs:
            asyncio.run_coroutine_threadsafe(play(route, history), loop).result(2 * LONG_S)
        assert not [line for line in logs if line["log_level"] == "error"]

    return check
