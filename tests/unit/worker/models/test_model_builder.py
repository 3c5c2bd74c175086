"""The model builder, with children that are scripts."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from onnxmesh.errors import InvalidModel, InvalidPlan
from onnxmesh.graph.build_jobs import CutJob, CutOptions, PrepareJob, PrepareOptions
from onnxmesh.model.optimisation_level import OptimisationLevel
from services.worker.models.model_builder import ModelBuilder

JOB = CutJob(Path("nowhere"), CutOptions((1,)))


@pytest.mark.parametrize(
    ("script", "how"),
    [
        ("import os; os.abort()", "SIGABRT"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "memory runs out"),
        ("raise SystemExit(3)", "status 3"),
        ("pass", "status 0"),
    ],
)
async def test_model_builder_reports_a_child_that_ended_without_an_answer(script, how):
    """The message has the signal or status, even status 0."""
    builder = ModelBuilder((sys.executable, "-c", script))
    with pytest.raises(InvalidModel, match="ONNX Runtime crashed while cutting the model") as caught:
        await builder.cut(JOB)
    assert how in caught.value.message


async def test_model_builder_raises_an_expected_failure_of_the_child():
    """With its class and message."""
    script = (
        """import sys; sys.stdin.readline(); print('{"reason": "INVALID_PLAN", "message": "not there"}')"""
    )
    with pytest.raises(InvalidPlan, match="not there"):
        await ModelBuilder((sys.executable, "-c", script)).cut(JOB)


async def test_model_builder_cuts_in_the_child_that_prepared():
    """A second preparation gets a new child."""
    script = """
import json, os, sys
for line in sys.stdin:
    step, job = json.loads(line)
    print(json.dumps({"answer": f"{step} {os.getpid()} {job['folder']}"}), flush=True)
"""
    builder = ModelBuilder((sys.executable, "-c", script))
    job = PrepareJob(Path("m.onnx"), Path("work"), PrepareOptions(OptimisationLevel.ALL))
    first = (await builder.prepare(job)).split()
    second = (await builder.prepare(job)).split()
    cut = (await builder.cut(CutJob(Path("work"), CutOptions()))).split()
    builder.close()
    assert (first[0], cut[0], cut[2]) == ("prepare", "cut", "work")
    assert first[1] != second[1] == cut[1]
