"""Whether a chain of partitions answers as the whole model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from onnxmesh.errors import CorruptData, ModelRunFailed
from onnxmesh.graph.chain import Chain
from onnxmesh.graph.plan_file import PlanFile
from onnxmesh.graph.random_inputs import random_inputs
from onnxmesh.graph.session import StageSession
from onnxmesh.graph.source import load_structure, source_digest
from onnxmesh.graph.value_types import Dim, declared_dims
from onnxmesh.planning.optimisation_level import OptimisationLevel
from onnxmesh.tensors.arrays import to_array
from onnxmesh.tensors.datatype import Datatype
from onnxmesh.tensors.tensor import Tensor


@dataclass(frozen=True, slots=True)
class OutputDifference:
    """How far one output of the chain is from the whole's, over all inputs tried.

    Attributes:
        name: The output.
        equal: Whether type, shape and every bit are the same.
        largest_absolute: Largest difference of two elements; 0.0 if equal, infinite if shapes differ or
            the elements are no numbers.
        largest_relative: The same, relative to the whole's element.
    """

    name: str
    equal: bool
    largest_absolute: float
    largest_relative: float


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """What `verify` found.

    Attributes:
        num_inputs: How many different inputs were tried.
        num_stages: Partitions of the chain.
        level: Optimisation level of the whole model beside which the chain was run.
        outputs: One for each output of the model.
    """

    num_inputs: int
    num_stages: int
    level: OptimisationLevel
    outputs: tuple[OutputDifference, ...]

    @property
    def equal(self) -> bool:
        """Whether every output was equal bit for bit."""
        return all(output.equal for output in self.outputs)

    @property
    def largest_relative(self) -> float:
        """The largest relative difference of any output."""
        return max((output.largest_relative for output in self.outputs), default=0.0)


def verify(folder: Path, model: Path, seeds: Sequence[int] = (0, 1, 2), free_dim: int = 2) -> VerifyReport:
    """Runs a chain and the whole model on random inputs, each on one thread, and compares.

    Args:
        folder: What a split wrote: partitions and `plan.json`.
        model: The model that was split.
        seeds: One set of inputs is made from each.
        free_dim: Figure for dimensions that may vary.

    Raises:
        CorruptData: The folder has no plan or not the plan's files, or the plan is of another model
            (DATA_LOSS).
        InvalidModel: The model cannot be loaded (INVALID_ARGUMENT).
        ModelRunFailed: The model refuses every random input (INVALID_ARGUMENT).
    """
    plan = PlanFile.load(folder)
    plan.check_files(folder)
    if source_digest(model) != plan.source_digest:
        raise CorruptData(f"'{model.name}' is not the model that was split: its digest is another")
    whole = StageSession(model, level=plan.level)
    chain = Chain(folder, plan.partitions)
    symbols = input_symbols(model)
    differences: dict[str, list[OutputDifference]] = {spec.name: [] for spec in plan.signature.outputs}
    for seed in seeds:
        feeds = random_inputs(plan.signature.inputs, seed, dims=symbols, free_dim=free_dim)
        try:
            expected = whole.run(feeds)
        except ModelRunFailed as error:
            raise ModelRunFailed(f"the whole model refuses random inputs: {error.message}") from error
        found = chain.run(feeds)
        for name, seen in differences.items():
            seen.append(compare(expected[name], found[name]))
    return VerifyReport(
        len(seeds),
        len(plan.partitions),
        plan.level,
        tuple(_worst(name, seen) for name, seen in differences.items()),
    )


def input_symbols(model: Path) -> dict[str, tuple[Dim, ...]]:
    """Returns the declared dimensions of each input, symbols by name."""
    return {value.name: declared_dims(value) or () for value in load_structure(model).graph.input}


def compare(expected: Tensor, found: Tensor) -> OutputDifference:
    """Compares two tensors bit by bit, and as numbers where they differ."""
    same_kind = expected.datatype is found.datatype and expected.shape == found.shape
    if same_kind and bytes(expected.data) == bytes(found.data):
        return OutputDifference(expected.name, equal=True, largest_absolute=0.0, largest_relative=0.0)
    infinite = float("inf")
    if not same_kind or expected.datatype is Datatype.BYTES or expected.datatype.bits < 16:
        return OutputDifference(
            expected.name, equal=False, largest_absolute=infinite, largest_relative=infinite
        )
    absolute, relative = _distance(to_array(expected).astype(np.float64), to_array(found).astype(np.float64))
    return OutputDifference(expected.name, equal=False, largest_absolute=absolute, largest_relative=relative)


def _distance(expected: npt.NDArray[np.float64], found: npt.NDArray[np.float64]) -> tuple[float, float]:
    """Largest absolute and relative distance; a NaN or infinity on one side alone is infinitely far."""
    same = (expected == found) | (np.isnan(expected) & np.isnan(found))
    left, right = expected[~same], found[~same]
    if not left.size:
        return 0.0, 0.0
    if not (np.isfinite(left).all() and np.isfinite(right).all()):
        return float("inf"), float("inf")
    absolute = np.abs(left - right)
    scale = np.maximum(np.abs(left), np.finfo(np.float64).tiny)
    return float(absolute.max()), float((absolute / scale).max())


def _worst(name: str, seen: Sequence[OutputDifference]) -> OutputDifference:
    return OutputDifference(
        name,
        equal=all(difference.equal for difference in seen),
        largest_absolute=max((difference.largest_absolute for difference in seen), default=0.0),
        largest_relative=max((difference.largest_relative for difference in seen), default=0.0),
    )
