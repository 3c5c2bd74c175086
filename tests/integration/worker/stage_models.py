"""Small models for workers, and a blob store from which they fetch partitions."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from pathlib import Path

import grpc.aio
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from onnxmesh.graph.build_jobs import CutJob, CutOptions, PrepareJob, PrepareOptions
from onnxmesh.graph.build_steps import cut_prepared, prepare
from onnxmesh.model import partition as planning
from onnxmesh.model.optimisation_level import OptimisationLevel
from onnxmesh.model.partition import PARTITIONS
from onnxmesh.rpc.grpc.interceptor import ErrorInterceptor
from onnxmesh.store.artefact import artefact_of
from onnxmesh.store.blobs import BlobFolder
from onnxmesh.store.folder import pack
from onnxmesh.store.servicer import BlobFolderServicer
from onnxmesh.v1.blobs_pb2_grpc import add_BlobsServicer_to_server
from onnxmesh.v1.model_pb2 import File, Partition, TensorSpec


def model(nodes, inputs, outputs, weights=None, opset=20):
    initialisers = [numpy_helper.from_array(array, name) for name, array in (weights or {}).items()]
    graph = helper.make_graph(nodes, "test", inputs, outputs, initialisers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)


def value(name, shape, kind=TensorProto.FLOAT):
    return helper.make_tensor_value_info(name, kind, shape)


def skipping_mlp():
    """Four dense layers, and a skip from the input to the end: a tensor that a later stage carries through."""
    rng = np.random.default_rng(7)
    weights = {f"w{i}": rng.standard_normal((16, 16)).astype(np.float32) for i in range(4)}
    nodes, last = [], "x"
    for i in range(4):
        nodes += [
            helper.make_node("MatMul", [last, f"w{i}"], [f"h{i}"]),
            helper.make_node("Tanh", [f"h{i}"], [f"t{i}"]),
        ]
        last = f"t{i}"
    nodes += [helper.make_node("Add", ["t3", "t0"], ["y"]), helper.make_node("Neg", ["t1"], ["early"])]
    return model(nodes, [value("x", ["N", 16])], [value("y", ["N", 16]), value("early", ["N", 16])], weights)


def wide():
    """Two elementwise nodes: the activation is as large as the input."""
    nodes = [helper.make_node("Neg", ["x"], ["h"]), helper.make_node("Abs", ["h"], ["y"])]
    return model(nodes, [value("x", ["N"])], [value("y", ["N"])])


def reshaping():
    """Fails where the numbers do not fit the shape that the client requests, in its second stage."""
    nodes = [
        helper.make_node("Neg", ["x"], ["h"]),
        helper.make_node("Abs", ["h"], ["a"]),
        helper.make_node("Reshape", ["a", "shape"], ["y"]),
    ]
    return model(
        nodes, [value("x", ["N"]), value("shape", ["R"], TensorProto.INT64)], [value("y", ["A", "B"])]
    )


def slow(rounds=1):
    """Takes about 0.1 s a round, in its first stage; a second one is instant."""
    weights = {"w": np.eye(1024, dtype=np.float32)}
    nodes = [
        helper.make_node("MatMul", ["w", f"m{i - 1}" if i else "x"], [f"m{i}"]) for i in range(rounds + 1)
    ]
    nodes.append(helper.make_node("Neg", [f"m{rounds}"], ["y"]))
    return model(nodes, [value("x", [1024, 1024])], [value("y", [1024, 1024])], weights)


def write(made: onnx.ModelProto, folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    onnx.save(made, folder / "model.onnx")
    return folder / "model.onnx"


def cut_model(source: Path, cuts: list[int], work: Path, blobs: BlobFolder) -> list[Partition]:
    """Cuts a model as a worker's child would, and takes its partitions into a store."""
    prepare(PrepareJob(source, work, PrepareOptions(OptimisationLevel.NONE)))
    answer = json.loads(cut_prepared(CutJob(work, CutOptions(tuple(cuts)))))
    return [
        _proto(each, pack(work / PARTITIONS / f"stage-{each.index}", blobs))
        for each in map(planning.Partition.from_plain, answer["partitions"])
    ]


def artefact(folder: Path, blobs: BlobFolder):
    return pack(folder, blobs)


def artefact_of_bytes(name: str, content: bytes, folder: Path, blobs: BlobFolder):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(content)
    sha256, size = blobs.put_file(folder / name)
    return artefact_of([File(path=name, sha256=sha256, byte_size=size)])


def _proto(partition: planning.Partition, packed) -> Partition:
    specs = {
        role: [
            TensorSpec(name=s.name, datatype=s.datatype, shape=s.shape or ())
            for s in getattr(partition, role)
        ]
        for role in ("inputs", "outputs")
    }
    return Partition(
        index=partition.index, artefact=packed, live_out=partition.live_out, num_nodes=partition.num_nodes,
        weight_bytes=partition.weight_bytes, **specs,
    )  # fmt: skip


@asynccontextmanager
async def serving_blobs(blobs: BlobFolder):
    """Serves a store; gives its address."""
    server = grpc.aio.server(interceptors=[ErrorInterceptor()])
    add_BlobsServicer_to_server(BlobFolderServicer(blobs), server)
    address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    try:
        yield address
    finally:
        await server.stop(None)
