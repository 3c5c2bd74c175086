"""The model builder, with children that are scripts."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from onnxmesh.errors import Internal, InvalidModel, InvalidPlan
from onnxmesh.graph.build_jobs import CutJob, CutOptions, PrepareJob, PrepareOptions
from onnxmesh.masking import masked
from onnxmesh.model.optimisation_level import OptimisationLevel
from services.worker.models.model_builder import ModelBuilder, ModelBuilderDefect

JOB = CutJob(Path("nowhere"), CutOptions((1,)))


@pytest.mark.parametrize(
    ("script", "how"),
    [
        ("import os; os.abort()", "SIGABRT"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "memory runs out"),
    ],
)
async def test_model_builder_reports_a_child_that_a_signal_ended(script, how):
    """It was ONNX Runtime that crashed, or memory that ran out."""
    builder = ModelBuilder((sys.executable, "-c", script))
    with pytest.raises(InvalidModel, match="ONNX Runtime crashed while cutting the model") as caught:
        await builder.cut(JOB)
    assert how in caught.value.message


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("raise SystemExit(3)", ["status 3"]),
        ("pass", ["status 0"]),
        ("raise KeyError('thread pool')", ["status 1", "Traceback", "KeyError: 'thread pool'"]),
        (
            """import sys; sys.stdin.readline(); print('{"traceback": "Traceback …: IndexError"}')""",
            ["Traceback …: IndexError"],
        ),
    ],
)
async def test_model_builder_reports_a_defect_as_no_crash_of_onnx_runtime(script, words):
    """Peers get an internal error with an incident; the log has the child's traceback under it."""
    builder = ModelBuilder((sys.executable, "-c", script))
    with pytest.raises(ModelBuilderDefect) as caught:
        await builder.cut(JOB)
    assert all(word in str(caught.value) for word in words)
    with capture_logs() as logs:
        error = masked(caught.value)
    assert type(error) is Internal
    assert logs[0]["incident"] in error.message
    assert logs[0]["exc_info"] is caught.value


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
