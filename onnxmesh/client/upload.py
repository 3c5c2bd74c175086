"""The upload of a model: its files as a stream of messages."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path

import grpc.aio

from onnxmesh.client.external_data import external_data_files
from onnxmesh.errors import InvalidModel
from onnxmesh.files.foreign_file import foreign_file
from onnxmesh.files.model_path import require_model_file
from onnxmesh.v1.mesh_pb2 import DeployProgress, DeployRequest, FileStart, Upload

UPLOAD_CHUNK_BYTES = 1 << 20
"""Bytes of a file in one message, below the default limit of every gRPC implementation."""

MODEL_FILE = "model.onnx"
"""Name of a model's own file in a mesh, so that a renamed file is the same model."""


OnUploadProgress = Callable[[int, int], None]
"""Called with the bytes that were sent so far, and the bytes of all files, on the event loop."""


@dataclass(frozen=True, slots=True)
class UploadFile:
    """One file of a model.

    Attributes:
        name: Its path within the model's folder, with forward slashes.
        path: The local file.
    """

    name: str
    path: Path


def upload_files(model: Path) -> list[UploadFile]:
    """Returns the model's own file, then its external data files.

    A missing external data file is omitted: the worker reports it together with the tensor that needs it.

    Raises:
        InvalidModel: There is no such file, or it cannot be an ONNX model (INVALID_ARGUMENT).
    """
    try:
        require_model_file(model)
        if what := foreign_file(model):
            raise InvalidModel(f"'{model.name}' is not an ONNX model; it is {what}")
        beside = [UploadFile(name, path) for name, path in external_data_files(model).items()]
    except OSError as error:
        raise InvalidModel(f"cannot read '{model}': {error.strerror}") from error
    return [UploadFile(MODEL_FILE, model)] + [file for file in beside if file.path.is_file()]


async def upload_messages(files: list[UploadFile]) -> AsyncGenerator[DeployRequest, None]:
    """Yields the messages after the spec of an upload: name and bytes of each file, and the end in band.

    Raises:
        InvalidModel: A file cannot be read, or changed while it was being read (INVALID_ARGUMENT).
    """
    for file in files:
        try:
            with file.path.open("rb") as source:
                remaining = file.path.stat().st_size
                yield DeployRequest(file=FileStart(path=file.name, byte_size=remaining))
                while remaining:
                    chunk = await asyncio.to_thread(source.read, min(remaining, UPLOAD_CHUNK_BYTES))
                    if not chunk:
                        raise InvalidModel(f"'{file.path}' became shorter during the upload")
                    remaining -= len(chunk)
                    yield DeployRequest(data=chunk)
        except OSError as error:
            raise InvalidModel(f"cannot read '{file.path}': {error.strerror}") from error
    yield DeployRequest(end=Upload(num_files=len(files)))


async def send_upload(
    call: grpc.aio.StreamStreamCall[DeployRequest, DeployProgress],
    files: list[UploadFile],
    on_sent: OnUploadProgress | None = None,
) -> None:
    """Sends the files after the spec; stops early if the mesh ends the call, whose status has the reason.

    Args:
        call: The call of Deploy.
        files: The files to send.
        on_sent: Called after each piece.

    Raises:
        InvalidModel: As `upload_messages` (INVALID_ARGUMENT).
    """
    try:
        async with aclosing(upload_messages(files)) as upload:
            sent, total = 0, sum(file.path.stat().st_size for file in files)
            async for message in upload:
                await call.write(message)
                sent += len(message.data)
                if on_sent is not None and message.data:
                    on_sent(sent, total)
        await call.done_writing()
    except (asyncio.InvalidStateError, grpc.aio.AioRpcError):
        pass
