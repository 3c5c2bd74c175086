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
from onnxmesh.graph.analyse import analyse, types_of
from onnxmesh.graph.costing import measured_costs
from onnxmesh.graph.cut import Provenance, cut
from onnxmesh.graph.optimise import optimise
from onnxmesh.graph.plan_file import PlanFile
from onnxmesh.graph.profiler import Progress
from onnxmesh.graph.source import check_source, source_digest
from onnxmesh.graph.value_types import types_from_json, types_to_json
from onnxmesh.ids import Digest
from onnxmesh.planning.cut_mode import CutMode
from onnxmesh.planning.graph_costs import GraphCosts
from onnxmesh.planning.input_shapes import InputShapes
from onnxmesh.planning.optimisation_level import OptimisationLevel
from onnxmesh.planning.partition import PARTITIONS, partitions_to_json

_OPTIMISED = "optimised"
_NOTES = "source.json"
_TYPES = "types.json"
_COSTS = "costs.json"


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
    """Checks, optimises and analyses a model, and measures it where that is wanted.

    Args:
        source: Path of the model.
        work: Folder for what comes out; made if it is not there.
        level: An `OptimisationLevel`.
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
    model, folder, wanted, way = Path(source), Path(work), OptimisationLevel(level), CutMode(mode)
    planned = InputShapes() if shapes is None else InputShapes.from_plain(shapes)
    check_source(model)
    digest = source_digest(model)
    to_cut = optimise(model, folder / _OPTIMISED, wanted)
    types = types_of(to_cut)
    costs = analyse(to_cut, planned, types)
    profile, unprofiled = "", ""
    if profile_s > 0:
        try:
            costs, measured = measured_costs(
                to_cut, digest, wanted, way, types=types, costs=costs, shapes=planned, seconds=profile_s,
                device=device, progress=progress,
            )  # fmt: skip
            profile = measured.to_json()
        except ModelRunFailed as error:
            unprofiled = error.message
    notes = {"model": model.name, "source_digest": digest, "level": wanted.value}
    (folder / _TYPES).write_text(types_to_json(types), encoding="utf-8")
    (folder / _COSTS).write_text(costs.to_json(), encoding="utf-8")
    # Last: with it the folder is ready to be cut.
    (folder / _NOTES).write_text(json.dumps(notes), encoding="utf-8")
    return json.dumps({"costs": costs.to_json(), "profile": profile, "unprofiled": unprofiled})


def cut_prepared(work: str, cuts: Sequence[int]) -> str:
    """Cuts what `prepare` left in `work` and writes the partitions under `work/partitions`.

    Returns:
        The list of `Partition`s as JSON (`planning.partition.partitions_from_json` reads it).

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
    except (OSError, KeyError, ValueError) as error:
        raise CorruptData(f"folder '{folder.name}' holds no prepared model: {error}") from error
    provenance = Provenance(digest, level.value, f"onnxmesh {__version__}")
    out = folder / PARTITIONS
    partitions = cut(folder / _OPTIMISED / "optimised.onnx", cuts, out, provenance, types)
    PlanFile(notes["model"], digest, level, costs.signature, tuple(partitions)).save(out)
    return partitions_to_json(partitions)
