"""The stream of messages that brings a model to a mesh."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path

import grpc.aio

from onnxmesh.client.external_data import external_files
from onnxmesh.errors import InvalidModel
from onnxmesh.v1.mesh_pb2 import DeployProgress, DeployRequest, FileStart, Upload

PIECE_BYTES = 1 << 20
"""Bytes of a file in one message: within every gRPC implementation's default limit."""


MODEL_FILE = "model.onnx"
"""What a model's own file is called in a mesh, so that a renamed model is the same model."""


@dataclass(frozen=True, slots=True)
class UploadFile:
    """One file of a model.

    Attributes:
        name: Its name within the model's folder, with forward slashes.
        path: Where it lies here.
    """

    name: str
    path: Path


def files_of(model: Path) -> list[UploadFile]:
    """Returns the model's own file, then the external data files that it names and that exist.

    One that is missing is left for a worker to name: it says which tensor wants it.

    Raises:
        InvalidModel: There is no such file (INVALID_ARGUMENT).
    """
    try:
        if not model.is_file():
            raise InvalidModel(f"no model at '{model}': there is no such file")
        beside = [UploadFile(str(name), model.parent / name) for name in external_files(model)]
    except OSError as error:
        raise InvalidModel(f"cannot read '{model}': {error.strerror}") from error
    return [UploadFile(MODEL_FILE, model)] + [file for file in beside if file.path.is_file()]


async def messages(files: list[UploadFile]) -> AsyncGenerator[DeployRequest, None]:
    """Yields what follows the spec of an upload: each file's name and bytes, and the end said in band.

    Raises:
        InvalidModel: A file cannot be read, or changed while it was being read (INVALID_ARGUMENT).
    """
    for file in files:
        try:
            with file.path.open("rb") as source:
                left = file.path.stat().st_size
                yield DeployRequest(file=FileStart(path=file.name, byte_size=left))
                while left:
                    piece = await asyncio.to_thread(source.read, min(left, PIECE_BYTES))
                    if not piece:
                        raise InvalidModel(f"'{file.path}' became shorter while it was being sent")
                    left -= len(piece)
                    yield DeployRequest(data=piece)
        except OSError as error:
            raise InvalidModel(f"cannot read '{file.path}': {error.strerror}") from error
    yield DeployRequest(end=Upload(num_files=len(files)))


async def send(
    call: grpc.aio.StreamStreamCall[DeployRequest, DeployProgress], files: list[UploadFile]
) -> None:
    """Sends the files after the spec, as far as the mesh takes them: why it does not, reading the call tells.

    Raises:
        InvalidModel: See `messages`.
    """
    try:
        async with aclosing(messages(files)) as upload:
            async for message in upload:
                await call.write(message)
        await call.done_writing()
    except (asyncio.InvalidStateError, grpc.aio.AioRpcError):
        pass
