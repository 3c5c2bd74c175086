"""One piece of a model that was cut, as files and promises."""

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
"""Folder below a model's work folder that a cut writes: `plan.json` and `stage-<index>/`."""


@dataclass(frozen=True, slots=True)
class Partition:
    """A stage's part of the graph.

    Attributes:
        index: Its place in the chain, from 0.
        start: First node of the linearised graph in it.
        end: One past its last node.
        files: Its files; the first is always `model.onnx`.
        digest: SHA-256 over the sorted listing of the files: the same for the same input anywhere.
        inputs: The tensors that its model takes, all of them alive before the stage.
        outputs: The tensors that its model computes.
        live_out: Names of ALL tensors that must be alive after the stage, in a fixed order: what it
            computed and later stages or the client need, what it was given and only passes on, and
            model outputs that were ready earlier. After the last stage: the model's outputs.
        weight_bytes: Bytes of the weights in its files.
        direct_inputs: Inputs of the model among `inputs` that come straight from the gateway, beside what
            the stage before sends; no stage carries them for it. Empty for stage 0, which has all it needs from there.
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
        """How many nodes of the linearised graph it runs."""
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
