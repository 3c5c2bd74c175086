"""Verification of a folder of partitions against the model that was split."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from onnxmesh.errors import CorruptData
from onnxmesh.graph.checks.chain_comparison import compare_chain
from onnxmesh.graph.checks.difference import OutputDifference
from onnxmesh.graph.cutting.plan_file import PlanFile
from onnxmesh.graph.measuring.random_inputs import random_inputs
from onnxmesh.graph.reading.source import load_structure, source_digest
from onnxmesh.graph.reading.value_types import Dim, declared_dims
from onnxmesh.model.cut_mode import CutMode
from onnxmesh.model.optimisation_level import OptimisationLevel


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """The result of `verify_chain`.

    Attributes:
        num_inputs: Number of different inputs.
        num_stages: Number of partitions.
        mode: The mode of the cut.
        level: Optimisation level at which the whole model ran.
        accepted_difference: Largest relative difference that the plan accepts; 0: equal bits.
        outputs: A difference for each output of the model.
    """

    num_inputs: int
    num_stages: int
    mode: CutMode
    level: OptimisationLevel
    accepted_difference: float
    outputs: tuple[OutputDifference, ...]

    @property
    def equal(self) -> bool:
        """Whether every output is equal bit for bit."""
        return all(output.equal for output in self.outputs)

    @property
    def largest_relative(self) -> float:
        """The largest relative difference of any output."""
        return max((output.largest_relative for output in self.outputs), default=0.0)


def verify_chain(
    folder: Path, model: Path, seeds: Sequence[int] = (0, 1, 2), free_dim: int = 2
) -> VerifyReport:
    """Compares a chain with the whole model on random inputs, each on one thread.

    The whole model runs at the optimisation level of the plan: that before an exact cut, or that at which portable
    partitions are loaded.

    Args:
        folder: Folder of the partitions and `plan.json`.
        model: The model that was split.
        seeds: Seeds of the random inputs, one set each.
        free_dim: Size of free dimensions.

    Raises:
        CorruptData: The plan or a file of it is missing or modified, or the plan is of another model (DATA_LOSS).
        InvalidModel: The model cannot be loaded (INVALID_ARGUMENT).
        ModelRunFailed: The model refuses a random input (INVALID_ARGUMENT).
    """
    plan = PlanFile.load(folder)
    plan.check_files(folder)
    if source_digest(model) != plan.source_digest:
        raise CorruptData(f"'{model.name}' is not the model that was split: their digests differ")
    level = plan.level if plan.mode is CutMode.EXACT else plan.mode.load_level
    symbols = input_symbols(model)
    inputs = [random_inputs(plan.signature.inputs, seed, dims=symbols, free_dim=free_dim) for seed in seeds]
    found = compare_chain(model, level, folder, plan.partitions, plan.mode, inputs)
    return VerifyReport(
        len(seeds), len(plan.partitions), plan.mode, level, plan.accepted_difference, tuple(found)
    )


def input_symbols(model: Path) -> dict[str, tuple[Dim, ...]]:
    """Returns the declared dimensions of each input, symbols by name."""
    return {value.name: declared_dims(value) or () for value in load_structure(model).graph.input}
