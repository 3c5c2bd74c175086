"""Redis clients of URLs: one server, a cluster, or the master that sentinels name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

from redis.asyncio import Redis, RedisCluster
from redis.asyncio.connection import parse_url
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel
from redis.backoff import NoBackoff

from onnxmesh.errors import InvalidRequest

Client = Redis | RedisCluster
"""Either kind of client: live state needs only what both offer."""


@dataclass(frozen=True, slots=True)
class RedisConnection:
    """A Redis client and the sentinel clients that it uses.

    Attributes:
        client: Executes commands.
        sentinels: Clients of the sentinels that name its master.
    """

    client: Client
    sentinels: tuple[Redis, ...] = ()

    async def aclose(self) -> None:
        """Closes all connections."""
        for each in (self.client, *self.sentinels):
            await each.aclose()


_PLAIN = ("redis", "rediss", "unix")
_DEFAULT_SENTINEL_PORT = 26379
_FORMS = (
    "redis://[USER:PASSWORD@]HOST:PORT[/DB], rediss://… with TLS, unix://[USER:PASSWORD@]/PATH, "
    "redis+cluster://HOST:PORT, redis+sentinel://HOST:PORT,HOST:PORT/SERVICE[/DB]"
)


def open_redis(url: str, timeout_s: float) -> RedisConnection:
    """Returns a connection that is established on first use; the caller closes it.

    `redis+cluster` and `rediss+cluster` connect to a Redis Cluster, of which the URL names one node;
    `redis+sentinel` and `rediss+sentinel` to the master of a service, of which it names the sentinels. Parameters
    after `?` are passed to redis-py, such as `ssl_ca_certs=FILE`; `sentinel_username` and `sentinel_password`
    are the sentinels' own.

    Args:
        url: See the schemes above.
        timeout_s: Longest time for a reply, and for connecting.

    Raises:
        InvalidRequest: The URL is malformed (INVALID_ARGUMENT).
    """
    options: dict[str, Any] = {
        "socket_timeout": timeout_s,
        "socket_connect_timeout": timeout_s,
        # No retries here: the caller repeats the exchange with newer values instead.
        "retry": Retry(NoBackoff(), 0),
    }
    scheme, _, rest = url.partition("://")
    base, _, kind = scheme.partition("+")
    try:
        if scheme in _PLAIN:
            return RedisConnection(Redis.from_url(url, **options))
        if base in {"redis", "rediss"} and kind == "cluster":
            return RedisConnection(RedisCluster.from_url(f"{base}://{rest}", **options))
        if base in {"redis", "rediss"} and kind == "sentinel":
            return _master(url, base, options)
    except ValueError as error:
        raise InvalidRequest(f"not a Redis URL: {error}; expected {_FORMS}") from error
    raise InvalidRequest(f"not a Redis URL: '{scheme}' is no scheme of one; expected {_FORMS}")


def _master(url: str, base: str, options: dict[str, Any]) -> RedisConnection:
    parts = urlsplit(url)
    credentials, _, hosts = parts.netloc.rpartition("@")
    service, _, database = parts.path.strip("/").partition("/")
    if not hosts or not service:
        raise ValueError("sentinels and the name of the service are needed")
    query = dict(parse_qsl(parts.query))
    own = {name.removeprefix("sentinel_"): query.pop(name) for name in list(query) if "sentinel_" in name}
    at = f"{credentials}@" if credentials else ""
    # redis-py reads credentials, database and the rest from a URL of one server.
    settings: dict[str, Any] = dict(parse_url(f"{base}://{at}unused/{database}?{urlencode(query)}"))
    settings.pop("host", None)
    encrypted = settings.pop("connection_class", None) is not None
    timeouts = {name: options[name] for name in ("socket_timeout", "socket_connect_timeout")}
    if encrypted:
        settings["ssl"] = True
    sentinels = [_address(host) for host in hosts.split(",")]
    sentinel = Sentinel(sentinels, sentinel_kwargs={**timeouts, **own}, **settings, **options)  # type: ignore[no-untyped-call]
    return RedisConnection(sentinel.master_for(unquote(service)), tuple(sentinel.sentinels))


def _address(text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if not colon:
        return text, _DEFAULT_SENTINEL_PORT
    if not host or not port.isdecimal():
        raise ValueError(f"'{text}' is no HOST:PORT of a sentinel")
    return host.strip("[]"), int(port)
