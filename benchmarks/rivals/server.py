"""A running rival: started in a session of its own, and ended with all its processes."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import subprocess
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from time import monotonic

import grpc
import numpy as np
import psutil

from benchmarks.load import METHOD, request
from benchmarks.models import BuiltModel
from benchmarks.processes import Processes
from benchmarks.rivals.environment import Environment, RivalMissing
from benchmarks.rivals.rival import Launch, Rival, plain_environment

_MARK = "ONNXMESH_BENCH_MARK"
_START_TIMEOUT_S = 120.0
_STOP_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class RivalServer:
    """A rival that is ready.

    Attributes:
        name: Of the rival.
        address: HOST:PORT.
        processes: All of its own.
    """

    name: str
    address: str
    processes: Processes


@contextlib.contextmanager
def serving(
    rival: Rival, environment: Environment, models: Sequence[BuiltModel], folder: Path
) -> Iterator[RivalServer]:
    """Starts a rival with some models, and ends it with all its processes.

    Raises:
        RivalMissing: It did not start.
    """
    ports = free_ports(3)
    folder.mkdir(parents=True)
    launch = rival.launch(environment, models, folder, ports)
    with running(rival.name, launch, plain_environment(environment), folder) as server:
        for model in models:
            _wait_for(server, model, folder / "log.txt")
        yield RivalServer(
            server.name, server.address, Processes({rival.name: [each.pid for each in server.found()]})
        )


@dataclass(frozen=True, slots=True)
class MarkedServer:
    """A server whose processes all carry a mark in their environment, however far they went from it."""

    name: str
    address: str
    process: subprocess.Popen[bytes]
    mark: str

    def found(self) -> list[psutil.Process]:
        """Returns every process with the mark."""
        return [process for process in psutil.process_iter() if _has_mark(process, self.mark)]


@contextlib.contextmanager
def running(name: str, launch: Launch, variables: dict[str, str], folder: Path) -> Iterator[MarkedServer]:
    """Runs a server; at the end nothing is left that it started, not even what left its session.

    Raises:
        RivalMissing: The program is not there.
    """
    mark = uuid.uuid4().hex
    with (folder / "log.txt").open("wb") as log:
        try:
            process = subprocess.Popen(
                launch.command,
                env=variables | launch.environment | {_MARK: mark},
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except OSError as error:
            raise RivalMissing(f"does not start: {error}") from error
        server = MarkedServer(name, f"127.0.0.1:{launch.port}", process, mark)
        try:
            yield server
        finally:
            _end(server)


def free_ports(number: int) -> list[int]:
    """Returns free ports of loopback.

    They are below those that the kernel gives to connections: some servers make many of these before they listen.
    """
    free: list[int] = []
    for port in random.sample(range(20_000, 32_000), 1_000):
        with contextlib.suppress(OSError), socket.socket() as tried:
            tried.bind(("127.0.0.1", port))
            free.append(port)
        if len(free) == number:
            return free
    raise OSError(f"expected {number} free ports from 20000 to 31999, found {len(free)}")


def _wait_for(server: MarkedServer, model: BuiltModel, log: Path) -> None:
    with np.load(model.case) as case:
        body = request(model.name, {name: case[name] for name in case.files if name != "expected"})
    end_s = monotonic() + _START_TIMEOUT_S
    with grpc.insecure_channel(server.address, options=[("grpc.enable_http_proxy", 0)]) as channel:
        call = channel.unary_unary(METHOD)
        while True:
            try:
                call(body, timeout=5.0, wait_for_ready=False)
            except grpc.RpcError as error:
                refused = error
            else:
                return
            if server.process.poll() is not None:
                code = server.process.returncode
                raise RivalMissing(f"ended with exit code {code} at its start: {_last_line(log)}")
            if monotonic() > end_s:
                raise RivalMissing(f"does not answer within {_START_TIMEOUT_S:.0f} s: {refused.details()}")
            Event().wait(0.2)


def _end(server: MarkedServer) -> None:
    left = server.found()
    with contextlib.suppress(ProcessLookupError):
        os.killpg(server.process.pid, signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        server.process.wait(_STOP_TIMEOUT_S)
    # What was started while the others ended carries the mark, too.
    while left := [process for process in {*left, *server.found()} if process.is_running()]:
        for process in left:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(left, timeout=_STOP_TIMEOUT_S)
    server.process.wait()


def _has_mark(process: psutil.Process, mark: str) -> bool:
    try:
        return process.environ().get(_MARK) == mark and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def _last_line(log: Path) -> str:
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1] if lines else "without output"
