"""A model's way from file to partitions, as steps that a child process runs.

ONNX Runtime can take the process down on a malicious model, and holds memory; a worker therefore does
this work in a child. Arguments and results are plain values; errors are `MeshError`s, which pickle.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from onnxmesh import __version__
from onnxmesh.errors import CorruptData, ModelRunFailed
from onnxmesh.graph.checks.activation_errors import measure_activation_errors
from onnxmesh.graph.checks.batching_check import check_batching
from onnxmesh.graph.checks.chain_comparison import compare_chain
from onnxmesh.graph.checks.difference import accepted_difference
from onnxmesh.graph.checks.verify import input_symbols
from onnxmesh.graph.costs.graph_analysis import analyse_graph, boundary_types
from onnxmesh.graph.cutting.cut_model import Provenance, cut_model
from onnxmesh.graph.cutting.original_model import save_original_model
from onnxmesh.graph.cutting.plan_file import PlanFile
from onnxmesh.graph.measuring.measured_costs import measure_costs
from onnxmesh.graph.measuring.profiler import Progress
from onnxmesh.graph.measuring.random_inputs import random_inputs
from onnxmesh.graph.reading.optimise import OPTIMISED, optimise
from onnxmesh.graph.reading.source import check_source, source_digest
from onnxmesh.graph.reading.value_types import types_from_json, types_to_json
from onnxmesh.ids import Digest
from onnxmesh.model.batching import BatchingSpec, StageBatching
from onnxmesh.model.cut_mode import CutMode
from onnxmesh.model.graph_costs import GraphCosts
from onnxmesh.model.input_shapes import InputShapes
from onnxmesh.model.optimisation_level import OptimisationLevel
from onnxmesh.model.partition import PARTITIONS, Partition
from onnxmesh.model.signature import Signature

_OPTIMISED = "optimised"
_NOTES = "source.json"
_TYPES = "types.json"
_COSTS = "costs.json"
_NUM_INPUTS = 3
_FREE_DIMS = (2, 1)
"""Figures to try for dimensions that may vary when a difference is measured."""


def prepare(
    source: str,
    work: str,
    level: str,
    mode: str = CutMode.EXACT,
    shapes: Mapping[str, Any] | None = None,
    profile_s: float = 0.0,
    device: str = "",
    *,
    progress: Progress | None = None,
) -> str:
    """Checks a model, brings it into the form that is cut, analyses it, and measures it where that is wanted.

    Args:
        source: Path of the model.
        work: Folder for what comes out; made if it is not there.
        level: An `OptimisationLevel`: what ONNX Runtime does to the whole. Only exact mode asks.
        mode: A `CutMode`.
        shapes: `InputShapes.to_plain()`: what to plan for; none: every free dimension is 1.
        profile_s: Seconds that measuring nodes may take; 0: they are not measured.
        device: Kind of this device, as `device_kind_name` names it; empty: one thread of the CPU.
        progress: Told how far the measuring is.

    Returns:
        JSON: `costs` is the text of the `GraphCosts`, `profile` that of the `Profile`, empty if none was made, and
        `unprofiled` says why where one was wanted.

    Raises:
        InvalidModel: The model cannot be served (INVALID_ARGUMENT).
        InvalidRequest: A shape is for no input, or contradicts the model or another shape (INVALID_ARGUMENT).
    """
    model, folder, cut_mode = Path(source), Path(work), CutMode(mode)
    planned = InputShapes() if shapes is None else InputShapes.from_plain(shapes)
    check_source(model)
    digest = source_digest(model)
    if cut_mode is CutMode.PORTABLE:
        wanted = OptimisationLevel.NONE
        to_cut = save_original_model(model, folder / _OPTIMISED)
    else:
        wanted = OptimisationLevel(level)
        to_cut = optimise(model, folder / _OPTIMISED, wanted)
    types = boundary_types(to_cut)
    costs = analyse_graph(to_cut, planned, types)
    profile, unprofiled = "", ""
    if profile_s > 0:
        try:
            costs, measured = measure_costs(
                to_cut, digest, wanted, cut_mode, types=types, costs=costs, shapes=planned, seconds=profile_s,
                device=device, progress=progress,
            )  # fmt: skip
            profile = measured.to_json()
        except ModelRunFailed as error:
            unprofiled = error.message
    notes: dict[str, Any] = {
        "model": model.name,
        "source_digest": digest,
        "level": wanted.value,
        "mode": cut_mode.value,
        "shapes": planned.to_plain(),
    }
    (folder / _TYPES).write_text(types_to_json(types), encoding="utf-8")
    (folder / _COSTS).write_text(costs.to_json(), encoding="utf-8")
    # Last: with it the folder is ready to be cut.
    (folder / _NOTES).write_text(json.dumps(notes), encoding="utf-8")
    return json.dumps({"costs": costs.to_json(), "profile": profile, "unprofiled": unprofiled})


def cut_prepared(
    work: str,
    cuts: Sequence[int],
    direct: Sequence[Sequence[str]] = (),
    batching: Mapping[str, Any] | None = None,
    activation_errors: bool = False,
    *,
    measure: bool = True,
) -> str:
    """Cuts what `prepare` left in `work` and writes the partitions under `work/partitions`.

    Args:
        work: The folder.
        cuts: Positions in the topological order, ascending.
        direct: For each stage the inputs of the model that it gets straight from the gateway; nothing: all are
            carried.
        batching: `BatchingSpec.to_plain()`: whether to find out about requests that run together; none: not at all.
        activation_errors: Whether to measure what activations of fewer bits do to the outputs.
        measure: Whether a portable chain is run beside the whole model, which touches all its weights.

    Returns:
        JSON: `partitions` is a list of `Partition`s as plain values, `largest_difference` what
        `PlanFile.largest_difference` is, -1 where it was not measured, `batching` a list of `StageBatching`s, empty where
        nobody asked, `activation_errors` an `ActivationErrors`, null likewise.

    Raises:
        CorruptData: `prepare` did not finish in this folder (DATA_LOSS).
        InvalidPlan: The model cannot be cut there (INVALID_ARGUMENT).
    """
    folder = Path(work)
    try:
        notes = json.loads((folder / _NOTES).read_text(encoding="utf-8"))
        types = types_from_json((folder / _TYPES).read_text(encoding="utf-8"))
        costs = GraphCosts.from_json((folder / _COSTS).read_text(encoding="utf-8"))
        digest, level = Digest(notes["source_digest"]), OptimisationLevel(notes["level"])
        mode = CutMode(notes["mode"])
        shapes = InputShapes.from_plain(notes["shapes"])
    except (OSError, KeyError, ValueError) as error:
        raise CorruptData(f"folder '{folder.name}' holds no prepared model: {error}") from error
    provenance = Provenance(digest, level.value, f"onnxmesh {__version__}", mode)
    out = folder / PARTITIONS
    to_cut = folder / _OPTIMISED / OPTIMISED
    partitions = cut_model(to_cut, cuts, out, provenance, types, direct)
    inputs = {spec.name for spec in costs.signature.inputs}
    bound = accepted_difference(known for name, known in types.items() if name not in inputs)
    largest: float | None = 0.0
    accepted = 0.0
    if mode is CutMode.PORTABLE:
        largest = _largest_difference(to_cut, out, partitions, costs.signature) if measure else None
        accepted = bound
    together: list[StageBatching] = []
    if batching is not None:
        spec = BatchingSpec.from_plain(batching)
        together = check_batching(
            to_cut, out, partitions, mode, spec, costs=costs, types=types, shapes=shapes, accepted=bound
        )
    lost = None
    if activation_errors:
        lost = measure_activation_errors(
            to_cut, out, partitions, mode, costs=costs, types=types, shapes=shapes
        ).to_plain()
    plan = PlanFile(
        model=notes["model"],
        source_digest=digest,
        level=level,
        signature=costs.signature,
        partitions=tuple(partitions),
        mode=mode,
        largest_difference=largest,
        accepted_difference=accepted,
    )
    plan.save(out)
    plain = [partition.to_plain() for partition in partitions]
    return json.dumps(
        {
            "partitions": plain,
            "largest_difference": -1.0 if largest is None else largest,
            "batching": [each.to_plain() for each in together],
            "activation_errors": lost,
        }
    )


def _largest_difference(
    whole: Path, out: Path, partitions: Sequence[Partition], signature: Signature
) -> float | None:
    """Returns the largest relative difference of a portable chain from the whole; None if the model refuses inputs."""
    symbols = input_symbols(whole)
    level = CutMode.PORTABLE.load_level
    for free_dim in _FREE_DIMS:
        inputs = [
            random_inputs(signature.inputs, seed, dims=symbols, free_dim=free_dim)
            for seed in range(_NUM_INPUTS)
        ]
        try:
            found = compare_chain(whole, level, out, partitions, CutMode.PORTABLE, inputs)
        except ModelRunFailed:
            continue
        return max(output.largest_relative for output in found)
    return None
