"""The limit: ONNX Runtime called in a loop, in one process, with nothing around it."""

from __future__ import annotations

import threading
from pathlib import Path
from time import perf_counter

import onnxruntime as ort

from benchmarks.measurement import Measurement
from benchmarks.models import BenchModel


def measure(model: BenchModel, path: Path, num_threads: int, seconds: float, num_runs: int) -> Measurement:
    """Returns what `num_threads` threads reach, each calling a session of one thread's width."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    feeds = {model.input_name: model.input()}
    session.run(None, feeds)
    return Measurement.of([_run(session, feeds, num_threads, seconds) for _ in range(num_runs)], seconds)


def _run(session: ort.InferenceSession, feeds: dict, num_threads: int, seconds: float) -> list[float]:
    latencies: list[list[float]] = [[] for _ in range(num_threads)]
    end = perf_counter() + seconds

    def loop(into: list[float]) -> None:
        while (began := perf_counter()) < end:
            session.run(None, feeds)
            into.append(perf_counter() - began)

    threads = [threading.Thread(target=loop, args=(into,)) for into in latencies]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [latency for into in latencies for latency in into]
