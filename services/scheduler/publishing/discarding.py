"""Requests of a stream that is refused: they are read before the refusal is sent.

gRPC's Python client that writes to an ended call gets INTERNAL, "Internal error from Core", instead of the status of the call.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

DISCARD_S = 1.0
"""Longest that the rest of a refused stream is read."""

CLIENT_IDLE_S = 0.1
"""A client that has sent nothing for this long waits for an answer."""


async def discard_rest(requests: AsyncIterator[Any]) -> None:
    """Reads what a client still sends, until it pauses or ends its side of the stream."""
    with suppress(TimeoutError, StopAsyncIteration):
        async with asyncio.timeout(DISCARD_S):
            while True:
                async with asyncio.timeout(CLIENT_IDLE_S):
                    await anext(requests)
