"""Redis clients of URLs, without a Redis: a connection is established on first use."""

from __future__ import annotations

import pytest
from redis.asyncio import Redis, RedisCluster

from onnxmesh.errors import InvalidRequest
from onnxmesh.live.redis_url import open_redis


async def test_open_redis_reads_host_port_and_database():
    """Of a single server."""
    connection = open_redis("redis://127.0.0.1:7001/3", 1.0)
    options = connection.client.connection_pool.connection_kwargs
    assert isinstance(connection.client, Redis)
    assert (options["host"], options["port"], options["db"]) == ("127.0.0.1", 7001, 3)
    assert options["socket_timeout"] == options["socket_connect_timeout"] == 1.0
    await connection.aclose()


async def test_open_redis_of_sentinels_knows_each_of_them():
    """A sentinel without a port has the default one; credentials in the URL are those of the master."""
    connection = open_redis("redis+sentinel://u:p@a:1,b/live/2?sentinel_password=s", 1.0)
    known = [each.connection_pool.connection_kwargs for each in connection.sentinels]
    assert [(each["host"], each["port"], each["password"]) for each in known] == [
        ("a", 1, "s"),
        ("b", 26379, "s"),
    ]
    master = connection.client.connection_pool.connection_kwargs
    assert (master["username"], master["password"], master["db"]) == ("u", "p", 2)
    await connection.aclose()


async def test_open_redis_of_a_cluster_returns_a_cluster_client():
    """The URL names one of its nodes."""
    connection = open_redis("redis+cluster://127.0.0.1:7001", 1.0)
    assert isinstance(connection.client, RedisCluster)
    await connection.aclose()


def test_open_redis_names_what_is_wrong():
    """And the forms that are accepted."""
    with pytest.raises(InvalidRequest, match=r"'a:b' is no HOST:PORT of a sentinel; expected redis://"):
        open_redis("redis+sentinel://a:b/live", 1.0)
