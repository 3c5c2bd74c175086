"""Three stages of which the later two have direct inputs, made by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from onnx import helper

from onnxmesh.store.blobs import BlobFolder
from onnxmesh.v1.model_pb2 import Partition, TensorSpec
from tests.integration.worker.stage_models import artefact, model, value, write

INPUTS = ("x", "u", "v")
ENTRY = ("x",)
DIRECT = {1: ("u",), 2: ("u", "v", "x")}
"""u goes to both later stages; x to the first and to the last."""

STAGES = (
    ([("Neg", ["x"], "h")], ["x"], "h"),
    ([("Add", ["h", "u"], "g")], ["h", "u"], "g"),
    (
        [("Mul", ["g", "v"], "p"), ("Add", ["p", "u"], "q"), ("Sub", ["q", "x"], "y")],
        ["g", "u", "v", "x"],
        "y",
    ),
)


def expected(x, u, v):
    """What the three stages give, in the same order of roundings."""
    return (-x + u) * v + u - x


def inputs(size, seed=1):
    """A vector of each input."""
    rng = np.random.default_rng(seed)
    return {name: rng.standard_normal(size).astype(np.float32) for name in INPUTS}


def partitions(folder: Path, blobs: BlobFolder) -> list[Partition]:
    """Takes the stages into a store, as a cut would."""
    made = []
    for index, (nodes, takes, gives) in enumerate(STAGES):
        graph = model(
            [helper.make_node(kind, given, [name]) for kind, given, name in nodes],
            [value(name, ["N"]) for name in takes],
            [value(gives, ["N"])],
        )
        path = write(graph, folder / f"direct-{index}")
        made.append(
            Partition(
                index=index,
                artefact=artefact(path.parent, blobs),
                inputs=[TensorSpec(name=name, datatype="FP32", shape=[-1]) for name in takes],
                outputs=[TensorSpec(name=gives, datatype="FP32", shape=[-1])],
                live_out=[gives],
                num_nodes=len(nodes),
                direct_inputs=DIRECT.get(index, ()),
            )
        )
    return made
