"""The search for a scheduler: while none is found, the log says so."""

from __future__ import annotations

import asyncio

import structlog

from onnxmesh.discovery.scheduler_addresses import SchedulerAddresses
from onnxmesh.errors import Internal, MeshError, Unavailable
from onnxmesh.rpc.grpc.connection_reasons import connection_reason

FIRST_NOTICE_S = 4.0
"""Time without a scheduler after which the log says so for the first time: a healthy start is faster."""

NOTICE_INTERVAL_S = 60.0
"""Time between two further notices."""

_log = structlog.get_logger(__name__)


class SchedulerSearch:
    """Whether this process has found a scheduler, and what it tried otherwise; `run` writes the notices.

    For one event loop. The owner reports what it finds: `found` and `lost`, and each attempt that failed.

    Args:
        schedulers: The addresses that are tried.
        first_s: Time until the first notice.
        interval_s: Time between two further notices.
    """

    def __init__(
        self,
        schedulers: SchedulerAddresses,
        *,
        first_s: float = FIRST_NOTICE_S,
        interval_s: float = NOTICE_INTERVAL_S,
    ) -> None:
        self._schedulers = schedulers
        self._first_s = first_s
        self._interval_s = interval_s
        self._reasons: dict[str, str] = {}
        self._found = asyncio.Event()
        self._lost = asyncio.Event()

    def found(self) -> None:
        """Records that a scheduler is found."""
        self._lost.clear()
        self._found.set()

    def lost(self) -> None:
        """Records that no scheduler is found any more."""
        self._found.clear()
        self._lost.set()

    def failed(self, address: str, error: MeshError | str) -> None:
        """Records why the scheduler at an address was not found."""
        self._reasons[address] = error if isinstance(error, str) else _reason(error)

    async def wait_found(self) -> None:
        """Returns once a scheduler is found."""
        await self._found.wait()

    def why(self) -> str:
        """Returns the addresses that are tried, each with the reason why it failed last."""
        known = self._schedulers.addresses
        if not known:
            return self._schedulers.why_none
        return "; ".join(f"{each}: {self._reasons.get(each, 'no reply yet')}" for each in known)

    async def run(self) -> None:
        """Logs a warning while no scheduler is found, until it is cancelled."""
        while True:
            wait_s, without_s = self._first_s, 0.0
            while not await self._found_within(wait_s):
                without_s += wait_s
                _log.warning("no_scheduler_found", why=self.why(), for_s=round(without_s))
                wait_s = self._interval_s
            await self._lost.wait()

    async def _found_within(self, wait_s: float) -> bool:
        try:
            async with asyncio.timeout(wait_s):
                await self._found.wait()
        except TimeoutError:
            return False
        return True


def _reason(error: MeshError) -> str:
    if isinstance(error, Unavailable):
        return connection_reason(error.message) or error.message
    if isinstance(error, Internal):
        return f"what answers there is not a scheduler, or fails: {error.message}"
    return error.message
