"""Benchmark of this machine's device: its speed, measured in a few tenths of a second and cached."""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from onnxmesh.device.execution_provider import CPU
from onnxmesh.files.atomic_write import write_atomically
from onnxmesh.graph.measuring.run_clock import run_clock
from onnxmesh.graph.runtime.session import session_options
from onnxmesh.model.device_speed import DeviceSpeed

_FORMAT = 1
_SECONDS = 0.25
_MIN_ROUNDS = 4

_PRODUCT = {True: (256, 512, 3), False: (4096, 2048, 8)}
"""Rows, width and number of matrix products, by whether the device is a CPU: smaller ones do not saturate a GPU."""
_ELEMENTS = {True: 1 << 22, False: 1 << 24}
"""Elements of each operand of the additions, by whether the device is a CPU: more than its caches hold."""
_NUM_ADDITIONS = 4
_NUM_TRIVIAL = 200

_Nodes = list[onnx.NodeProto]


def measure_device(threads: int = 1, providers: Sequence[str] = (CPU,)) -> DeviceSpeed:
    """Measures the constants of a `DeviceSpeed`, each as the best of several runs.

    The best run is the one that other processes disturbed least; for the same reason one thread is timed by its
    processor time. Every graph computes from constants and returns one element, so that only the device's work is
    timed.

    Args:
        threads: Threads within an operator.
        providers: ONNX Runtime execution providers, best first.
    """
    on_cpu = tuple(providers) == (CPU,)
    rows, width, num_products = _PRODUCT[on_cpu]
    elements = _ELEMENTS[on_cpu]
    graphs = (_products(rows, width, num_products), _additions(elements), _trivial())
    sessions = [_session(nodes, weights, threads, providers) for nodes, weights in graphs]
    product_s, addition_s, trivial_s = _best_s(sessions, run_clock(threads, providers))
    return DeviceSpeed(
        flops_per_s=2 * rows * width * width * num_products / product_s,
        bytes_per_s=4 * elements * (1 + 3 * _NUM_ADDITIONS) / addition_s,
        node_overhead_s=trivial_s / _NUM_TRIVIAL,
    )


def cached_device_speed(
    kind: str,
    threads: int = 1,
    providers: Sequence[str] = (CPU,),
    *,
    folder: Path | None = None,
    fresh: bool = False,
    measure: Callable[[int, Sequence[str]], DeviceSpeed] = measure_device,
) -> DeviceSpeed:
    """Returns the speed of a device kind, from the cache or measured.

    Args:
        kind: The device kind, as named by `device_kind_name`.
        threads: Threads within an operator.
        providers: ONNX Runtime execution providers, best first.
        folder: Folder of the cache; None: the user's cache folder. If it is not writable, nothing is cached.
        fresh: Whether to measure even if cached, and to keep the better of each constant.
        measure: Function that measures the device.
    """
    folder = folder or _cache_folder()
    path = folder / f"speed-{kind}-{threads}t-ort{onnxruntime.__version__}.json"
    known = _read(path)
    if known is not None and not fresh:
        return known
    speed = measure(threads, providers)
    if known is not None:
        speed = DeviceSpeed(
            max(speed.flops_per_s, known.flops_per_s),
            max(speed.bytes_per_s, known.bytes_per_s),
            min(speed.node_overhead_s, known.node_overhead_s),
        )
    _write(path, speed)
    return speed


def _cache_folder() -> Path:
    named = os.environ.get("XDG_CACHE_HOME", "")
    try:
        return (Path(named) if Path(named).is_absolute() else Path.home() / ".cache") / "onnxmesh"
    except RuntimeError:  # the user has no home folder
        return Path(tempfile.gettempdir()) / "onnxmesh"


def _read(path: Path) -> DeviceSpeed | None:
    """Returns the cached speed; None if it is missing or malformed."""
    try:
        plain = json.loads(path.read_text(encoding="utf-8"))
        return DeviceSpeed.from_plain(plain["speed"]) if plain["format"] == _FORMAT else None
    except (OSError, KeyError, TypeError, ValueError):
        return None


def _write(path: Path, speed: DeviceSpeed) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, json.dumps({"format": _FORMAT, "speed": speed.to_plain()}))
    except OSError:
        return  # measured again next time


def _products(rows: int, width: int, num: int) -> tuple[_Nodes, dict[str, np.ndarray]]:
    """Returns a chain of matrix products, each with its own matrix, like layers."""
    # Columns that sum to one keep magnitudes constant: no infinities, no denormals.
    pattern = (np.arange(width * width, dtype=np.float32) % 7 + 1).reshape(width, width)
    matrix = pattern / pattern.sum(axis=0)
    weights = {f"w{i}": matrix for i in range(num)} | {"a0": np.ones((rows, width), np.float32)}
    return [helper.make_node("MatMul", [f"a{i}", f"w{i}"], [f"a{i + 1}"]) for i in range(num)], weights


def _additions(elements: int) -> tuple[_Nodes, dict[str, np.ndarray]]:
    """Returns a chain of additions. Operands are created in the graph: weights would be in memory several times."""
    nodes = [helper.make_node("Expand", ["a0", "size"], ["w"])]
    nodes += [
        helper.make_node("Add", [f"a{i}" if i else "w", "w"], [f"a{i + 1}"]) for i in range(_NUM_ADDITIONS)
    ]
    return nodes, {"a0": np.ones(1, np.float32), "size": np.array([elements])}


def _trivial() -> tuple[_Nodes, dict[str, np.ndarray]]:
    return [helper.make_node("Neg", [f"a{i}"], [f"a{i + 1}"]) for i in range(_NUM_TRIVIAL)], {
        "a0": np.ones(1, np.float32)
    }


def _session(
    nodes: _Nodes, weights: Mapping[str, np.ndarray], threads: int, providers: Sequence[str]
) -> onnxruntime.InferenceSession:
    """Returns a session that runs the nodes and returns one element of the last value."""
    last = nodes[-1].output[0]
    axes = list(range(weights["a0"].ndim))
    bounds = {"starts": [0] * len(axes), "ends": [1] * len(axes), "axes": axes}
    constants = dict(weights) | {name: np.array(numbers) for name, numbers in bounds.items()}
    graph = helper.make_graph(
        [*nodes, helper.make_node("Slice", [last, *bounds], ["first"])],
        "benchmark",
        [],
        [helper.make_tensor_value_info("first", TensorProto.FLOAT, [1] * len(axes))],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return onnxruntime.InferenceSession(
        model.SerializeToString(), session_options(threads), providers=list(providers)
    )


def _best_s(sessions: Sequence[onnxruntime.InferenceSession], clock: Callable[[], float]) -> list[float]:
    """Returns the shortest run of each session. Sessions alternate, so that a disturbance affects all of them."""
    best = [float("inf")] * len(sessions)
    end = time.perf_counter() + _SECONDS
    num_rounds = 0
    while num_rounds < _MIN_ROUNDS or time.perf_counter() < end:
        for index, session in enumerate(sessions):
            start = clock()
            session.run(None, {})
            # The first round warms up.
            best[index] = min(best[index], clock() - start) if num_rounds else best[index]
        num_rounds += 1
    return best
