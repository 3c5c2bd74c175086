"""A model's way from file to partitions, as steps that a child process runs.

ONNX Runtime can take the process down on a malicious model, and holds memory; a worker therefore does
this work in a child. Arguments and results are plain values; errors are `MeshError`s, which pickle.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from onnxmesh import __version__
from onnxmesh.errors import CorruptData
from onnxmesh.graph.analyse import analyse, types_of
from onnxmesh.graph.cut import Provenance, cut
from onnxmesh.graph.optimise import optimise
from onnxmesh.graph.plan_file import PlanFile
from onnxmesh.graph.source import check_source, source_digest
from onnxmesh.graph.value_types import types_from_json, types_to_json
from onnxmesh.ids import Digest
from onnxmesh.planning.graph_costs import GraphCosts
from onnxmesh.planning.optimisation_level import OptimisationLevel
from onnxmesh.planning.partition import PARTITIONS, partitions_to_json

_OPTIMISED = "optimised"
_NOTES = "source.json"
_TYPES = "types.json"
_PROFILE = "profile.json"


def prepare(source: str, work: str, level: str) -> str:
    """Checks, optimises and analyses a model.

    Args:
        source: Path of the model.
        work: Folder for what comes out; made if it is not there.
        level: An `OptimisationLevel`.

    Returns:
        The `GraphCosts` as JSON.

    Raises:
        InvalidModel: The model cannot be served (INVALID_ARGUMENT).
    """
    model, folder, wanted = Path(source), Path(work), OptimisationLevel(level)
    check_source(model)
    digest = source_digest(model)
    optimised = optimise(model, folder / _OPTIMISED, wanted)
    types = types_of(optimised)
    profile = analyse(optimised, types=types).to_json()
    notes = {"model": model.name, "source_digest": digest, "level": wanted.value}
    (folder / _TYPES).write_text(types_to_json(types), encoding="utf-8")
    (folder / _PROFILE).write_text(profile, encoding="utf-8")
    # Last: with it the folder is ready to be cut.
    (folder / _NOTES).write_text(json.dumps(notes), encoding="utf-8")
    return profile


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
        profile = GraphCosts.from_json((folder / _PROFILE).read_text(encoding="utf-8"))
        digest, level = Digest(notes["source_digest"]), OptimisationLevel(notes["level"])
    except (OSError, KeyError, ValueError) as error:
        raise CorruptData(f"folder '{folder.name}' holds no prepared model: {error}") from error
    provenance = Provenance(digest, level.value, f"onnxmesh {__version__}")
    out = folder / PARTITIONS
    partitions = cut(folder / _OPTIMISED / "optimised.onnx", cuts, out, provenance, types)
    PlanFile(notes["model"], digest, level, profile.signature, tuple(partitions)).save(out)
    return partitions_to_json(partitions)
