"""gRPC service of a blob folder."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import grpc.aio

from onnxmesh.store.blobs import BlobFolder
from onnxmesh.store.threads import in_thread
from onnxmesh.v1.blobs_pb2 import BlobPiece, FetchRequest
from onnxmesh.v1.blobs_pb2_grpc import BlobsServicer


class BlobFolderServicer(BlobsServicer):
    """The `Blobs` service of a folder.

    Args:
        blobs: The folder.
    """

    def __init__(self, blobs: BlobFolder) -> None:
        self._blobs = blobs

    async def Fetch(  # noqa: N802 - the protocol's name
        self, request: FetchRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> AsyncIterator[BlobPiece]:
        """Yields the blob's bytes from the offset on.

        Raises:
            NotFound: The blob is not stored (NOT_FOUND).
            InvalidRequest: The digest is malformed or the offset beyond the end (INVALID_ARGUMENT).
        """
        chunks = self._blobs.chunks(request.sha256, request.offset)
        try:
            while (chunk := await in_thread(next, chunks, None)) is not None:
                yield BlobPiece(data=chunk)
        finally:
            chunks.close()
