"""A cache of gRPC channels by address."""

from __future__ import annotations

import grpc.aio

from onnxmesh.rpc.grpc.channel import open_channel


class Channels:
    """One channel for each address, opened on first use. An async context manager: its exit closes all."""

    def __init__(self) -> None:
        self._channels: dict[str, grpc.aio.Channel] = {}

    def to(self, address: str) -> grpc.aio.Channel:
        """Returns the channel to `HOST:PORT`."""
        if address not in self._channels:
            self._channels[address] = open_channel(address)
        return self._channels[address]

    async def __aenter__(self) -> Channels:
        return self

    async def __aexit__(self, *failure: object) -> None:
        for channel in self._channels.values():
            await channel.close()
