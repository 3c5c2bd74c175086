"""The end of a process's streams, as its death would bring it."""

from __future__ import annotations

from onnxmesh.rpc.link.links import Links
from onnxmesh.rpc.same_host.socket_pipe import SocketPipe


def abort_links(links: Links) -> None:
    """Ends every stream to processes of this host without a word; those through gRPC end with their server."""
    for link in list(links._links.values()):
        if isinstance(link._pipe, SocketPipe) and link._pipe._transport is not None:
            link._pipe._transport.abort()
