"""A Consul agent that calls a hand-made client at once."""

from __future__ import annotations

from onnxmesh.consul.access import ConsulAccess


class FakeConsulAgent:
    """Stands in for `ConsulAgent`; raises what is in `failures` first, one for each call.

    Args:
        client: What queries are called with.
        access: Further fields of the `ConsulAccess`.
    """

    def __init__(self, client, **access):
        self.access = ConsulAccess(host="consul", **access)
        self.client = client
        self.failures = []

    async def call(self, query):
        if self.failures:
            raise self.failures.pop(0)
        return query(self.client)
