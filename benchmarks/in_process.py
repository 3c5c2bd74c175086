"""The upper limit: ONNX Runtime called in a loop, in a process of its own.

`python -m benchmarks.in_process` is a program of `benchmarks.driver`; requests in flight are threads that call one session.
"""

from __future__ import annotations

import argparse
import threading
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import numpy as np
import onnxruntime as ort

from benchmarks.driver import serve_runs
from benchmarks.measurement import percentile
from onnxmesh.device.execution_provider import CUDA
from onnxmesh.device.gpu import find_gpu


def open_session(path: Path, device: str = "cpu") -> ort.InferenceSession:
    """Returns a session of one thread with default optimisation.

    Raises:
        Unsatisfiable: There is no GPU for `cuda`.
    """
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    provider = CUDA if find_gpu(device) else "CPUExecutionProvider"
    return ort.InferenceSession(str(path), options, providers=[provider])


def run(
    session: ort.InferenceSession,
    feeds: dict[str, Any],
    num_threads: int,
    seconds: float,
    warm_up_s: float,
) -> dict[str, Any]:
    """Calls a session from a number of threads; returns the measurements within `seconds` after the warm-up."""
    latencies: list[list[float]] = [[] for _ in range(num_threads)]
    num_runs = [0] * num_threads
    cpu_s = process_time()
    begin = perf_counter() + warm_up_s
    end = begin + seconds

    def loop(number: int) -> None:
        into = latencies[number]
        while (began := perf_counter()) < end:
            session.run(None, feeds)
            now = perf_counter()
            num_runs[number] += 1
            if begin <= now <= end:
                into.append(now - began)

    threads = [threading.Thread(target=loop, args=(number,)) for number in range(num_threads)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = [latency for into in latencies for latency in into]
    return {
        "requests_per_s": len(found) / seconds,
        "p50_ms": percentile(found, 0.50) * 1e3,
        "p99_ms": percentile(found, 0.99) * 1e3,
        "num_requests": sum(num_runs),
        "client_cpu_s": process_time() - cpu_s,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--path", required=True, type=Path, help="the model")
    parser.add_argument("--case", required=True, type=Path, help="an .npz with its inputs")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    arguments = parser.parse_args()
    session = open_session(arguments.path, arguments.device)
    with np.load(arguments.case) as case:
        feeds = {name: case[name] for name in case.files if name != "expected"}
    session.run(None, feeds)
    serve_runs(lambda in_flight, seconds, warm_up_s: run(session, feeds, in_flight, seconds, warm_up_s))


if __name__ == "__main__":
    main()
