"""Hosts as network namespaces on a switch of their own; their addresses exist only there."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import shutil
import signal
import subprocess

import pytest

SUBNET = "10.77.0"
"""The same for every network: networks are isolated from each other."""

_numbers = itertools.count()


class Network:
    """Hosts by name, each a namespace with one interface. A context manager, which removes all of them.

    Call `require_namespaces()` first.
    """

    def __init__(self):
        self._prefix = f"mesh-{os.getpid()}-{next(_numbers)}"
        self._namespaces = contextlib.ExitStack()
        self.addresses = {}

    def __enter__(self):
        try:
            self._add("switch")
            self._ip("switch", "link", "add", "bridge", "type", "bridge")
            self._ip("switch", "link", "set", "bridge", "up")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        self._namespaces.close()

    def add(self, host, *, rate=None):
        """Adds a host and returns its address.

        Args:
            host: Its name.
            rate: Bandwidth in each direction in the notation of tc, such as `100mbit`; None: no limit.
        """
        address = f"{SUBNET}.{len(self.addresses) + 1}"
        self._add(host)
        port = f"port{len(self.addresses) + 1}"
        self._ip(
            host, "link", "add", "eth0", "type", "veth", "peer", "name", port, "netns", self._of("switch")
        )
        self._ip(host, "address", "add", f"{address}/24", "dev", "eth0")
        for interface in ("lo", "eth0"):
            self._ip(host, "link", "set", interface, "up")
        self._ip("switch", "link", "set", port, "master", "bridge")
        self._ip("switch", "link", "set", port, "up")
        if rate is not None:
            for where, device in ((host, "eth0"), ("switch", port)):
                shape = ("root", "tbf", "rate", rate, "burst", "64kb", "latency", "200ms")
                _run("tc", "-n", self._of(where), "qdisc", "add", "dev", device, *shape)
        self.addresses[host] = address
        return address

    def cut(self, host):
        """Disconnects the host: packets in both directions are lost without an error."""
        self._ip("switch", "link", "set", self._port(host), "down")

    def mend(self, host):
        """Connects the host again."""
        self._ip("switch", "link", "set", self._port(host), "up")

    def sent_bytes(self, host):
        """Returns the number of bytes that a host has sent."""
        (interface,) = json.loads(
            _run("ip", "-n", self._of(host), "-json", "-statistics", "link", "show", "eth0")
        )
        return interface["stats64"]["tx"]["bytes"]

    def on(self, host):
        """Returns the prefix of a command that runs it on a host, with its host name."""
        named = ("unshare", "--uts", "sh", "-c", 'hostname "$0" && exec "$@"', host)
        return ("ip", "netns", "exec", self._of(host), *named)

    def _port(self, host):
        return f"port{[*self.addresses].index(host) + 1}"

    def _of(self, host):
        return f"{self._prefix}-{host}"

    def _add(self, host):
        _run("ip", "netns", "add", self._of(host))
        self._namespaces.callback(_remove, self._of(host))

    def _ip(self, host, *words):
        _run("ip", "-n", self._of(host), *words)


def require_namespaces():
    """Skips the test without namespaces; fails it if services are required."""
    why = why_no_namespaces()
    if why is None:
        return
    if os.environ.get("ONNXMESH_REQUIRE_SERVICES") == "1":
        pytest.fail(f"network namespaces are required here: {why}")
    pytest.skip(f"no network namespaces: {why}")


def why_no_namespaces():
    """Returns why namespaces cannot be created here; None if they can."""
    if os.geteuid() != 0:
        return "only root can create them"
    for name in ("ip", "tc", "unshare"):
        if shutil.which(name) is None:
            return f"'{name}' is not on the path"
    try:
        with Network() as network:
            network.add("probe", rate="100mbit")
            subprocess.run([*network.on("probe"), "true"], check=True, capture_output=True, text=True)
    except subprocess.CalledProcessError as error:
        return f"'{' '.join(error.cmd)}' failed: {error.stderr.strip()}"
    return None


def _remove(namespace):
    # A process in it would keep it alive.
    for pid in _run("ip", "netns", "pids", namespace).split():
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(pid), signal.SIGKILL)
    _run("ip", "netns", "del", namespace)


def _run(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout
