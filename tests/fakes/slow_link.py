"""A link to another host that is slower than any encoding."""

from __future__ import annotations

from onnxmesh.rpc.link_policy.link_estimator import LinkEstimate

SLOW = LinkEstimate(0.001, 1e4)


class SlowLink:
    """Keeps the frames that are sent on it.

    Args:
        peer: The peer.
        estimate: The measured link.
        same_host: Whether the peer is on this host.
    """

    is_open = True

    def __init__(self, peer="far", *, estimate=SLOW, same_host=False):
        self.peer = peer
        self.estimate = estimate
        self.same_host = same_host
        self.frames = []
        self.headers = []

    def try_send(self, frame):
        return False

    async def send(self, frame):
        self.frames.append(frame)

    def send_soon(self, header):
        self.headers.append(header)
