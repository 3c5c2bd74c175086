"""A gateway of several processes on one port, each of them real."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import urllib.request
from contextlib import AsyncExitStack, asynccontextmanager, suppress

import numpy as np
import psutil
from tritonclient.grpc import InferInput
from tritonclient.grpc.aio import InferenceServerClient

from onnxmesh.service.health import health_of
from tests.eventually import eventually
from tests.fakes.fake_scheduler import FakeScheduler
from tests.fakes.fake_stage_worker import FakeStageWorker
from tests.fakes.routed_models import routed_model
from tests.fakes.service_program import free_ports
from tests.integration.gateway.running_gateway import double
from tests.integration.gateway.test_process import GATEWAY, environment

LONG_S = 300


class Processes:
    """A running gateway, and what it is made of.

    Attributes:
        process: The parent.
        address: Where clients reach it.
        scheduler: Knows who is registered.
        worker: Sees which process sends it what.
    """

    def __init__(self, process, address, scheduler, worker):
        self.process = process
        self.address = address
        self.scheduler = scheduler
        self.worker = worker
        self.family = psutil.Process(process.pid).children(recursive=True)

    def pid(self, name):
        """Returns the process that is the gateway of this name now."""
        (found,) = [
            child.pid
            for child in psutil.Process(self.process.pid).children()
            if f"--id={name}" in child.cmdline()
        ]
        return found

    def origins(self):
        """Who sent the worker something so far."""
        return {activation.key.origin for activation in self.worker.activations}

    async def until_all_route(self, num_processes):
        """Waits until every process is registered and has a link to the worker, so that it routes."""
        await eventually(lambda: len(self.scheduler.instances) == num_processes, LONG_S)
        await eventually(lambda: len({link.peer for link in self.worker._up}) == num_processes, LONG_S)


@asynccontextmanager
async def started(*options, scheduler=None):
    """Runs `python -m services.gateway`; yields the process, and the address of its ready line.

    Without a scheduler of the test it has one without models: it would not be ready without.
    """
    if scheduler is None:
        async with FakeScheduler().running() as empty:
            empty.publish()
            async with started(*options, scheduler=empty.address) as running:
                yield running
        return
    command = [*GATEWAY, "--id=g", f"--scheduler={scheduler}", "--log-format=json", *options]
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, env=environment()
    )
    try:
        async with asyncio.timeout(LONG_S):
            word, role, address = (await process.stdout.readline()).decode().split()
        assert (word, role) == ("ready", "gateway")
        yield process, address
    finally:
        if process.returncode is None:
            process.terminate()
            await process.wait()


@asynccontextmanager
async def processes(num_processes, *options):
    """A gateway of so many processes, with a scheduler and a worker in this one that serves the model `m`."""
    async with (
        FakeScheduler().running() as scheduler,
        FakeStageWorker("a", double).running() as worker,
    ):
        scheduler.publish(routed_model([[("a", worker.address)]]))
        listen = () if any(option.startswith("--listen") for option in options) else ("--listen=127.0.0.1:0",)
        async with started(
            f"--processes={num_processes}", *listen, *options, scheduler=scheduler.address
        ) as (process, address):
            gateway = Processes(process, address, scheduler, worker)
            await gateway.until_all_route(num_processes)
            yield gateway


@asynccontextmanager
async def clients(address, count):
    """So many clients, each with a connection of its own."""
    async with AsyncExitStack() as stack:
        own = [("grpc.use_local_subchannel_pool", 1)]
        yield [
            await stack.enter_async_context(InferenceServerClient(address, channel_args=own))
            for _ in range(count)
        ]


async def infer(client):
    """Has one request answered."""
    x = InferInput("x", [1, 4], "FP32").set_data_from_numpy(np.ones((1, 4), np.float32))
    answer = await client.infer("m", [x], client_timeout=LONG_S)
    assert answer.as_numpy("y").tolist() == [[2.0] * 4]


async def origin_of(gateway, client):
    """Returns which process a client is connected to."""
    before = len(gateway.worker.activations)
    await infer(client)
    return gateway.worker.activations[before].key.origin


async def test_processes_serve_and_one_that_dies_is_restarted():
    """Connections are spread over all; kill -9 of one fails no request of another, and it serves again as who it was."""
    names = {"g-0", "g-1", "g-2", "g-3"}
    async with processes(4) as gateway, clients(gateway.address, 64) as connected:
        of_process = {}
        for client in connected:
            of_process.setdefault(await origin_of(gateway, client), []).append(client)
        assert set(of_process) == names
        before = dict(gateway.scheduler.instances)
        assert set(before) == names
        assert len({instance.address for instance in before.values()}) == 4
        stop = asyncio.Event()
        num_answers = 0

        async def infer_until_stopped(client):
            nonlocal num_answers
            while not stop.is_set():
                await infer(client)
                num_answers += 1

        async with asyncio.TaskGroup() as asking:
            for name in names - {"g-1"}:
                asking.create_task(infer_until_stopped(of_process[name][0]))
            await eventually(lambda: num_answers > 10, LONG_S)
            killed = gateway.pid("g-1")
            os.kill(killed, signal.SIGKILL)

            def is_back():
                instance = gateway.scheduler.instances.get("g-1")
                return instance is not None and instance.generation > before["g-1"].generation

            await eventually(is_back, LONG_S)
            goal = num_answers + 10
            await eventually(lambda: num_answers > goal, LONG_S)
            stop.set()
        assert gateway.pid("g-1") != killed
        assert gateway.scheduler.instances["g-1"].address == before["g-1"].address
        assert health_of(before["g-1"].address) == "SERVING"
        used = numbers(gateway, "g-1")
        gateway.worker.activations.clear()
        for _ in range(20):
            async with clients(gateway.address, 16) as fresh:
                await asyncio.gather(*map(infer, fresh))
            if "g-1" in gateway.origins():
                break
        assert "g-1" in gateway.origins()
        # Else what a worker knows of the dead one's requests would be taken for its own.
        assert min(numbers(gateway, "g-1")) > max(used)


def numbers(gateway, name):
    """Which numbers requests of a process have had."""
    keys = [activation.key for activation in gateway.worker.activations]
    return {key.number for key in keys if key.origin == name}


async def test_processes_drain_on_a_signal_to_the_parent():
    """What was sent before is answered, nothing is left of any process, and the exit code is 0."""
    async with processes(3, "--drain-s=60") as gateway, clients(gateway.address, 24) as connected:
        for client in connected:
            await infer(client)
        assert gateway.origins() == {"g-0", "g-1", "g-2"}
        gateway.worker.activations.clear()
        gateway.worker.holding = True
        requests = [asyncio.ensure_future(infer(client)) for client in connected]
        await eventually(lambda: len(gateway.worker.activations) == len(requests), LONG_S)
        assert gateway.origins() == {"g-0", "g-1", "g-2"}
        gateway.process.terminate()
        await eventually(lambda: not gateway.scheduler.instances, LONG_S)
        assert not any(request.done() for request in requests)
        gateway.worker.release()
        await asyncio.gather(*requests)
        async with asyncio.timeout(LONG_S):
            assert await gateway.process.wait() == 0
        assert len(gateway.family) == 3
        assert not [child for child in gateway.family if child.is_running()]


async def test_processes_end_with_a_killed_parent_and_the_next_one_takes_over_their_port():
    """Without a word from it; who starts it again at once gets the address."""
    async with processes(2) as gateway:
        gateway.process.kill()
        await gateway.process.wait()
        async with started("--processes=2", f"--listen={gateway.address}") as (_, address):
            assert address == gateway.address
            await eventually(lambda: not [child for child in gateway.family if child.is_running()], LONG_S)
            await eventually(lambda: health_of(address) == "SERVING", LONG_S)


async def test_processes_refuse_a_port_in_use():
    """Also where those who have it share it among themselves: two gateways by mistake would each get some of the clients.

    Then after a while alone: they might be what a killed parent left.
    """
    async with started("--listen=127.0.0.1:0") as (_, taken):
        await refused(taken, "--processes=2")
    async with started("--processes=2", "--listen=127.0.0.1:0") as (_, shared):
        await refused(shared, "--processes=2", "--drain-s=0")


async def refused(address, *options):
    command = [*GATEWAY, "--scheduler=127.0.0.1:1", f"--listen={address}", *options]
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, env=environment()
    )
    async with asyncio.timeout(LONG_S):
        out, errors = await process.communicate()
    assert process.returncode == 1
    assert out == b""
    assert f"cannot listen on {address}: " in errors.decode()


async def test_processes_have_a_shared_address_and_consecutive_own_ports():
    """Beside a shared address, `--listen` and `--metrics` are of the first process, the next ones have the ports after."""
    (shared,) = free_ports(1)
    own, metrics = adjacent_ports(), adjacent_ports()
    options = [f"--shared-listen=127.0.0.1:{shared}", f"--listen=127.0.0.1:{own}", "--advertise=localhost:0"]
    async with processes(2, *options, f"--metrics=127.0.0.1:{metrics}") as gateway:
        assert gateway.address == f"127.0.0.1:{shared}"
        assert {name: instance.address for name, instance in gateway.scheduler.instances.items()} == {
            "g-0": f"localhost:{own}",
            "g-1": f"localhost:{own + 1}",
        }
        for port in (shared, own, own + 1):
            await eventually(lambda port=port: health_of(f"127.0.0.1:{port}") == "SERVING", LONG_S)
        for port in (metrics, metrics + 1):
            with await asyncio.to_thread(urllib.request.urlopen, f"http://127.0.0.1:{port}/metrics") as got:
                assert b"onnxmesh_gateway_requests_in_flight 0.0" in got.read()


def adjacent_ports():
    """Returns the first of two ports in a row that were free a moment ago."""
    while True:
        with socket.socket() as one, socket.socket() as next_one:
            one.bind(("127.0.0.1", 0))
            port = one.getsockname()[1]
            with suppress(OSError, OverflowError):
                next_one.bind(("127.0.0.1", port + 1))
                return port


async def test_processes_receive_secrets_by_the_environment():
    """A setting that its parent was given is in no process's command line, which everybody on the host may read."""
    async with started("--processes=2", "--listen=127.0.0.1:0", "--redis=redis://:hush@127.0.0.1:1/0") as (
        process,
        _,
    ):
        children = psutil.Process(process.pid).children()
        assert len(children) == 2
        for child in children:
            assert "hush" not in " ".join(child.cmdline())
            assert child.environ()["ONNXMESH_REDIS"] == "redis://:hush@127.0.0.1:1/0"
