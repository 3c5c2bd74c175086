"""Uploads: the files of a model, from a client's stream into the blob folder."""

from __future__ import annotations

import errno
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import ExitStack, asynccontextmanager

from onnxmesh.errors import InvalidRequest, MeshError, Overloaded, TooLarge
from onnxmesh.store.artefact import MAX_FILES, artefact_of, check_path, model_file
from onnxmesh.store.blobs import BlobFolder, BlobWriter
from onnxmesh.store.threads import in_thread
from onnxmesh.v1.mesh_pb2 import DeployRequest, FileStart
from onnxmesh.v1.model_pb2 import Artefact, DeploymentSpec, File
from services.scheduler.desired.deployment_spec import normalised
from services.scheduler.publishing.discarding import discard_rest


class Upload:
    """A complete upload, whose files are not committed yet.

    Attributes:
        spec: The deployment spec, normalised.
        artefact: The files.
    """

    def __init__(self, spec: DeploymentSpec, artefact: Artefact, writers: list[BlobWriter]) -> None:
        self.spec = spec
        self.artefact = artefact
        self._writers = writers

    @property
    def byte_size(self) -> int:
        """Bytes of all files."""
        return sum(file.byte_size for file in self.artefact.files)

    def commit(self) -> None:
        """Makes the files appear as blobs, once; the caller holds the artefact."""
        for writer in self._writers:
            writer.commit()


class UploadReceiver:
    """Receives uploads into a blob folder.

    Args:
        blobs: Where the files are written.
        max_bytes: Most bytes of the files of one upload.
    """

    def __init__(self, blobs: BlobFolder, max_bytes: int) -> None:
        self._blobs = blobs
        self._max_bytes = max_bytes

    @asynccontextmanager
    async def receive(
        self, requests: AsyncIterator[DeployRequest], accept: Callable[[DeploymentSpec], Awaitable[None]]
    ) -> AsyncIterator[Upload]:
        """Reads a whole upload; files that are not committed within the context are removed.

        Args:
            requests: The client's messages: the spec, then each file's start and data, then the end.
            accept: Called with the normalised spec before any file is read; an error that it raises refuses the
                upload.

        Raises:
            InvalidRequest: The messages come in another order, sizes do not match, names are unsafe, or there
                is not exactly one model (INVALID_ARGUMENT).
            TooLarge: The files have more than `max_bytes` (RESOURCE_EXHAUSTED).
            Overloaded: The disk is full (RESOURCE_EXHAUSTED).
        """
        with ExitStack() as stack:
            receiver = _Receiver(self._blobs, stack, self._max_bytes, accept=accept)
            try:
                async for request in requests:
                    await receiver.handle(request)
                    if receiver.ended:
                        break
                upload = receiver.upload()
            except MeshError:
                await discard_rest(requests)
                raise
            yield upload


class _Receiver:
    """Checks and writes one message after another."""

    def __init__(
        self,
        blobs: BlobFolder,
        stack: ExitStack,
        max_bytes: int,
        *,
        accept: Callable[[DeploymentSpec], Awaitable[None]],
    ) -> None:
        self._blobs = blobs
        self._stack = stack
        self._max_bytes = max_bytes
        self._accept = accept
        self._spec: DeploymentSpec | None = None
        self._open: FileStart | None = None
        self._writers: list[tuple[str, BlobWriter]] = []
        self._announced = 0
        self.ended = False

    async def handle(self, request: DeployRequest) -> None:
        kind = request.WhichOneof("kind")
        if kind is None:
            raise InvalidRequest("a message of the upload is empty")
        if self._spec is None:
            if kind != "spec":
                raise InvalidRequest(f"the first message of an upload is the spec, got '{kind}'")
            self._spec = normalised(request.spec)
            await self._accept(self._spec)
        elif kind == "spec":
            raise InvalidRequest("an upload has one spec, its first message, got a second one")
        elif kind == "file":
            self._start(request.file)
        elif kind == "data":
            await self._write(request.data)
        else:
            self._finish_file()
            if request.end.num_files != len(self._writers):
                raise InvalidRequest(
                    f"the end of the upload counts {request.end.num_files} files, got {len(self._writers)}"
                )
            self.ended = True

    def upload(self) -> Upload:
        if self._spec is None or not self.ended:
            raise InvalidRequest("the upload is incomplete, its end is missing: nothing is deployed")
        files = [
            File(path=path, sha256=writer.digest(), byte_size=writer.size) for path, writer in self._writers
        ]
        artefact = artefact_of(files)
        model_file(artefact)
        return Upload(self._spec, artefact, [writer for _, writer in self._writers])

    def _start(self, start: FileStart) -> None:
        self._finish_file()
        check_path(start.path)
        if any(path == start.path for path, _ in self._writers):
            raise InvalidRequest(f"file '{start.path}' is sent twice")
        if len(self._writers) >= MAX_FILES:
            raise InvalidRequest(f"an upload has at most {MAX_FILES} files")
        self._announced += start.byte_size
        if self._announced > self._max_bytes:
            raise TooLarge(f"the upload has more than the allowed {self._max_bytes} bytes")
        self._open = start
        self._writers.append((start.path, self._stack.enter_context(self._blobs.writer())))

    async def _write(self, data: bytes) -> None:
        if self._open is None:
            raise InvalidRequest("data was sent before the file that it belongs to")
        writer = self._writers[-1][1]
        if writer.size + len(data) > self._open.byte_size:
            raise InvalidRequest(
                f"file '{self._open.path}' was announced with {self._open.byte_size} bytes, got more"
            )
        try:
            await in_thread(writer.write, data)
        except OSError as error:
            if error.errno in {errno.ENOSPC, errno.EDQUOT}:
                raise Overloaded("the scheduler's disk is full") from error
            raise

    def _finish_file(self) -> None:
        if self._open is None:
            return
        writer = self._writers[-1][1]
        if writer.size != self._open.byte_size:
            raise InvalidRequest(
                f"file '{self._open.path}' was announced with {self._open.byte_size} bytes, got {writer.size}"
            )
        writer.close()
        self._open = None
