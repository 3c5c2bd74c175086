"""Errors of py-consul become mesh errors, and unavailability is retried."""

from __future__ import annotations

import pytest
import requests
from consul.exceptions import ACLPermissionDenied, BadRequest, ClientError, ConsulException
from consul.exceptions import NotFound as NotFoundInConsul

from onnxmesh.consul.access import ConsulAccess
from onnxmesh.consul.agent import ConsulAgent, retry_unavailable
from onnxmesh.errors import Conflict, InvalidRequest, NotFound, Unavailable


@pytest.fixture
def agent():
    agent = ConsulAgent(ConsulAccess(host="127.0.0.1", port=1))
    yield agent
    agent.close()


@pytest.mark.parametrize(
    ("raised", "kind"),
    [
        (requests.ConnectionError("refused"), Unavailable),
        (ConsulException("500 no leader"), Unavailable),
        (ACLPermissionDenied("403"), Unavailable),
        (NotFoundInConsul("404"), NotFound),
        (ClientError("409 rolled back"), Conflict),
        (ClientError("413 too large"), InvalidRequest),
        (BadRequest("400"), InvalidRequest),
    ],
)
async def test_call_turns_errors_into_mesh_errors(agent, raised, kind):
    def query(_):
        raise raised

    with pytest.raises(kind, match=r"http://127\.0\.0\.1:1") as caught:
        await agent.call(query)
    assert type(caught.value) is kind


@pytest.mark.parametrize(
    ("raised", "message"),
    [
        (
            requests.ConnectionError(
                "HTTPConnectionPool(host='127.0.0.1', port=1): Max retries exceeded (Caused by NewConnectionError("
                "'<...>: Failed to establish a new connection: [Errno 111] Connection refused'))"
            ),
            "Consul at http://127.0.0.1:1 does not answer: Connection refused",
        ),
        (
            requests.ReadTimeout("read timed out"),
            "Consul at http://127.0.0.1:1 does not answer: the call timed out",
        ),
        (
            requests.ConnectionError("odd"),
            "Consul at http://127.0.0.1:1 does not answer: ConnectionError: odd",
        ),
        (
            ConsulException("500 No cluster leader"),
            "Consul at http://127.0.0.1:1 fails: 500 No cluster leader",
        ),
    ],
)
async def test_call_has_the_reason_without_its_wrappers(agent, raised, message):
    """An answer that is an error is not the lack of one."""

    def query(_):
        raise raised

    with pytest.raises(Unavailable) as caught:
        await agent.call(query)
    assert caught.value.message == message


async def test_call_returns_the_result_and_raises_defects_unchanged(agent):
    assert await agent.call(lambda client: client is not None)
    with pytest.raises(ZeroDivisionError):
        await agent.call(lambda _: 1 / 0)


async def test_call_after_close_is_unavailable(agent):
    agent.close()
    with pytest.raises(Unavailable, match="is closed"):
        await agent.call(lambda client: client)


async def test_retry_unavailable_repeats_until_success():
    failures = [Unavailable("away")]

    async def attempt():
        if failures:
            raise failures.pop()
        return "answer"

    assert await retry_unavailable(attempt) == "answer"


async def test_retry_unavailable_raises_other_errors_at_once():
    attempts = []

    async def attempt():
        attempts.append(1)
        raise NotFound("no key")

    with pytest.raises(NotFound):
        await retry_unavailable(attempt)
    assert len(attempts) == 1


async def test_retry_unavailable_gives_up_after_the_timeout():
    async def attempt():
        raise Unavailable("away")

    with pytest.raises(Unavailable, match="away"):
        await retry_unavailable(attempt, timeout_s=0.01)
