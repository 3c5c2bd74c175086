"""Measures the way from here to other workers."""

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
"""The most that one call measures."""

TIMEOUT_S = 2.0
"""The longest that one address takes."""

_NUM_ROUND_TRIPS = 8
_NUM_PAYLOADS = 3
_PAYLOAD = bytes(2 << 20)

_log = structlog.get_logger(__name__)


class LinkProbe:
    """Measures one way at a time: measurements beside each other would share what they measure.

    Args:
        timeout_s: The longest that one address takes.
    """

    def __init__(self, timeout_s: float = TIMEOUT_S) -> None:
        self._timeout_s = timeout_s
        self._turn = asyncio.Lock()

    async def measure(self, addresses: Sequence[str]) -> list[MeasuredLink]:
        """Returns what each way is like, in the order of the addresses; one that fails has no `bytes_per_s`."""
        measured = []
        for address in addresses:
            async with self._turn:
                measured.append(await self._one(address))
        return measured

    async def _one(self, address: str) -> MeasuredLink:
        try:
            async with asyncio.timeout(self._timeout_s), open_channel(address) as channel:
                return await _measured(WorkerControlStub(channel))
        except (TimeoutError, grpc.aio.AioRpcError) as error:
            why = error.details() if isinstance(error, grpc.aio.AioRpcError) else "it took too long"
            _log.warning("link_not_measured", address=address, error=why)
            return MeasuredLink()


async def _measured(stub: WorkerControlStub) -> MeasuredLink:
    """Measures with the best of several messages: what else the machines do only ever slows one down."""
    await stub.Echo(EchoRequest())  # connects
    empty_s = min([await _timed(stub, b"") for _ in range(_NUM_ROUND_TRIPS)])
    full_s = min([await _timed(stub, _PAYLOAD) for _ in range(_NUM_PAYLOADS)])
    # What the payload took beyond an empty message, or the whole of it where that is within the noise.
    sending_s = full_s - empty_s if full_s > empty_s else full_s
    return MeasuredLink(latency_s=empty_s / 2, bytes_per_s=len(_PAYLOAD) / sending_s)


async def _timed(stub: WorkerControlStub, payload: bytes) -> float:
    began_s = perf_counter()
    await stub.Echo(EchoRequest(payload=payload))
    return perf_counter() - began_s
