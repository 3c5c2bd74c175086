"""One suite for each port: it runs on every adapter, on real servers where there are any."""

from __future__ import annotations

import itertools

import pytest

from onnxmesh.consul.access import ConsulAccess
from onnxmesh.consul.agent import ConsulAgent
from tests.fakes.service_program import ConsulProgram, RedisProgram

_meshes = itertools.count()


@pytest.fixture(scope="session")
def consul_program(tmp_path_factory):
    """One Consul server for all tests that do not harm it."""
    with ConsulProgram(tmp_path_factory.mktemp("consul")) as running:
        yield running


@pytest.fixture(scope="session")
def redis_program(tmp_path_factory):
    """One Redis server for all tests that do not harm it."""
    with RedisProgram(tmp_path_factory.mktemp("redis")) as running:
        yield running


@pytest.fixture
def prefix():
    """A name that no other test uses."""
    return f"mesh{next(_meshes)}"


@pytest.fixture
def open_agent(prefix):
    """`open_agent(program)`: a client of a Consul server, for this test's own mesh."""
    agents = []

    def make(program, **access):
        agent = ConsulAgent(
            # A write waits for Consul's disk, which others may use: that is no failure.
            ConsulAccess(
                host="127.0.0.1", port=program.port, prefix=prefix, wait_s=1.0, timeout_s=60.0, **access
            )
        )
        agents.append(agent)
        return agent

    yield make
    for agent in agents:
        agent.close()
