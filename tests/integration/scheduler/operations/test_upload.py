"""Uploads that break the protocol, end early or are too large."""

from __future__ import annotations

import pytest

from onnxmesh.errors import (
    InvalidRequest,
    TooLarge,
)
from onnxmesh.v1.mesh_pb2 import DeployRequest, FileStart, Upload
from onnxmesh.v1.model_pb2 import DeploymentSpec
from services.scheduler.app import scheduler_app
from tests.eventually import eventually
from tests.fakes.fake_worker import FakeWorker
from tests.integration.scheduler.scheduler_client import SchedulerClient, upload

SPEC = DeployRequest(spec=DeploymentSpec(name="m"))


START = DeployRequest(file=FileStart(path="m.onnx", byte_size=3))


DATA = DeployRequest(data=b"abc")


END = DeployRequest(end=Upload(num_files=1))


BROKEN = {
    "nothing": ([], "its end is missing"),
    "no end": ([SPEC, START, DATA], "its end is missing"),
    "cut in a file": ([SPEC, START, DeployRequest(data=b"ab")], "its end is missing"),
    "no spec": ([START, DATA, END], "first message of an upload is the spec, got 'file'"),
    "two specs": ([SPEC, SPEC], "one spec"),
    "an empty message": ([SPEC, DeployRequest()], "is empty"),
    "data without a file": ([SPEC, DATA, END], "data was sent before the file"),
    "too little data": ([SPEC, START, END], "announced with 3 bytes, got 0"),
    "too much data": ([SPEC, START, DATA, DATA, END], "announced with 3 bytes, got more"),
    "the same file twice": ([SPEC, START, DATA, START, DATA, END], "sent twice"),
    "a wrong count": ([SPEC, START, DATA, DeployRequest(end=Upload(num_files=2))], "counts 2 files, got 1"),
    "no file": ([SPEC, DeployRequest(end=Upload())], "found none: no file at all"),
    "no model": (upload(files={"readme.txt": b"hi"}), "found none: 'readme.txt'"),
    "two models": (upload(files={"a.onnx": b"a", "b.onnx": b"b"}), "more than one: 'a.onnx', 'b.onnx'"),
    "a model below the top": (upload(files={"sub/a.onnx": b"a"}), "found none: 'sub/a.onnx'"),
    "a path out of the folder": (upload(files={"m.onnx": b"a", "../x": b"b"}), "must be relative"),
    "an absolute path": (upload(files={"m.onnx": b"a", "/etc/x": b"b"}), "must be relative"),
    "a backslash": (upload(files={"m.onnx": b"a", "a\\b": b"b"}), "backslash"),
    "a file that is a folder too": (upload(files={"m.onnx": b"a", "m.onnx/b": b"b"}), "and, in"),
    "a bad name": (upload(name="../m"), "got '../m'"),
    "no name": (upload(name=""), "got ''"),
    "too many stages": (upload(stages=65), "at most 64 stages, got 65"),
    "a bad requirement": (upload(require=["a b"]), "selector 'a b', character 3"),
    "an unknown level": (upload(optimisation="max"), "one of auto, none, basic, extended, all; got 'max'"),
}


@pytest.mark.parametrize(("messages", "complaint"), BROKEN.values(), ids=BROKEN.keys())
async def test_upload_that_is_broken_is_named_and_leaves_nothing(mesh, blobs, messages, complaint):
    async with mesh("a") as (client, a):
        with pytest.raises(InvalidRequest) as caught:
            await client.send(messages)
        assert complaint in caught.value.message
        await eventually(lambda: not blobs())
        assert not a.calls


async def test_upload_of_a_client_that_disconnects_leaves_nothing(mesh, blobs):
    async with mesh("a") as (client, _a):
        call = client.stub.Deploy()
        for message in (SPEC, START):
            await call.write(message)
        await eventually(blobs)
        call.cancel()
        await eventually(lambda: not blobs())
        await client.deploy()


async def test_upload_over_the_limit_is_refused(settings, tmp_path):
    settings = settings.model_copy(update={"max_upload_bytes": 2})
    async with (
        scheduler_app(settings) as serving,
        SchedulerClient(serving.address) as client,
        FakeWorker("a", serving.address, tmp_path) as worker,
    ):
        await client.joined(worker)
        with pytest.raises(TooLarge, match="more than the allowed 2 bytes"):
            await client.deploy(b"abc")


async def test_upload_of_an_empty_file(mesh):
    async with mesh("a") as (client, _a):
        await client.send(upload(files={"m.onnx": b"model", "empty.bin": b"", "sub/w.bin": b"w"}))
        await eventually(lambda: client.routes.keys() == {"m/1"})
