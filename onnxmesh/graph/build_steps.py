"""The two steps from a model's file to partitions, prepare and cut, as a child process runs them.

ONNX Runtime can crash the process on a malicious model and keeps memory allocated; a worker therefore runs these
steps in a child process. Jobs and results can be serialised; errors are `MeshError`s.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from onnxmesh import __version__
from onnxmesh.errors import CorruptData, InvalidModel, ModelRunFailed, Unsatisfiable
from onnxmesh.graph.build_jobs import CutJob, PrepareJob
from onnxmesh.graph.checks.activation_errors import measure_activation_errors
from onnxmesh.graph.checks.batch_axis import batch_axis_obstacle
from onnxmesh.graph.checks.batching_check import check_batching
from onnxmesh.graph.checks.chain_comparison import compare_chain
from onnxmesh.graph.checks.difference import accepted_difference
from onnxmesh.graph.checks.time_limit import TimeLimit
from onnxmesh.graph.checks.verify import input_symbols
from onnxmesh.graph.costs.graph_analysis import analyse_graph, boundary_types
from onnxmesh.graph.cutting.cut_model import Provenance, cut_model
from onnxmesh.graph.cutting.original_model import save_original_model
from onnxmesh.graph.cutting.plan_file import PlanFile
from onnxmesh.graph.measuring.measured_costs import measure_costs
from onnxmesh.graph.measuring.profiler import Progress
from onnxmesh.graph.measuring.random_inputs import random_inputs
from onnxmesh.graph.measuring.trial_shapes import trial_shapes
from onnxmesh.graph.reading.normalised_source import normalised_source
from onnxmesh.graph.reading.optimise import OPTIMISED, optimise
from onnxmesh.graph.reading.required_locales import missing_locale, required_labels
from onnxmesh.graph.reading.source import check_source, load_structure, source_digest
from onnxmesh.graph.reading.value_types import types_from_json, types_to_json
from onnxmesh.graph.rows.row_boundaries import mark_boundaries
from onnxmesh.ids import Digest
from onnxmesh.model.batching import StageBatching
from onnxmesh.model.cut_mode import CutMode
from onnxmesh.model.graph_costs import GraphCosts
from onnxmesh.model.input_shapes import InputShapes
from onnxmesh.model.optimisation_level import OptimisationLevel
from onnxmesh.model.partition import PARTITIONS, Partition
from onnxmesh.model.signature import Signature

_NORMALISED = "normalised"
_OPTIMISED = "optimised"
_NOTES = "source.json"
_TYPES = "types.json"
_COSTS = "costs.json"
_MARKING_S = 1.0
"""Time limit for finding the boundaries that keep rows apart: without it the planner has no preference among cuts."""
_NUM_INPUTS = 3
_PREPARED = ("costs", "profile", "unprofiled", "requires", "lacking")


def prepare_here(job: PrepareJob, progress: Progress | None = None) -> dict[str, str]:
    """Prepares a model that this machine is to run; returns what `prepare` does, as values.

    Raises:
        Unsatisfiable: This machine lacks something that the model requires (FAILED_PRECONDITION).
        MeshError: As `prepare`.
    """
    prepared: dict[str, str] = json.loads(prepare(job, progress))
    if prepared["lacking"]:
        raise Unsatisfiable(prepared["lacking"])
    return prepared


def prepare(job: PrepareJob, progress: Progress | None = None) -> str:
    """Checks a model, optimises it, estimates its costs, and measures its nodes if requested.

    Args:
        job: The model and how it is prepared.
        progress: Called with the share of the measurement that is done.

    Returns:
        JSON: `costs` is the text of the `GraphCosts`; `profile` that of the `Profile`, empty if the nodes were not
        measured; `unprofiled` the reason why a requested measurement failed; `requires` the labels that a worker needs to
        run the model, separated by blanks; `lacking` why this machine cannot: all but `requires` is empty then.

    Raises:
        InvalidModel: The model cannot be served (INVALID_ARGUMENT).
        InvalidRequest: A shape names no input, or contradicts the model or another shape (INVALID_ARGUMENT).
    """
    source, folder, options = job.source, job.folder, job.options
    check_source(source, follow_links=job.follow_links)
    model = load_structure(source)
    requires, lacking = " ".join(required_labels(model)), missing_locale(model)
    del model  # its weights may be in it
    if lacking:
        return _answer(requires=requires, lacking=lacking)
    digest = source_digest(source)
    normalised = normalised_source(source, folder / _NORMALISED)
    if options.mode is CutMode.PORTABLE:
        level = OptimisationLevel.NONE
        to_cut = save_original_model(normalised, folder / _OPTIMISED)
    else:
        level = options.optimisation
        to_cut = optimise(normalised, folder / _OPTIMISED, level)
    shutil.rmtree(folder / _NORMALISED, ignore_errors=True)
    types = boundary_types(to_cut)
    costs = analyse_graph(to_cut, options.shapes, types)
    profile, unprofiled = "", ""
    if options.profile_s > 0:
        try:
            costs, measured = measure_costs(
                to_cut, digest, level, options.mode, types=types, costs=costs, shapes=options.shapes,
                seconds=options.profile_s, device=job.device, progress=progress,
            )  # fmt: skip
            profile = measured.to_json()
        except ModelRunFailed as error:
            unprofiled = error.message
    if not batch_axis_obstacle(costs.signature, {name: known.dims or () for name, known in types.items()}):
        costs = mark_boundaries(to_cut, costs, types, TimeLimit(_MARKING_S).expired)
    notes: dict[str, Any] = {
        "model": source.name,
        "source_digest": digest,
        "level": level.value,
        "mode": options.mode.value,
        "shapes": options.shapes.to_plain(),
    }
    (folder / _TYPES).write_text(types_to_json(types), encoding="utf-8")
    (folder / _COSTS).write_text(costs.to_json(), encoding="utf-8")
    # Last: its presence marks the folder as prepared.
    (folder / _NOTES).write_text(json.dumps(notes), encoding="utf-8")
    return _answer(costs=costs.to_json(), profile=profile, unprofiled=unprofiled, requires=requires)


def _answer(**parts: str) -> str:
    return json.dumps(dict.fromkeys(_PREPARED, "") | parts)


def cut_prepared(job: CutJob) -> str:
    """Cuts a prepared model and writes the partitions to `partitions` in its work folder.

    Args:
        job: The prepared model and how it is cut.

    Returns:
        JSON: `partitions` is a list of `Partition`s as plain values; `largest_difference` is
        `PlanFile.largest_difference`, -1 where it was not measured; `batching` a list of `StageBatching`s, empty without
        a batching spec; `activation_errors` an `ActivationErrors`, null where they were not requested.

    Raises:
        CorruptData: The folder holds no prepared model (DATA_LOSS).
        InvalidPlan: The model cannot be cut there (INVALID_ARGUMENT).
    """
    folder, options = job.folder, job.options
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
    partitions = cut_model(to_cut, options.cuts, out, provenance, types, options.direct_inputs)
    inputs = {spec.name for spec in costs.signature.inputs}
    bound = accepted_difference(known for name, known in types.items() if name not in inputs)
    largest: float | None = 0.0
    accepted = 0.0
    if mode is CutMode.PORTABLE:
        largest = (
            _largest_difference(to_cut, out, partitions, costs.signature, shapes, model=notes["model"])
            if job.measure_difference
            else None
        )
        accepted = bound
    batching: list[StageBatching] = []
    if options.batching is not None:
        batching = check_batching(
            to_cut, out, partitions, mode, options.batching, costs=costs, types=types, shapes=shapes, accepted=bound
        )  # fmt: skip
    errors = None
    if options.activation_errors:
        errors = measure_activation_errors(
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
        shapes=shapes,
    )
    plan.save(out)
    return json.dumps(
        {
            "partitions": [partition.to_plain() for partition in partitions],
            "largest_difference": -1.0 if largest is None else largest,
            "batching": [each.to_plain() for each in batching],
            "activation_errors": errors,
        }
    )


def _largest_difference(
    whole: Path,
    out: Path,
    partitions: Sequence[Partition],
    signature: Signature,
    shapes: InputShapes,
    *,
    model: str,
) -> float | None:
    """Returns the largest relative difference between a portable chain and the whole model; None if all inputs fail.

    Raises:
        InvalidModel: ONNX Runtime cannot load the model, named `model` in the message.
    """
    trials = (
        [
            random_inputs(signature.inputs, seed, shapes=together[seed % len(together)])
            for seed in range(_NUM_INPUTS)
        ]
        for together in trial_shapes(signature.inputs, input_symbols(whole), shapes)
    )
    level = CutMode.PORTABLE.load_level
    try:
        found, _ = compare_chain(whole, level, out, partitions, CutMode.PORTABLE, trials)
    except ModelRunFailed:
        return None
    except InvalidModel as error:
        raise InvalidModel(error.message.replace(f"'{whole.name}'", f"'{model}'")) from error
    return max(output.largest_relative for output in found)
