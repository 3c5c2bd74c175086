"""Splitting of a model into a folder of partitions, in one call."""

from __future__ import annotations

import tempfile
from pathlib import Path

from onnxmesh.graph.build_jobs import CutJob, CutOptions, PrepareJob, PrepareOptions
from onnxmesh.graph.build_steps import cut_prepared, prepare_here
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
    """Plans and cuts a model; writes a folder with `plan.json` and a folder for each partition.

    Args:
        model: The model.
        out: Folder to write, atomically. It must be missing or empty.
        num_stages: Number of stages; None: chosen by estimated cost.
        level: Optimisation level of the whole model before the cut, in exact mode.
        mode: Whether the whole is optimised before the cut, or each partition at load.
        shapes: Shapes of the plan; None: every free dimension is 1.
        max_stages: Largest number of stages to choose.
        memory_bytes_per_device: Limit on the memory of a stage; None: unlimited.
        measure: Whether the difference of a portable chain from the whole model is measured.

    Returns:
        The plan file that was written, and the plan with its estimates.

    Raises:
        FileExistsError: `out` is a file or a folder that is not empty.
        InvalidModel: The model cannot be served (INVALID_ARGUMENT).
        InvalidRequest: A shape is for no input, or contradicts the model (INVALID_ARGUMENT).
        InvalidPlan: The model cannot be cut into that many stages (INVALID_ARGUMENT).
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise FileExistsError(f"'{out}' exists and is not an empty folder")
    out.parent.mkdir(parents=True, exist_ok=True)
    # Beside `out`, so that the last step is a rename within one file system.
    with tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as name:
        work = Path(name)
        options = PrepareOptions(level, mode, shapes or InputShapes())
        prepared = prepare_here(PrepareJob(model, work, options, follow_links=True))
        costs = GraphCosts.from_json(prepared["costs"])
        cluster = Cluster((DeviceKind("device", max_stages, memory_bytes=memory_bytes_per_device),))
        plan = make_plan(costs, cluster, Demand(num_stages=num_stages, share=True))
        direct_inputs = tuple(tuple(stage.direct_inputs) for stage in plan.stages)
        cut_prepared(CutJob(work, CutOptions(tuple(plan.cuts), direct_inputs), measure))
        if out.exists():
            out.rmdir()
        (work / PARTITIONS).rename(out)
    return PlanFile.load(out), plan
