"""One stage in a process of its own, as a worker holds it: `python -m benchmarks.plan.stage_process`.

Lines of JSON in, lines of JSON out: `{"folder", "feeds"}` loads a partition and answers with the memory that it took;
`{"seconds"}` runs it in a loop for so long and answers with the median time of a run.
"""

from __future__ import annotations

import json
import os
import pickle
import statistics
import sys
import tempfile
from pathlib import Path
from time import perf_counter

import numpy as np
import onnx

from benchmarks.machine import peak_bytes
from onnxmesh.graph.runtime.session import StageSession
from onnxmesh.tensors.arrays import from_array

WARM_UPS = 2


def main() -> None:
    """Handles requests until standard input ends."""
    _wake_runtime()
    session, feeds = None, {}
    for line in sys.stdin:
        job = json.loads(line)
        if "folder" in job:
            session = None
            feeds = pickle.loads(Path(job["feeds"]).read_bytes())
            before = _peak_bytes()
            session = StageSession(Path(job["folder"]))
            for _ in range(WARM_UPS):
                session.run(feeds)
            answer = {"peak_bytes": _peak_bytes() - before}
        else:
            assert session is not None
            times = []
            end = perf_counter() + job["seconds"]
            while (began := perf_counter()) < end or not times:
                session.run(feeds)
                times.append(perf_counter() - began)
            answer = {"median_s": statistics.median(times), "num_runs": len(times)}
        print(json.dumps(answer), flush=True)


def _wake_runtime() -> None:
    """Runs a trivial model, so that memory that ONNX Runtime needs for any model is not attributed to a stage."""
    value = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1])
    output = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1])
    graph = onnx.helper.make_graph([onnx.helper.make_node("Neg", ["x"], ["y"])], "tiny", [value], [output])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tiny.onnx"
        onnx.save(onnx.helper.make_model(graph, ir_version=10), path)
        StageSession(path).run({"x": from_array("x", np.zeros(1, np.float32))})


def _peak_bytes() -> int:
    """Returns the peak memory of this process; `getrusage` would include its parent's at the fork."""
    return peak_bytes(os.getpid())


if __name__ == "__main__":
    main()
