"""The gRPC edge of a blob folder."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import grpc.aio

from onnxmesh.store.blobs import BlobFolder
from onnxmesh.store.threads import in_thread
from onnxmesh.v1.blobs_pb2 import BlobPiece, FetchRequest
from onnxmesh.v1.blobs_pb2_grpc import BlobsServicer


class BlobFolderServicer(BlobsServicer):
    """Serves `Blobs` from a folder.

    Args:
        blobs: What is served.
    """

    def __init__(self, blobs: BlobFolder) -> None:
        self._blobs = blobs

    async def Fetch(  # noqa: N802 - the protocol's name
        self, request: FetchRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> AsyncIterator[BlobPiece]:
        """Yields the blob's bytes from the offset on.

        Raises:
            NotFound: It is not held here (NOT_FOUND).
            InvalidRequest: The digest is malformed or the offset beyond the end (INVALID_ARGUMENT).
        """
        pieces = self._blobs.pieces(request.sha256, request.offset)
        try:
            while (piece := await in_thread(next, pieces, None)) is not None:
                yield BlobPiece(data=piece)
        finally:
            pieces.close()
