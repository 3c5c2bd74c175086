"""Gateways that share loads and sessions through a real Redis, on real processes, under traffic."""

from __future__ import annotations

import json
import threading

import pytest
import redis as redis_client
from tritonclient import grpc as triton

from onnxmesh.client import RouteOptions
from tests.chaos.traffic import require
from tests.fakes.service_processes import ServiceProcesses, call_mesh, deploy, until
from tests.fakes.service_program import RedisProgram
from tests.zoo import ZOO

pytestmark = [pytest.mark.services, pytest.mark.timeout(1200)]

OUTAGE_S = 12.0
"""Longer than shared loads are valid, in each half of it: 3 s."""


def request():
    return [
        triton.InferInput(name, list(array.shape), "FP32").set_data_from_numpy(array)
        for name, array in ZOO["mlp"].inputs(1, 1).items()
    ]


def writers(redis):
    """Returns the gateways whose observed loads are in Redis, with the workers of each."""
    client = redis_client.Redis.from_url(redis.url)
    try:
        found = {}
        for key in client.keys("onnxmesh:load:by:*"):
            document = client.get(key)
            if document is not None:
                found[key.decode().rpartition(":")[2]] = {row[0] for row in json.loads(document)["said"]}
        return found
    finally:
        client.close()


def shares_again(log):
    """Whether a gateway has logged that it lost Redis, and since then that it found it."""
    return "redis_lost" in log and log.rindex("redis_found") > log.rindex("redis_lost")


@pytest.mark.parametrize("fault", ["killed", "frozen"])
def test_traffic_survives_an_outage_of_redis(fault, clients, tmp_path):
    """Gateways share through Redis, go on without it, and share again when it is back.

    Meanwhile a worker dies without a failed request, and requests that require the other one are answered.
    """
    model = ZOO["mlp"].build(tmp_path)
    with RedisProgram(tmp_path / "redis") as redis, ServiceProcesses(tmp_path) as mesh:
        scheduler = mesh.start("scheduler-1")

        def start(worker):
            mesh.start(worker, "--threads=1", "--no-measure", f"--scheduler={scheduler}", f"--tags={worker}")

        for name in ("worker-1", "worker-2"):
            start(name)
        gateways = [
            mesh.start(name, "--listen=127.0.0.1:0", f"--scheduler={scheduler}", f"--redis={redis.url}")
            for name in ("gateway-1", "gateway-2")
        ]
        until(lambda: len(call_mesh(gateways[0], lambda client: client.status(timeout=300)).workers) == 2)
        deploy(gateways[0], model, name="mlp", stages=2, replicas=2)
        for address in gateways:
            until(
                lambda address=address: call_mesh(
                    address, lambda client: client.model_ready("mlp", timeout=10)
                )
            )
        both = {"gateway-1": {"worker-1", "worker-2"}, "gateway-2": {"worker-1", "worker-2"}}
        with (
            clients(gateways[0], 2, "mlp", request, "probabilities") as one,
            clients(gateways[1], 2, "mlp", request, "probabilities") as two,
        ):
            until(lambda: writers(redis) == both)
            redis.freeze() if fault == "frozen" else redis.kill()
            with one.at_ease(), two.at_ease():
                threading.Event().wait(OUTAGE_S / 2)
            mesh.kill("worker-2")
            for address in gateways:
                require(address, "worker-1", "mlp", request)
            with one.at_ease(), two.at_ease():
                threading.Event().wait(OUTAGE_S / 2)
            one.wait_for(100)
            two.wait_for(100)
            redis.thaw() if fault == "frozen" else redis.start()
            with one.at_ease(), two.at_ease():
                start("worker-2")
                until(lambda: all(shares_again(mesh.log(name)) for name in both))
                until(lambda: writers(redis) == both)
            one.wait_for(100)
            two.wait_for(100)
        assert one.failures == two.failures == []


def test_gateways_share_sessions_and_the_scheduler_reads_observed_loads(tmp_path):
    """Each session is on one worker through both gateways; `status` has the load that gateways observe."""
    model = ZOO["mlp"].build(tmp_path)
    inputs = ZOO["mlp"].inputs(1, 1)
    with RedisProgram(tmp_path / "redis") as redis, ServiceProcesses(tmp_path) as mesh:
        shared = f"--redis={redis.url}"
        scheduler = mesh.start("scheduler-1", shared)
        for name, zone in (("worker-1", "a"), ("worker-2", "a"), ("worker-3", "a")):
            mesh.start(name, "--threads=1", "--no-measure", f"--scheduler={scheduler}", f"--zone={zone}")
        gateways = [
            mesh.start(name, "--listen=127.0.0.1:0", f"--scheduler={scheduler}", shared, "--zone=a")
            for name in ("gateway-1", "gateway-2")
        ]
        until(lambda: len(call_mesh(gateways[0], lambda client: client.status(timeout=300)).workers) == 3)
        deploy(gateways[0], model, name="mlp", stages=1, replicas=3)
        for address in gateways:
            until(
                lambda address=address: call_mesh(
                    address, lambda client: client.model_ready("mlp", timeout=10)
                )
            )

        def served(address, session):
            """Returns which worker served a session's next request."""
            options = RouteOptions(session=session)
            answer = call_mesh(
                address, lambda client: client.infer("mlp", inputs, trace=True, options=options)
            )
            return answer.trace.hops[0].worker

        sessions = [f"s{number}" for number in range(12)]
        first = {session: served(gateways[0], session) for session in sessions}
        assert len(set(first.values())) > 1
        until(lambda: redis_holds(redis, len(sessions)))
        assert {session: served(gateways[1], session) for session in sessions} == first
        assert {session: served(gateways[0], session) for session in sessions} == first

        def status():
            return call_mesh(scheduler, lambda client: client.status(timeout=300)).workers

        until(lambda: all(worker.HasField("observed_load") for worker in status()))
        assert {worker.attributes["zone"] for worker in status()} == {"a"}


def redis_holds(redis, num_sessions):
    """Whether so many sessions are in Redis."""
    client = redis_client.Redis.from_url(redis.url)
    try:
        return len(client.keys("onnxmesh:session:*")) == num_sessions
    finally:
        client.close()
