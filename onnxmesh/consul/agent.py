"""Client of a Consul agent that does not block the event loop."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, TypeVar

import requests
import stamina
from consul import std
from consul.exceptions import ACLDisabled, ACLPermissionDenied, BadRequest, ClientError, ConsulException
from consul.exceptions import NotFound as NotFoundInConsul
from requests.adapters import HTTPAdapter

from onnxmesh.consul.access import ConsulAccess
from onnxmesh.errors import Conflict, InvalidRequest, MeshError, NotFound, Unavailable

T = TypeVar("T")

_MAX_CONNECTIONS = 16
_FIRST_WAIT_S = 0.1
_SYSTEM_ERROR = re.compile(r"\[Errno -?\d+\] ([^'\")(]+)")
_LONGEST_WAIT_S = 1.0


class ConsulAgent:
    """Calls a Consul agent, each call in a thread of its own.

    py-consul blocks a thread while it waits, and a blocking query waits for seconds. The threads are daemons, so that an
    abandoned query does not keep the process from ending.

    Args:
        access: Address and credentials of the agent.
    """

    def __init__(self, access: ConsulAccess) -> None:
        self.access = access
        certificate = None if access.cert is None else (str(access.cert), str(access.key or access.cert))
        self._client = std.Consul(
            access.host,
            access.port,
            scheme=access.scheme,
            dc=access.datacenter or None,
            verify=str(access.ca) if access.ca else True,
            cert=certificate,
            connections_timeout=access.timeout_s,
        )
        # py-consul prefers a token in the environment to the one that it is given.
        self._client.token = access.token or None
        session: requests.Session = self._client.http.session
        session.trust_env = False  # no proxy, no .netrc: the agent is this mesh's own
        for scheme in ("http://", "https://"):
            session.mount(scheme, HTTPAdapter(pool_maxsize=_MAX_CONNECTIONS))
        if access.token:
            # Some calls of py-consul leave the token out.
            session.headers["X-Consul-Token"] = access.token
        self._session = session
        self._lock = threading.Lock()
        self._num_calls = 0
        self._closed = False

    def close(self) -> None:
        """Closes the connections, as soon as no abandoned query is under way."""
        with self._lock:
            self._closed = True
            idle = not self._num_calls
        if idle:
            self._session.close()

    async def call(self, query: Callable[[Any], T]) -> T:
        """Returns `query(client)`, with the py-consul client, from a thread.

        Raises:
            Unavailable: The agent does not answer, has no leader, or refuses the token (UNAVAILABLE).
            NotFound: The object does not exist (NOT_FOUND).
            Conflict: A transaction was rolled back (ALREADY_EXISTS).
            InvalidRequest: The agent rejects the call as malformed (INVALID_ARGUMENT).
        """

        def run() -> T:
            try:
                return query(self._client)
            finally:
                with self._lock:
                    self._num_calls -= 1
                    last = self._closed and not self._num_calls
                if last:
                    self._session.close()

        with self._lock:
            if self._closed:
                raise Unavailable("the connection to Consul is closed")
            self._num_calls += 1
        try:
            return await _in_daemon_thread(run)
        except (requests.RequestException, ConsulException) as error:
            raise self._mesh_error(error) from error

    def _mesh_error(self, error: Exception) -> MeshError:
        where = f"Consul at {self.access.address}"
        if isinstance(error, (ACLPermissionDenied, ACLDisabled)):
            # Rights may be granted while this process runs, so it is worth another try.
            return Unavailable(f"{where} refuses this token: {error}")
        if isinstance(error, NotFoundInConsul):
            return NotFound(f"{where}: {error}")
        if isinstance(error, ClientError) and str(error).startswith("409"):
            return Conflict(f"{where} rolled back: {error}")
        if isinstance(error, (BadRequest, ClientError)):
            return InvalidRequest(f"{where} rejects this: {error}")
        if isinstance(error, ConsulException):
            return Unavailable(f"{where} fails: {error}")
        return Unavailable(f"{where} does not answer: {_reason(error)}")


def _reason(error: Exception) -> str:
    """Returns why a call got no answer: what the operating system says, without the wrappers around it."""
    if isinstance(error, requests.Timeout):
        return "the call timed out"
    if found := _SYSTEM_ERROR.search(str(error)):
        return found[1]
    return f"{type(error).__name__}: {error}"


async def retry_unavailable(attempt_once: Callable[[], Awaitable[T]], timeout_s: float | None = None) -> T:
    """Returns what `attempt_once` returns, repeated with exponential backoff while it raises `Unavailable`.

    Args:
        attempt_once: Begins an attempt; must be safe to repeat.
        timeout_s: When to give up; None: never.

    Raises:
        Unavailable: The last attempt within the time-out raised it (UNAVAILABLE).
    """
    async for attempt in stamina.retry_context(
        on=Unavailable,
        attempts=None,
        timeout=timeout_s,
        wait_initial=_FIRST_WAIT_S,
        wait_max=_LONGEST_WAIT_S,
        wait_jitter=_FIRST_WAIT_S,
    ):
        with attempt:
            return await attempt_once()
    raise AssertionError("stamina leaves its loop by a return or an error")


async def _in_daemon_thread(function: Callable[[], T]) -> T:
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def finish(error: BaseException | None, result: Any) -> None:
        if future.done():  # the caller was cancelled
            return
        if error is None:
            future.set_result(result)
        else:
            future.set_exception(error)

    def run() -> None:
        error: BaseException | None = None
        result: Any = None
        try:
            result = function()
        except BaseException as raised:  # noqa: BLE001 - it is raised again where it is awaited
            error = raised
        with suppress(RuntimeError):  # the loop may be closed by then
            loop.call_soon_threadsafe(finish, error, result)

    threading.Thread(target=run, name="consul", daemon=True).start()
    return await future
