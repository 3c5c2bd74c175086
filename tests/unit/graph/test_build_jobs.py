"""Jobs of the model builder are the same after transfer to the child process."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from onnxmesh.graph.build_jobs import CutJob, CutOptions, PrepareJob, PrepareOptions
from onnxmesh.model.batching import BatchingSpec, BatchMode
from onnxmesh.model.cut_mode import CutMode
from onnxmesh.model.input_shapes import InputShapes
from onnxmesh.model.optimisation_level import OptimisationLevel


@pytest.mark.parametrize(
    "options",
    [
        PrepareOptions(OptimisationLevel.ALL),
        PrepareOptions(OptimisationLevel.NONE, CutMode.PORTABLE, InputShapes(4, {"x": (2, 3)}), 1.5),
    ],
)
def test_prepare_job_survives_json(options):
    """Every field, as its own type."""
    job = PrepareJob(Path("a/m.onnx"), Path("work"), options, "cpu-avx2-2t", follow_links=True)
    assert PrepareJob.from_plain(json.loads(json.dumps(job.to_plain()))) == job


@pytest.mark.parametrize(
    "options",
    [
        CutOptions(),
        CutOptions((1, 4), ((), ("u", "v")), BatchingSpec(BatchMode.ON, 8), activation_errors=True),
    ],
)
def test_cut_job_survives_json(options):
    """Every field, as its own type."""
    job = CutJob(Path("work"), options, measure_difference=False)
    assert CutJob.from_plain(json.loads(json.dumps(job.to_plain()))) == job
