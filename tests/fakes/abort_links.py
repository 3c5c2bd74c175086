"""Aborts the streams of a process, as its death would."""

from __future__ import annotations

from onnxmesh.rpc.link.links import Links
from onnxmesh.rpc.same_host.socket_pipe import SocketPipe


def abort_links(links: Links) -> None:
    """Aborts every stream to processes of this host; streams through gRPC end with their server."""
    for link in list(links._links.values()):
        if isinstance(link._pipe, SocketPipe) and link._pipe._transport is not None:
            link._pipe._transport.abort()
