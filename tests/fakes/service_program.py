"""Real Consul agents and Redis servers for tests, each in a folder of its own, on free ports."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
import urllib.request
from abc import ABC, abstractmethod
from pathlib import Path

import pytest


def program(name):
    """Returns the path of a program; without it skips the test, or fails it if services are required."""
    path = shutil.which(name)
    if path is None:
        if os.environ.get("ONNXMESH_REQUIRE_SERVICES") == "1":
            pytest.fail(f"'{name}' is required here and is not on the path")
        pytest.skip(f"'{name}' is not on the path")
    return path


def free_ports(count):
    """Returns ports that were free a moment ago, all different."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


class ServiceProgram(ABC):
    """A program that serves at 127.0.0.1:`port`, and can be stopped, killed and started again.

    Args:
        command: Its command line.
        folder: Its working folder and log.
        port: Its port.
    """

    def __init__(self, command, folder, port):
        self.command = command
        self.folder = Path(folder)
        self.port = port
        self._process = None

    def __enter__(self):
        try:
            self.start()
        except BaseException:
            self.kill()
            raise
        return self

    def __exit__(self, *_):
        self.kill()

    def start(self):
        """Starts it and returns once it is ready."""
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(self.command, cwd=self.folder, stdout=log, stderr=log)
        end = time.monotonic() + 300
        while not self.serves():
            assert self._process.poll() is None, (self.folder / "log").read_text()[-3000:]
            assert time.monotonic() < end, (self.folder / "log").read_text()[-3000:]
            time.sleep(0.02)

    @abstractmethod
    def serves(self):
        """Returns whether it is ready."""

    def kill(self):
        """Kills it with SIGKILL."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def freeze(self):
        """Suspends it: connections stay open, and nothing is answered."""
        os.kill(self._process.pid, signal.SIGSTOP)

    def thaw(self):
        """Resumes it."""
        os.kill(self._process.pid, signal.SIGCONT)


class ConsulProgram(ServiceProgram):
    """One Consul server that keeps its state in `folder`.

    Args:
        folder: Its working folder.
        config: Further configuration.
        token: A token that may read the catalogue, with access control.
    """

    def __init__(self, folder, *, config="", token=""):
        self._token = token
        http, rpc, lan = free_ports(3)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.hcl").write_text(f"performance {{ raft_multiplier = 1 }}\n{config}")
        command = [program("consul"), "agent", "-server", "-bootstrap-expect=1", "-node=one"]
        command += ["-bind=127.0.0.1", "-client=127.0.0.1", f"-data-dir={folder}/data", "-log-level=warn"]
        command += ["-dns-port=-1", "-grpc-port=-1", "-serf-wan-port=-1", f"-config-file={folder}/config.hcl"]
        command += [f"-http-port={http}", f"-server-port={rpc}", f"-serf-lan-port={lan}"]
        super().__init__(command, folder, http)

    @property
    def address(self):
        return f"127.0.0.1:{self.port}"

    def serves(self):
        """Whether it has a leader, and its node is in the catalogue."""
        try:
            where = f"http://{self.address}/v1/catalog/node/one"
            request = urllib.request.Request(
                where, headers={"X-Consul-Token": self._token} if self._token else {}
            )
            with urllib.request.urlopen(request, timeout=10) as answer:
                return b'"Node"' in answer.read()
        except OSError:
            return False


class RedisProgram(ServiceProgram):
    """One Redis server that keeps nothing on disk."""

    def __init__(self, folder, *options, port=None):
        port = port or free_ports(1)[0]
        folder.mkdir(parents=True, exist_ok=True)
        command = [program("redis-server"), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        command += ["--port", str(port), "--dir", str(folder), *options]
        super().__init__(command, folder, port)

    @property
    def url(self):
        return f"redis://127.0.0.1:{self.port}/0"

    def serves(self):
        """Whether it answers."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=10) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(64) != b""
        except OSError:
            return False
