"""The search for a scheduler."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from types import SimpleNamespace

import pytest
from structlog.testing import capture_logs

from onnxmesh.discovery.scheduler_addresses import ConfiguredSchedulers, DiscoveredSchedulers
from onnxmesh.discovery.scheduler_search import SchedulerSearch
from onnxmesh.errors import Conflict, Internal, Unavailable
from tests.eventually import eventually


@asynccontextmanager
async def running(search):
    task = asyncio.ensure_future(search.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


async def test_scheduler_search_logs_repeatedly_that_no_scheduler_is_found():
    """With the addresses that were tried and why each failed; not while one is found."""
    search = SchedulerSearch(ConfiguredSchedulers(["a:1", "b:2"]), first_s=0.01, interval_s=0.02)
    search.failed("a:1", Unavailable("ipv4:1.2.3.4:1: Failed to connect to remote host: Connection refused"))
    with capture_logs() as logs:
        async with running(search):
            await eventually(lambda: len(logs) >= 3)
            search.found()
            await search.wait_found()
            await asyncio.sleep(0)
            num_logs = len(logs)
            search.lost()
            await eventually(lambda: len(logs) > num_logs)
    assert {log["event"] for log in logs} == {"no_scheduler_found"}
    assert {log["log_level"] for log in logs} == {"warning"}
    assert logs[0]["why"] == "a:1: nothing listens there; b:2: no reply yet"


async def test_scheduler_search_logs_no_warning_when_a_scheduler_is_found_at_once():
    """A healthy start logs none."""
    search = SchedulerSearch(ConfiguredSchedulers(["a:1"]), first_s=60.0)
    with capture_logs() as logs:
        async with running(search):
            search.found()
            await search.wait_found()
    assert logs == []


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (
            Unavailable("connection attempt timed out before receiving SETTINGS frame"),
            "what listens there does not speak gRPC",
        ),
        (Unavailable("draining"), "draining"),
        (Internal("Method not found!"), "what answers there is not a scheduler, or fails: Method not found!"),
        (
            Conflict("worker 'w' is registered by a newer process"),
            "worker 'w' is registered by a newer process",
        ),
        ("it has not connected", "it has not connected"),
    ],
)
def test_reasons_are_in_words(error, reason):
    """The last one of each address."""
    search = SchedulerSearch(ConfiguredSchedulers(["a:1"]))
    search.failed("a:1", "an earlier one")
    search.failed("a:1", error)
    assert search.why() == f"a:1: {reason}"


def test_scheduler_search_reports_why_there_is_no_address():
    """Nothing is configured, or the directory has none."""
    assert SchedulerSearch(ConfiguredSchedulers([])).why() == "none is configured, by --scheduler or --consul"

    empty = SimpleNamespace(instances={})
    discovered = DiscoveredSchedulers(empty, lambda: "Consul at http://c:8500 has none")
    assert SchedulerSearch(discovered).why() == "Consul at http://c:8500 has none"
