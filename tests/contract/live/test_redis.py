"""LiveState: one contract for the embedded and the Redis adapter."""

from __future__ import annotations

import asyncio
import subprocess
from contextlib import AsyncExitStack, asynccontextmanager
from time import monotonic

import pytest

from onnxmesh.errors import InvalidRequest
from onnxmesh.live.base import Topic
from onnxmesh.live.embedded import EmbeddedLiveState
from onnxmesh.live.redis import RedisLiveState
from onnxmesh.live.redis_url import open_redis
from tests.contract.running import running
from tests.eventually import eventually
from tests.fakes.service_program import RedisProgram, free_ports, program

FAST = {"period_s": 0.05, "timeout_s": 0.5}


def done(command):
    subprocess.run(command, check=True, capture_output=True)


class VirtualClock:
    def __init__(self):
        self.ahead_s = 0.0

    def __call__(self):
        return monotonic() + self.ahead_s


@asynccontextmanager
async def sharing(url, writer, prefix, clock=monotonic, **options):
    own = EmbeddedLiveState(writer, clock=clock)
    live = RedisLiveState(url, own, prefix=prefix, clock=clock, **{**FAST, **options})
    async with running(live.run()):
        yield live


@pytest.fixture(params=["embedded", pytest.param("redis", marks=pytest.mark.services)])
async def live(request, prefix):
    """One process's live state, with a clock that can be set ahead."""
    clock = VirtualClock()
    if request.param == "embedded":
        yield EmbeddedLiveState("me", clock=clock), clock
        return
    url = request.getfixturevalue("redis_program").url
    async with sharing(url, "me", prefix, clock) as shared:
        await eventually(lambda: shared.is_shared)
        yield shared, clock


async def test_publish_replaces_an_entry_and_withdraw_removes_it(live):
    state, _ = live
    state.publish(Topic.LOAD, "w1", {"queue_s": 1.0}, 60)
    state.publish(Topic.LOAD, "w1", {"queue_s": 2.5, "in_flight_bytes": 7}, 60)
    state.publish(Topic.ROUND_TRIP, "w1>w2", {"round_trip_s": 0.001}, 60)
    (entry,) = state.entries(Topic.LOAD)["w1"]
    assert (entry.writer, entry.key) == ("me", "w1")
    assert entry.values == {"queue_s": 2.5, "in_flight_bytes": 7}
    assert 0 <= entry.age_s < 5
    assert set(state.entries(Topic.ROUND_TRIP)) == {"w1>w2"}
    state.withdraw(Topic.LOAD, "w1")
    state.withdraw(Topic.LOAD, "w1")
    assert not state.entries(Topic.LOAD)


async def test_entries_and_sessions_expire(live):
    state, clock = live
    state.publish(Topic.EJECTION, "w1", {"until_s": 1.0}, 10)
    state.publish(Topic.EJECTION, "w2", {"until_s": 1.0}, 30)
    state.set_session("s1", "w1", 10)
    state.set_session("s2", "w2", 1000)
    clock.ahead_s += 20
    assert set(state.entries(Topic.EJECTION)) == {"w2"}
    assert state.entries(Topic.EJECTION)["w2"][0].age_s >= 20
    assert await state.find_session("s2") == "w2"
    clock.ahead_s += 20
    assert not state.entries(Topic.EJECTION)


async def test_find_session_returns_the_place_that_was_set_last(live):
    state, _ = live
    assert await state.find_session("s") is None
    state.set_session("s", "w1", 60)
    state.set_session("s", "w2", 60)
    assert await state.find_session("s") == "w2"
    state.remove_session("s")
    state.remove_session("s")
    assert await state.find_session("s") is None


def test_sessions_evict_the_oldest_entry_and_session_beyond_the_capacity():
    state = EmbeddedLiveState("me", max_entries=2, max_sessions=2)
    for name in ("a", "b", "a", "c"):
        state.publish(Topic.LOAD, name, {}, 60)
        state.set_session(name, name, 60)
    assert set(state.entries(Topic.LOAD)) == {"a", "c"}
    assert [state.local_session(name) for name in "abc"] == ["a", None, "c"]


@pytest.mark.services
async def test_entries_of_all_processes_are_returned_newest_first(redis_program, prefix):
    """Each process sees the entries of all, with their age; a withdrawn one disappears for all."""
    async with (
        sharing(redis_program.url, "g1", prefix) as one,
        sharing(redis_program.url, "g2", prefix) as two,
        sharing(redis_program.url, "g3", f"{prefix}-other") as other_mesh,
    ):
        one.publish(Topic.LOAD, "w", {"queue_s": 1.0}, 60)
        await eventually(lambda: "w" in two.entries(Topic.LOAD))
        two.publish(Topic.LOAD, "w", {"queue_s": 2.0}, 60)
        await eventually(lambda: len(one.entries(Topic.LOAD)["w"]) == 2)
        assert [each.writer for each in one.entries(Topic.LOAD)["w"]] == ["g2", "g1"]
        assert [each.values["queue_s"] for each in two.entries(Topic.LOAD)["w"]] == [2.0, 1.0]
        one.withdraw(Topic.LOAD, "w")
        await eventually(lambda: len(two.entries(Topic.LOAD)["w"]) == 1)
        assert other_mesh.is_shared
        assert not other_mesh.entries(Topic.LOAD)


@pytest.mark.services
async def test_entries_of_every_topic_are_shared_at_the_same_time(redis_program, prefix):
    """In whatever order the topics were published."""
    async with (
        sharing(redis_program.url, "g1", prefix) as one,
        sharing(redis_program.url, "g2", prefix) as two,
    ):
        for topic in Topic:
            one.publish(topic, topic.value, {"value": 1.0}, 60)
            await eventually(lambda topic=topic: topic.value in two.entries(topic))
        assert all(set(two.entries(topic)) == {topic.value} for topic in Topic)


@pytest.mark.services
async def test_local_session_knows_the_sessions_of_this_process_only(redis_program, prefix):
    """Another process has to find the session."""
    async with (
        sharing(redis_program.url, "g1", prefix) as one,
        sharing(redis_program.url, "g2", prefix) as two,
    ):
        one.set_session("s", "w", 60)
        assert one.local_session("s") == "w"
        for _ in range(200):
            if await two.find_session("s") == "w":
                break
            await asyncio.sleep(0.02)
        else:
            pytest.fail("never found")
        assert two.local_session("s") is None


@pytest.mark.services
async def test_entries_of_a_dead_process_expire_for_the_others(redis_program, prefix):
    """Each entry and each session at its own time."""
    async with sharing(redis_program.url, "g1", prefix) as one:
        async with sharing(redis_program.url, "g2", prefix) as two:
            two.publish(Topic.LOAD, "short", {}, 0.4)
            two.publish(Topic.LOAD, "long", {}, 60)
            two.set_session("s", "w7", 60)
            await eventually(lambda: {"short", "long"} <= set(one.entries(Topic.LOAD)))
            await eventually(lambda: not two._pending)
        await eventually(lambda: set(one.entries(Topic.LOAD)) == {"long"})
        assert one.entries(Topic.LOAD)["long"][0].age_s >= 0.35
        await _found(one, "s", "w7")


async def _use_live_state_while_nothing_is_shared(live):
    """Uses live state as requests do, while nothing is shared; returns how often a lookup waited for Redis."""
    num_waits = 0
    for number in range(20):
        live.publish(Topic.LOAD, f"w{number}", {"queue_s": 1.0}, 60)
        live.set_session(f"s{number}", "w1", 60)
        assert f"w{number}" in live.entries(Topic.LOAD)
        for session, place in ((f"s{number}", "w1"), ("unknown", None)):
            found = asyncio.ensure_future(live.find_session(session))
            await asyncio.sleep(0)
            num_waits += not found.done()
            assert await found == place
    return num_waits


@pytest.mark.services
@pytest.mark.parametrize("fault", ["frozen", "killed"])
async def test_redis_outage_leaves_a_process_its_own_entries_and_publishes_them_later(
    fault, tmp_path, prefix
):
    """At most one lookup waits; what was published meanwhile arrives once Redis answers again."""
    with RedisProgram(tmp_path / "redis") as redis:
        async with sharing(redis.url, "g1", prefix) as one, sharing(redis.url, "g2", prefix) as two:
            two.publish(Topic.LOAD, "theirs", {}, 60)
            await eventually(lambda: "theirs" in one.entries(Topic.LOAD))
            if fault == "frozen":
                redis.freeze()
            else:
                redis.kill()
            assert await _use_live_state_while_nothing_is_shared(one) <= 1
            await eventually(lambda: not one.is_shared)
            assert "theirs" in one.entries(Topic.LOAD)
            assert await _use_live_state_while_nothing_is_shared(one) == 0
            if fault == "frozen":
                redis.thaw()
            else:
                redis.start()
            await eventually(lambda: one.is_shared and two.is_shared and "w19" in two.entries(Topic.LOAD))
            await eventually(lambda: not one._pending)
            await _found(two, "s19", "w1")


@pytest.mark.services
async def test_redis_cluster_serves(tmp_path, prefix):
    """Keys of live state lie anywhere in a cluster."""
    client, bus = free_ports(2)
    options = ("--cluster-enabled", "yes", "--cluster-port", str(bus))
    with RedisProgram(tmp_path / "redis", *options, port=client):
        command = [program("redis-cli"), "-p", str(client), "cluster", "addslotsrange", "0", "16383"]
        done(command)
        await _served(f"redis+cluster://127.0.0.1:{client}", prefix)


@pytest.mark.services
async def test_sentinels_name_the_master_that_serves(tmp_path, prefix):
    (sentinel,) = free_ports(1)
    with RedisProgram(tmp_path / "redis") as redis:
        folder = tmp_path / "sentinel"
        folder.mkdir()
        config = folder / "sentinel.conf"
        config.write_text(f"port {sentinel}\nsentinel monitor live 127.0.0.1 {redis.port} 1\n")
        watching = RedisProgram(folder, port=sentinel)
        watching.command = [program("redis-server"), str(config), "--sentinel"]
        with watching:
            await _served(f"redis+sentinel://127.0.0.1:{sentinel}/live/0", prefix)


@pytest.mark.services
async def test_tls_and_a_user_of_the_access_list_are_used(tmp_path, prefix):
    """The URL carries the authority, the user and the password; without them nothing is shared."""
    (encrypted,) = free_ports(1)
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=redis"]
    command += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(cert)]
    done(command)
    tls = ("--tls-port", str(encrypted), "--tls-cert-file", str(cert), "--tls-key-file", str(key))
    user = ("--user", "mesh", "on", ">secret@1", "~mesh*", "+@all", "--user", "default", "off")
    with RedisProgram(tmp_path / "redis", *tls, "--tls-auth-clients", "no", *user):
        where = f"127.0.0.1:{encrypted}/0?ssl_ca_certs={cert}"
        await _served(f"rediss://mesh:secret%401@{where}", prefix)
        async with sharing(f"rediss://mesh:wrong@{where}", "g3", prefix) as refused:
            await eventually(lambda: refused._logged_lost)
            assert not refused.is_shared


async def _found(live, session, place):
    """Returns once another process's session is found: a lookup that takes too long finds nothing."""
    async with asyncio.timeout(60):
        while True:
            if await live.find_session(session) == place:
                return
            await asyncio.sleep(0.01)


async def _served(url, prefix):
    """Two processes share entries and sessions through the Redis at `url`."""
    async with AsyncExitStack() as stack:
        one = await stack.enter_async_context(sharing(url, "g1", prefix, timeout_s=2.0))
        two = await stack.enter_async_context(sharing(url, "g2", prefix, timeout_s=2.0))
        for topic in Topic:
            one.publish(topic, "w", {"x": 1.0}, 60)
        for number in range(20):
            one.set_session(f"s{number}", f"w{number}", 60)
        await eventually(lambda: two.is_shared and all("w" in two.entries(topic) for topic in Topic))
        await eventually(lambda: not one._pending)
        for number in range(20):
            await _found(two, f"s{number}", f"w{number}")


@pytest.mark.parametrize(
    "url",
    [
        "",
        "redis",
        "http://a",
        "redis+x://a",
        "redis+sentinel://a:1",
        "redis+sentinel://a:b/live",
        "redis+sentinel:///x",
    ],
)
def test_open_redis_refuses_a_malformed_url(url):
    with pytest.raises(InvalidRequest, match="not a Redis URL"):
        open_redis(url, 1.0)
