"""Verification of a folder of partitions against the model that was split."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from onnxmesh.errors import CorruptData
from onnxmesh.graph.checks.chain_comparison import compare_chain
from onnxmesh.graph.checks.difference import OutputDifference
from onnxmesh.graph.cutting.plan_file import PlanFile
from onnxmesh.graph.measuring.random_inputs import random_inputs
from onnxmesh.graph.measuring.trial_shapes import Shapes, sized_shapes, trial_shapes
from onnxmesh.graph.reading.normalised_source import normalised_source
from onnxmesh.graph.reading.source import load_structure, source_digest
from onnxmesh.graph.reading.value_types import Dim, declared_dims
from onnxmesh.model.cut_mode import CutMode
from onnxmesh.model.input_shapes import InputShapes
from onnxmesh.model.optimisation_level import OptimisationLevel
from onnxmesh.tensors.tensor import Tensor


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
        shapes: The different shapes of the inputs, each by name.
    """

    num_inputs: int
    num_stages: int
    mode: CutMode
    level: OptimisationLevel
    accepted_difference: float
    outputs: tuple[OutputDifference, ...]
    shapes: tuple[Shapes, ...]

    @property
    def equal(self) -> bool:
        """Whether every output is equal bit for bit."""
        return all(output.equal for output in self.outputs)

    @property
    def largest_relative(self) -> float:
        """The largest relative difference of any output."""
        return max((output.largest_relative for output in self.outputs), default=0.0)


def verify_chain(
    folder: Path,
    model: Path,
    seeds: Sequence[int] = (0, 1, 2),
    free_dim: int | None = None,
    *,
    shapes: InputShapes | None = None,
    given: Mapping[str, Tensor] | None = None,
) -> VerifyReport:
    """Compares a chain with the whole model on the same inputs, each on one thread.

    The whole model runs at the optimisation level of the plan: that before an exact cut, or that at which portable
    partitions are loaded. Unless sizes are given, inputs have the shapes of the plan and 2 for each dynamic dimension, or
    where the model refuses these, others of `trial_shapes`.

    Args:
        folder: Folder of the partitions and `plan.json`.
        model: The model that was split.
        seeds: Seeds of the random inputs, one set each.
        free_dim: Size of all dynamic dimensions; None: see above.
        shapes: Shapes of the random inputs; None: see above.
        given: Inputs by name that are not random.

    Raises:
        CorruptData: The plan or a file of it is missing or modified, or the plan is of another model (DATA_LOSS).
        InvalidModel: The model cannot be loaded (INVALID_ARGUMENT).
        InvalidRequest: The shapes contradict the model or each other (INVALID_ARGUMENT).
        ModelRunFailed: The model refuses the inputs; the message has their shapes (INVALID_ARGUMENT).
    """
    plan = PlanFile.load(folder)
    plan.check_files(folder)
    if source_digest(model) != plan.source_digest:
        raise CorruptData(
            f"'{model.name}' is not the model that was split, '{plan.model}': their digests differ"
        )
    level = plan.level if plan.mode is CutMode.EXACT else plan.mode.load_level
    specs, files = plan.signature.inputs, dict(given or {})
    if files.keys() >= {spec.name for spec in specs}:
        seeds = seeds[:1]  # nothing is random
    trials = _trials(plan, input_symbols(model), free_dim, shapes, files)
    with _read_form(model, folder) as whole:
        found, inputs = compare_chain(
            whole,
            level,
            folder,
            plan.partitions,
            plan.mode,
            (
                [
                    random_inputs(specs, seed, shapes=together[number % len(together)]) | files
                    for number, seed in enumerate(seeds)
                ]
                for together in trials
            ),
        )
    used = [{name: tensor.shape for name, tensor in feeds.items()} for feeds in inputs]
    return VerifyReport(
        num_inputs=len(inputs),
        num_stages=len(plan.partitions),
        mode=plan.mode,
        level=level,
        accepted_difference=plan.accepted_difference,
        outputs=tuple(found),
        shapes=tuple(each for number, each in enumerate(used) if each not in used[:number]),
    )


@contextmanager
def _read_form(model: Path, folder: Path) -> Iterator[Path]:
    """Yields the model in the form that was cut: the file itself, or a copy beside the partitions.

    Temporary file systems are small, and models are not. Nothing is written where no copy is needed.
    """
    work = folder / f".verify-{uuid4().hex}"
    try:
        yield normalised_source(model, work)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _trials(
    plan: PlanFile,
    symbols: Mapping[str, Sequence[Dim]],
    free_dim: int | None,
    shapes: InputShapes | None,
    given: Mapping[str, Tensor],
) -> Iterable[tuple[Shapes, ...]]:
    specs = plan.signature.inputs
    if free_dim is None and shapes is None and not given:
        return trial_shapes(specs, symbols, plan.shapes)
    wanted = shapes or InputShapes(free_dim or plan.shapes.batch)
    inputs = dict(wanted.inputs) | {name: tensor.shape for name, tensor in given.items()}
    at = InputShapes(wanted.batch, inputs).of(specs, symbols)
    if free_dim is not None and not inputs:
        at = sized_shapes(specs, symbols, batch=free_dim, size=free_dim)
    return [(at,)]


def input_symbols(model: Path) -> dict[str, tuple[Dim, ...]]:
    """Returns the declared dimensions of each input, symbols by name."""
    return {value.name: declared_dims(value) or () for value in load_structure(model).graph.input}
