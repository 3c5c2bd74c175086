"""Inputs and outputs of magika's file-type model: features of a file, and the label of its type.

The rules are those of magika's own Python package, version 1.0 (https://github.com/google/magika, Apache-2.0):
the first and the last bytes of the file, without the white space at its ends, padded to a fixed length.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

MODEL_FOLDER = "magika/models/standard_v3_3"


@dataclass(frozen=True)
class Verdict:
    """The type of a file, with the model's confidence."""

    label: str
    confidence: float


@dataclass(frozen=True)
class FileTypeModel:
    """The model's file and its configuration."""

    path: Path
    beg_size: int
    end_size: int
    block_size: int
    padding: int
    min_size: int
    labels: tuple[str, ...]

    @classmethod
    def installed(cls) -> FileTypeModel:
        """Finds the model in the installed wheel; nothing of the package is imported."""
        folder = Path(str(metadata.distribution("magika").locate_file(MODEL_FOLDER)))
        config = json.loads((folder / "config.min.json").read_text())
        if config["mid_size"] or config["use_inputs_at_offsets"]:
            raise SystemExit("this magika model uses parts of a file that this example does not read")
        return cls(
            path=folder / "model.onnx",
            beg_size=config["beg_size"],
            end_size=config["end_size"],
            block_size=config["block_size"],
            padding=config["padding_token"],
            min_size=config["min_file_size_for_dl"],
            labels=tuple(config["target_labels_space"]),
        )

    def features(self, path: Path) -> npt.NDArray[np.int32] | None:
        """Returns the model's input for one file, [1, beg_size + end_size]; None if it is too short."""
        with path.open("rb") as file:
            size = path.stat().st_size
            num_read = min(self.block_size, size)
            first = _read_at(file, 0, num_read).lstrip()[: self.beg_size]
            last = _read_at(file, size - num_read, num_read).rstrip()[-self.end_size :]
        if len(first) < self.min_size:
            return None
        tokens = np.full((1, self.beg_size + self.end_size), self.padding, dtype=np.int32)
        tokens[0, : len(first)] = np.frombuffer(first, dtype=np.uint8)
        tokens[0, tokens.shape[1] - len(last) :] = np.frombuffer(last, dtype=np.uint8)
        return tokens

    def verdict(self, scores: npt.NDArray[np.float32]) -> Verdict:
        """Reads the model's output for one file, [1, number of labels]."""
        best = int(scores[0].argmax())
        return Verdict(self.labels[best], float(scores[0, best]))


def _read_at(file: BinaryIO, offset: int, num_bytes: int) -> bytes:
    file.seek(offset)
    return file.read(num_bytes)
