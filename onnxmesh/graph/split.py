"""A model into a folder of partitions, in one call."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from onnxmesh.graph.build_jobs import CutJob, CutOptions, PrepareJob, PrepareOptions
from onnxmesh.graph.build_steps import cut_prepared, prepare
from onnxmesh.graph.cutting.plan_file import PlanFile
from onnxmesh.model.cluster import Cluster, DeviceKind
from onnxmesh.model.cut_mode import CutMode
from onnxmesh.model.graph_costs import GraphCosts
from onnxmesh.model.input_shapes import InputShapes
from onnxmesh.model.optimisation_level import OptimisationLevel
from onnxmesh.model.partition import PARTITIONS
from onnxmesh.model.plan import Demand, Plan
from onnxmesh.planning.planner import make_plan


def split_model(
    model: Path,
    out: Path,
    num_stages: int | None = None,
    *,
    level: OptimisationLevel = OptimisationLevel.EXTENDED,
    mode: CutMode = CutMode.EXACT,
    shapes: InputShapes | None = None,
    max_stages: int = 8,
    memory_bytes_per_device: int | None = None,
    measure: bool = True,
) -> tuple[PlanFile, Plan]:
    """Cuts a model and writes `out` with `plan.json` and a folder for each partition.

    Args:
        model: The model.
        out: Folder to write; it appears whole or not at all. It must not exist, or be empty.
        num_stages: How many stages, or None to choose by estimated cost.
        level: How far ONNX Runtime optimises the whole before the cut, in exact mode.
        mode: Whether the whole is optimised before the cut, or each partition where it is loaded.
        shapes: What to plan for; None: every free dimension is 1.
        max_stages: The most stages to choose.
        memory_bytes_per_device: Bound on the weights of a stage, or None.
        measure: Whether a portable cut is run beside the whole model to measure its difference.

    Returns:
        What was written, and the estimates behind it.

    Raises:
        FileExistsError: `out` is a file or a folder with something in it.
        InvalidModel: The model cannot be served (INVALID_ARGUMENT).
        InvalidRequest: A shape is for no input, or contradicts the model (INVALID_ARGUMENT).
        InvalidPlan: The model cannot be cut as asked (INVALID_ARGUMENT).
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise FileExistsError(f"'{out}' exists and is not an empty folder")
    out.parent.mkdir(parents=True, exist_ok=True)
    # Beside `out`, so that the last step is a rename within one file system.
    with tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as name:
        work = Path(name)
        options = PrepareOptions(level, mode, shapes or InputShapes())
        prepared = json.loads(prepare(PrepareJob(model, work, options)))
        costs = GraphCosts.from_json(prepared["costs"])
        cluster = Cluster((DeviceKind("device", max_stages, memory_bytes=memory_bytes_per_device),))
        plan = make_plan(costs, cluster, Demand(num_stages=num_stages, share=True))
        direct_inputs = tuple(tuple(stage.direct_inputs) for stage in plan.stages)
        cut_prepared(CutJob(work, CutOptions(tuple(plan.cuts), direct_inputs), measure))
        if out.exists():
            out.rmdir()
        (work / PARTITIONS).rename(out)
    return PlanFile.load(out), plan
