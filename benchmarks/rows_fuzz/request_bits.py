"""Requests of tame and extreme rows, the answers of plain ONNX Runtime, and their comparison."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from benchmarks.rows_fuzz.graph_builder import LENGTH, WIDTH

IN_FLIGHT = 32
NEIGHBOURS = (1.0, 100.0, 0.0, 255.0, 1e4, 0.01)
"""Factors of rows: tame and extreme ones are side by side."""
Floats = npt.NDArray[np.float32]
AnyArray = npt.NDArray[np.generic]


def requests(seed: int, count: int = IN_FLIGHT, most_rows: int = 1) -> list[Floats]:
    """Returns requests of 1 to `most_rows` rows each."""
    generator = np.random.default_rng(seed)
    sizes = generator.integers(1, most_rows + 1, count)
    return [
        (
            generator.standard_normal((size, LENGTH, WIDTH)) * generator.choice(NEIGHBOURS, (size, 1, 1))
        ).astype(np.float32)
        for size in sizes
    ]


class PlainRuntime:
    """Plain ONNX Runtime with default settings, on one thread: the right answers.

    Attributes:
        outputs: Names of the outputs.

    Args:
        model: The model's file.
    """

    def __init__(self, model: Path) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 4
        self._session = ort.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
        self.outputs: Sequence[str] = [output.name for output in self._session.get_outputs()]

    def run(self, x: Floats) -> list[AnyArray]:
        """Returns the outputs for one request."""
        return list(self._session.run(self.outputs, {"x": x}))


def equal_bits(one: AnyArray, other: AnyArray) -> bool:
    """Whether two arrays have equal bits; any NaN equals any other, as their bits depend on a kernel's order."""
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    if one.tobytes() == other.tobytes():
        return True
    if one.dtype.kind != "f":
        return False
    both = np.isnan(one) & np.isnan(other)
    return bool((both | (one.view(np.uint32) == other.view(np.uint32))).all())


def rows_meet_in_fact(model: Path, seed: int) -> bool:
    """Whether a neighbour changes an answer of a model, beyond the last bits."""
    runtime = PlainRuntime(model)
    rows = requests(seed, 8)
    together = runtime.run(np.concatenate(rows))
    for number, row in enumerate(rows):
        for one, other in zip(runtime.run(row), together, strict=True):
            if not np.allclose(one, other[number : number + 1], rtol=1e-3, atol=1e-3, equal_nan=True):
                return True
    return False
