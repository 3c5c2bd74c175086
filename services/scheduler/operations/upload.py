"""A model on its way in."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import ExitStack, asynccontextmanager, suppress

from onnxmesh.errors import InvalidRequest, MeshError, Overloaded, TooLarge
from onnxmesh.store.artefact import MAX_FILES, artefact_of, check_path, model_file
from onnxmesh.store.blobs import BlobFolder, BlobWriter
from onnxmesh.store.threads import in_thread
from onnxmesh.v1.mesh_pb2 import DeployRequest, FileStart
from onnxmesh.v1.model_pb2 import Artefact, DeploymentSpec, File
from services.scheduler.desired.deployment_spec import normalised

DISCARD_S = 1.0
"""How long the rest of a refused upload is read, at the most, before the refusal is sent."""

CLIENT_IDLE_S = 0.1
"""A client that has sent nothing for this long waits for an answer."""


class Upload:
    """What a client has sent, complete but not kept yet.

    Attributes:
        spec: What it asks for, normalised.
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

    def keep(self) -> None:
        """Makes the files appear as blobs; who calls holds the artefact, and does so once."""
        for writer in self._writers:
            writer.commit()


@asynccontextmanager
async def receive(
    requests: AsyncIterator[DeployRequest],
    blobs: BlobFolder,
    max_bytes: int,
    accept: Callable[[DeploymentSpec], Awaitable[None]],
) -> AsyncIterator[Upload]:
    """Reads a whole upload; what is not kept within the context is gone after it.

    Args:
        requests: The client's messages: the spec, then each file's start and data, then the end.
        blobs: Where the files are written.
        max_bytes: The most that a client may send.
        accept: Is given the spec, normalised, before any file is read; what it raises refuses the upload.

    Raises:
        InvalidRequest: The messages come in another order, sizes do not match, names are unsafe, or there
            is not exactly one model (INVALID_ARGUMENT).
        TooLarge: The files are more than `max_bytes` (RESOURCE_EXHAUSTED).
        Overloaded: The disk is full (RESOURCE_EXHAUSTED).
    """
    with ExitStack() as stack:
        receiver = _Receiver(blobs, stack, max_bytes, accept)
        try:
            async for request in requests:
                await receiver.take(request)
                if receiver.ended:
                    break
            upload = receiver.upload()
        except MeshError:
            await _read_on(requests)
            raise
        yield upload


async def _read_on(requests: AsyncIterator[DeployRequest]) -> None:
    """Takes what a client still sends: one whose write meets an ended call is not told why it ended."""
    with suppress(TimeoutError, StopAsyncIteration):
        async with asyncio.timeout(DISCARD_S):
            while True:
                async with asyncio.timeout(CLIENT_IDLE_S):
                    await anext(requests)


class _Receiver:
    """Checks and writes one message after the other."""

    def __init__(
        self,
        blobs: BlobFolder,
        stack: ExitStack,
        max_bytes: int,
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

    async def take(self, request: DeployRequest) -> None:
        kind = request.WhichOneof("kind")
        if kind is None:
            raise InvalidRequest("a message of the upload is empty")
        if self._spec is None:
            if kind != "spec":
                raise InvalidRequest(f"the first message of an upload is the spec, got '{kind}'")
            self._spec = normalised(request.spec)
            await self._accept(self._spec)
        elif kind == "spec":
            raise InvalidRequest("an upload has one spec, its first message; got another one")
        elif kind == "file":
            self._start(request.file)
        elif kind == "data":
            await self._write(request.data)
        else:
            self._finish_file()
            if request.end.num_files != len(self._writers):
                raise InvalidRequest(
                    f"the end of the upload counts {request.end.num_files} files, {len(self._writers)} came"
                )
            self.ended = True

    def upload(self) -> Upload:
        if self._spec is None or not self.ended:
            raise InvalidRequest("the upload ended before its end was said: nothing is deployed")
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
            raise TooLarge(f"the upload has more than the {self._max_bytes} bytes that are allowed")
        self._open = start
        self._writers.append((start.path, self._stack.enter_context(self._blobs.writer())))

    async def _write(self, data: bytes) -> None:
        if self._open is None:
            raise InvalidRequest("data came before the file that it belongs to")
        writer = self._writers[-1][1]
        if writer.size + len(data) > self._open.byte_size:
            raise InvalidRequest(
                f"file '{self._open.path}' was announced with {self._open.byte_size} bytes, more came"
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
                f"file '{self._open.path}' was announced with {self._open.byte_size} bytes, {writer.size} came"
            )
        writer.close()
        self._open = None
