"""A partition of a model: its files, its inputs and its outputs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from onnxmesh.errors import CorruptData
from onnxmesh.files.digests import ListedFile
from onnxmesh.ids import Digest
from onnxmesh.model.tensor_spec import TensorSpec

PARTITIONS = "partitions"
"""Folder of the partitions below a model's work folder: `plan.json` and `stage-<index>/`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Partition:
    """The part of a graph that one stage runs.

    Attributes:
        index: Position in the chain, from 0.
        start: Position of its first node in the topological order.
        end: One past its last node.
        files: Its files; the first is always `model.onnx`.
        digest: SHA-256 over the sorted listing of the files; equal for equal inputs on any machine.
        inputs: Inputs of its model, all of them live before the stage.
        outputs: Outputs of its model.
        live_out: Names of all tensors that are live after the stage, in a fixed order: its outputs that later stages or
            the client need, inputs that it passes on, and outputs of the model that earlier stages computed. After
            the last stage: the model's outputs.
        weight_bytes: Bytes of the weights in its files.
        direct_inputs: Inputs of the model among `inputs` that the gateway sends to this stage; no stage carries them.
            Empty for stage 0, which receives all its inputs from the gateway.
    """

    index: int
    start: int
    end: int
    files: tuple[ListedFile, ...]
    digest: Digest
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    live_out: tuple[str, ...]
    weight_bytes: int
    direct_inputs: tuple[str, ...] = ()

    @property
    def num_nodes(self) -> int:
        """The number of its nodes."""
        return self.end - self.start

    def to_plain(self) -> dict[str, Any]:
        """Returns the partition as plain values for JSON."""
        return {
            "index": self.index,
            "start": self.start,
            "end": self.end,
            "files": [
                {"path": file.path, "sha256": file.sha256, "num_bytes": file.num_bytes} for file in self.files
            ],
            "digest": self.digest,
            "inputs": [spec.to_plain() for spec in self.inputs],
            "outputs": [spec.to_plain() for spec in self.outputs],
            "live_out": list(self.live_out),
            "weight_bytes": self.weight_bytes,
            "direct_inputs": list(self.direct_inputs),
        }

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Partition:
        """Reads what `to_plain` wrote.

        Raises:
            KeyError, TypeError, ValueError: The value has another form; the caller names the file.
        """
        return cls(
            index=int(plain["index"]),
            start=int(plain["start"]),
            end=int(plain["end"]),
            files=tuple(
                ListedFile(str(file["path"]), Digest(str(file["sha256"])), int(file["num_bytes"]))
                for file in plain["files"]
            ),
            digest=Digest(str(plain["digest"])),
            inputs=tuple(TensorSpec.from_plain(spec) for spec in plain["inputs"]),
            outputs=tuple(TensorSpec.from_plain(spec) for spec in plain["outputs"]),
            live_out=tuple(str(name) for name in plain["live_out"]),
            weight_bytes=int(plain["weight_bytes"]),
            direct_inputs=tuple(str(name) for name in plain["direct_inputs"]),
        )


def partitions_to_json(partitions: Iterable[Partition]) -> str:
    """Returns the partitions as one line of JSON."""
    return json.dumps([partition.to_plain() for partition in partitions], separators=(",", ":"))


def partitions_from_json(text: str) -> list[Partition]:
    """Reads what `partitions_to_json` wrote.

    Raises:
        CorruptData: The text is no list of partitions (DATA_LOSS).
    """
    try:
        return [Partition.from_plain(plain) for plain in json.loads(text)]
    except (KeyError, TypeError, ValueError) as error:
        msg = f"not a list of partitions: {type(error).__name__}: {error}"
        raise CorruptData(msg) from error
