"""Download of the blobs of an artefact from schedulers and workers that store them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import grpc.aio

from onnxmesh.error_text import listed
from onnxmesh.errors import CorruptData, MeshError, NotFound, Unavailable
from onnxmesh.rpc.grpc.channel import open_channel
from onnxmesh.rpc.grpc.status import from_rpc_error
from onnxmesh.store.artefact import check_artefact
from onnxmesh.store.blobs import BlobFolder, BlobWriter
from onnxmesh.store.threads import in_thread
from onnxmesh.v1.blobs_pb2 import BlobPiece, FetchRequest
from onnxmesh.v1.blobs_pb2_grpc import BlobsStub
from onnxmesh.v1.model_pb2 import Artefact, File

IDLE_TIMEOUT_S = 20.0
"""Time without data after which a source is given up."""


async def fetch_artefact(
    artefact: Artefact, blobs: BlobFolder, sources: Sequence[str], *, idle_timeout_s: float = IDLE_TIMEOUT_S
) -> None:
    """Downloads and verifies every blob of `artefact` that is missing in `blobs`.

    Sources are tried one after the other; each resumes where the one before it broke off.

    Args:
        artefact: The artefact.
        blobs: The store to download to.
        sources: Addresses that serve `Blobs`.
        idle_timeout_s: Time without data after which a source is given up.

    Raises:
        NotFound: No source has a blob (NOT_FOUND).
        CorruptData: The content of a blob does not match its digest (DATA_LOSS).
        Unavailable: No source could be reached that may have a blob (UNAVAILABLE).
        InvalidRequest: The artefact is malformed (INVALID_ARGUMENT).
    """
    check_artefact(artefact)
    async with _Channels() as channels:
        for file in artefact.files:
            if not await in_thread(blobs.has, file.sha256):
                await _fetch_blob(file, blobs, sources, channels, idle_timeout_s)


class _Channels:
    """One channel for each source, opened on first use."""

    def __init__(self) -> None:
        self._channels: dict[str, grpc.aio.Channel] = {}

    def stub(self, address: str) -> BlobsStub:
        if address not in self._channels:
            self._channels[address] = open_channel(address)
        return BlobsStub(self._channels[address])

    async def __aenter__(self) -> _Channels:
        return self

    async def __aexit__(self, *failure: object) -> None:
        for channel in self._channels.values():
            await channel.close()


async def _fetch_blob(
    file: File, blobs: BlobFolder, sources: Sequence[str], channels: _Channels, idle_timeout_s: float
) -> None:
    failures: list[MeshError] = []
    with blobs.writer() as writer:
        for source in sources:
            try:
                await _receive(file, writer, channels.stub(source), idle_timeout_s)
                _verify(file, writer, source)
            except grpc.aio.AioRpcError as error:
                failures.append(from_rpc_error(error))
            except TimeoutError:
                failures.append(Unavailable(f"sent nothing for {idle_timeout_s:g} s"))
            except CorruptData as error:
                failures.append(error)
                writer.restart()
            else:
                writer.commit()
                return
    raise _failure(file, sources, failures)


async def _receive(file: File, writer: BlobWriter, stub: BlobsStub, idle_timeout_s: float) -> None:
    call = stub.Fetch(FetchRequest(sha256=file.sha256, offset=writer.size))
    try:
        while True:
            async with asyncio.timeout(idle_timeout_s):
                chunk = await call.read()
            if not isinstance(chunk, BlobPiece):
                return
            if writer.size + len(chunk.data) > file.byte_size:
                raise CorruptData(f"blob is longer than its {file.byte_size} bytes")
            await in_thread(writer.write, chunk.data)
    finally:
        call.cancel()


def _verify(file: File, writer: BlobWriter, source: str) -> None:
    if writer.size != file.byte_size:
        raise CorruptData(f"{source} sent {writer.size} bytes, {file.byte_size} expected")
    if writer.digest() != file.sha256:
        raise CorruptData(f"{source} sent content with the digest {writer.digest()}")


def _failure(file: File, sources: Sequence[str], failures: Sequence[MeshError]) -> MeshError:
    """Returns the most specific error: corrupt before unreachable before not found."""
    what = f"blob {file.sha256} of '{file.path}'"
    tried = listed(
        (f"{source}: {failure.message}" for source, failure in zip(sources, failures, strict=True)),
        quoted=False,
        separator="; ",
        none="there is no source",
    )
    if any(isinstance(failure, CorruptData) for failure in failures):
        return CorruptData(f"{what} was received damaged: {tried}")
    if failures and all(isinstance(failure, NotFound) for failure in failures):
        return NotFound(f"{what} is on none of {listed(sources, quoted=False)}")
    return Unavailable(f"{what} could not be fetched: {tried}")
