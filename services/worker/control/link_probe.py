"""Link probe: measures latency and bandwidth from this worker to others."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from time import perf_counter

import grpc.aio
import structlog

from onnxmesh.rpc.grpc.channel import open_channel
from onnxmesh.v1.worker_pb2 import EchoRequest, MeasuredLink
from onnxmesh.v1.worker_pb2_grpc import WorkerControlStub

MAX_ADDRESSES = 64
"""Addresses that one call may name."""

PROBE_TIMEOUT_S = 2.0
"""Time-out of one address."""

_NUM_ROUND_TRIPS = 8
_NUM_PAYLOADS = 3
_PAYLOAD = bytes(2 << 20)

_log = structlog.get_logger(__name__)


class LinkProbe:
    """Measures one link at a time: concurrent measurements would share the bandwidth.

    Args:
        timeout_s: Time-out of one address.
    """

    def __init__(self, timeout_s: float = PROBE_TIMEOUT_S) -> None:
        self._timeout_s = timeout_s
        self._lock = asyncio.Lock()

    async def measure(self, addresses: Sequence[str]) -> list[MeasuredLink]:
        """Returns the link to each address, in order; one that cannot be measured has no `bytes_per_s`."""
        measured = []
        for address in addresses:
            async with self._lock:
                measured.append(await self._one(address))
        return measured

    async def _one(self, address: str) -> MeasuredLink:
        try:
            async with asyncio.timeout(self._timeout_s), open_channel(address) as channel:
                return await _measured(WorkerControlStub(channel))
        except (TimeoutError, grpc.aio.AioRpcError) as error:
            why = (
                error.details()
                if isinstance(error, grpc.aio.AioRpcError)
                else f"no answer within {self._timeout_s:g} s"
            )
            _log.warning("link_not_measured", address=address, error=why)
            return MeasuredLink()


async def _measured(stub: WorkerControlStub) -> MeasuredLink:
    """Measures with the fastest of several messages: other work of the machines only adds time."""
    await stub.Echo(EchoRequest())  # connects
    empty_s = min([await _timed(stub, b"") for _ in range(_NUM_ROUND_TRIPS)])
    full_s = min([await _timed(stub, _PAYLOAD) for _ in range(_NUM_PAYLOADS)])
    # The time beyond that of an empty message; all of it where the difference is noise.
    sending_s = full_s - empty_s if full_s > empty_s else full_s
    return MeasuredLink(latency_s=empty_s / 2, bytes_per_s=len(_PAYLOAD) / sending_s)


async def _timed(stub: WorkerControlStub, payload: bytes) -> float:
    began_s = perf_counter()
    await stub.Echo(EchoRequest(payload=payload))
    return perf_counter() - began_s
