"""The cache of channels."""

from __future__ import annotations

import grpc

from onnxmesh.rpc.grpc.channels import Channels


async def test_channels_opens_one_channel_for_each_address():
    """On first use; the exit of the context closes all of them."""
    async with Channels() as channels:
        one, other = channels.to("127.0.0.1:1"), channels.to("127.0.0.1:2")
        assert channels.to("127.0.0.1:1") is one
        assert one is not other
        assert one.get_state() is grpc.ChannelConnectivity.IDLE
    for each in (one, other):
        assert each.get_state() is grpc.ChannelConnectivity.SHUTDOWN
