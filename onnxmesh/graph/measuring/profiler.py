"""Time of each node of a graph on this machine, measured with ONNX Runtime's profiler."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
import onnxruntime

from onnxmesh.device.execution_provider import CPU
from onnxmesh.errors import InvalidModel, ModelRunFailed
from onnxmesh.graph.measuring.run_clock import run_clock
from onnxmesh.graph.reading.source import load_structure
from onnxmesh.graph.runtime.runtime_errors import error_reason
from onnxmesh.graph.runtime.runtime_values import to_runtime
from onnxmesh.graph.runtime.session import session_options
from onnxmesh.model.optimisation_level import OptimisationLevel
from onnxmesh.tensors.tensor import Tensor

Progress = Callable[[float], None]
"""Receives the share of the measuring that is done, from 0 to 1."""

_MAX_EVENTS = 200_000
"""Limit on the events of a profile: each takes about 1 kB on disk, and ONNX Runtime stops at a million."""
_MAX_SHIFT_S = 5e-6
"""Largest correction of a node's time for the profiler's overhead and the work between nodes."""
_MAX_RUNS = 200
"""Runs among which one is undisturbed with near certainty."""
_MIN_RUNS = 6
"""Below this number of runs, all of them may be disturbed by other processes."""
_KERNEL = "_kernel_time"


@dataclass(frozen=True, slots=True)
class ExecutedNode:
    """A node that was executed.

    Attributes:
        name: Its name in the graph.
        outputs: Names of its outputs.
        seconds: Time of one execution, its subgraphs included.
    """

    name: str
    outputs: tuple[str, ...]
    seconds: float


@dataclass(frozen=True, slots=True)
class MeasuredRun:
    """Measured times of one graph at one shape of its inputs.

    Attributes:
        nodes: Executed nodes in the order of the graph; their times add up to `total_s`. Empty on devices with
            asynchronous kernels, which the profiler cannot time.
        total_s: Time of an unprofiled run of the whole graph.
        shapes: Measured shape of each value, by name.
        num_runs: Number of profiled runs.
    """

    nodes: tuple[ExecutedNode, ...]
    total_s: float
    shapes: Mapping[str, tuple[int, ...]]
    num_runs: int


def profile_model(
    model: Path,
    feeds: Mapping[str, Tensor],
    *,
    threads: int = 1,
    providers: Sequence[str] = (CPU,),
    level: OptimisationLevel = OptimisationLevel.NONE,
    seconds: float = 2.0,
    progress: Progress | None = None,
) -> MeasuredRun:
    """Runs a graph and measures the time of each node.

    Half of the time is spent on profiled runs, half on unprofiled ones of the same session. The time of a node is its
    shortest, since other processes can only slow it down; the time of the whole graph is the first quartile of its
    runs. Profiled times differ from the whole by the profiler's overhead and the work between nodes: that difference
    is spread evenly over nodes up to a limit, and in proportion to their times beyond it.

    Args:
        model: The graph. A copy with unique node names is written beside it, where external weights are found, and
            removed once it is loaded.
        feeds: The inputs, by name.
        threads: Threads within an operator.
        providers: ONNX Runtime execution providers, best first.
        level: Optimisation at load. Nodes that it replaces are not among the measured ones.
        seconds: Approximate time to run. Shorter where the limit on runs is reached, at most twice as long where runs
            are few.
        progress: Receives the share that is done.

    Raises:
        InvalidModel: ONNX Runtime cannot load the graph (INVALID_ARGUMENT).
        ModelRunFailed: The model refuses these inputs (INVALID_ARGUMENT).
    """
    report = progress or (lambda _share: None)
    proto = load_structure(model)
    originals = [(node.name, tuple(filter(None, node.output))) for node in proto.graph.node]
    names = _make_names_unique(proto.graph)
    with tempfile.TemporaryDirectory(prefix="onnxmesh-profile-") as folder:
        session = _load(proto, model, Path(folder) / "run", session_options(threads, level), providers)
        del proto  # a model's weights may be in it
        outputs = [output.name for output in session.get_outputs()]
        values = {name: to_runtime(feeds[name]) for name in (spec.name for spec in session.get_inputs())}
        try:
            _run(session, outputs, values)
        except ModelRunFailed as error:
            raise _with_original_names(error, names, originals) from error
        report(0.05)
        most = max(2, min(_MAX_RUNS, _MAX_EVENTS // max(1, len(originals))))
        num_runs = len(_repeat(session, outputs, values, seconds / 2, most, lambda s: report(s / 2)))
        events = Path(session.end_profiling())
        times, shapes = _read(events, {name: out for name, (_, out) in zip(names, originals, strict=True)})
    clock = run_clock(threads, providers)
    plain = sorted(_repeat(session, outputs, values, seconds / 2, most, lambda s: report(0.5 + s / 2), clock))
    total_s = plain[len(plain) // 4]
    if tuple(providers) != (CPU,):
        # Kernels of other devices are asynchronous: the profiler would measure their launch only.
        return MeasuredRun((), total_s, shapes, num_runs)
    seen = [
        (name, out, times[key]) for key, (name, out) in zip(names, originals, strict=True) if key in times
    ]
    scaled = _scaled_to_total([best for _, _, best in seen], total_s)
    nodes = tuple(ExecutedNode(name, out, s) for (name, out, _), s in zip(seen, scaled, strict=True))
    return MeasuredRun(nodes, total_s, shapes, num_runs)


def _make_names_unique(graph: onnx.GraphProto) -> list[str]:
    """Gives every node a unique name, in subgraphs too; returns the names of the graph's own nodes, in order."""
    graphs = [graph]
    num_inner = 0
    while graphs:
        current = graphs.pop()
        for position, node in enumerate(current.node):
            if current is graph:
                node.name = f"node{position}"
            else:
                node.name = f"inner{num_inner}"
                num_inner += 1
            for attribute in node.attribute:
                graphs += [attribute.g] if attribute.HasField("g") else []
                graphs += attribute.graphs
    return [node.name for node in graph.node]


def _with_original_names(
    error: ModelRunFailed, names: Sequence[str], originals: Sequence[tuple[str, tuple[str, ...]]]
) -> ModelRunFailed:
    """Returns the error with the node's name in the model, or the name of its output."""
    message = error.message
    for name, (own, outputs) in zip(names, originals, strict=True):
        message = message.replace(f"'{name}'", f"'{own or ''.join(outputs[:1])}'")
    return ModelRunFailed(message)


def _load(
    proto: onnx.ModelProto,
    model: Path,
    prefix: Path,
    options: onnxruntime.SessionOptions,
    providers: Sequence[str],
) -> onnxruntime.InferenceSession:
    options.enable_profiling = True
    options.profile_file_prefix = str(prefix)
    probe = model.with_name(f".{model.stem}.profile.onnx")
    try:
        probe.write_bytes(proto.SerializeToString())
        session = onnxruntime.InferenceSession(str(probe), options, providers=list(providers))
    except Exception as error:  # ONNX Runtime's errors share no base class of their own
        raise InvalidModel(f"ONNX Runtime cannot load '{model.name}': {error_reason(error)}") from error
    finally:
        probe.unlink(missing_ok=True)
    session.disable_fallback()
    return session


def _run(
    session: onnxruntime.InferenceSession,
    outputs: list[str],
    values: dict[str, onnxruntime.OrtValue],
    clock: Callable[[], float] = time.perf_counter,
) -> float:
    start = clock()
    try:
        session.run_with_ort_values(outputs, values)
    except Exception as error:  # ONNX Runtime's errors share no base class of their own
        raise ModelRunFailed(error_reason(error)) from error
    return clock() - start


def _repeat(
    session: onnxruntime.InferenceSession,
    outputs: list[str],
    values: dict[str, onnxruntime.OrtValue],
    seconds: float,
    most: int,
    report: Progress,
    clock: Callable[[], float] = time.perf_counter,
) -> list[float]:
    """Repeats runs until the time is over or `most` runs are made; returns their times.

    Fewer than `_MIN_RUNS` are made only where they take twice the time.
    """
    found: list[float] = []
    start, spent = time.perf_counter(), 0.0
    while not found or (len(found) < most and spent < (seconds if len(found) >= _MIN_RUNS else 2 * seconds)):
        found.append(_run(session, outputs, values, clock))
        spent = time.perf_counter() - start
        report(min(1.0, spent / seconds) if seconds > 0 else 1.0)
    return found


def _read(
    path: Path, outputs_of: Mapping[str, tuple[str, ...]]
) -> tuple[dict[str, float], dict[str, tuple[int, ...]]]:
    """Returns the shortest time of each node, and the shapes of its outputs."""
    times: dict[str, float] = {}
    shapes: dict[str, tuple[int, ...]] = {}
    for event in _events(path):
        name = str(event.get("name", "")).removesuffix(_KERNEL)
        if event.get("cat") != "Node" or name not in outputs_of or not event["name"].endswith(_KERNEL):
            continue
        seconds = event["dur"] / 1e6
        if seconds < times.get(name, float("inf")):
            times[name] = seconds
        written = event.get("args", {}).get("output_type_shape", ())
        if len(written) == len(outputs_of[name]):
            for value, shape_of_type in zip(outputs_of[name], written, strict=True):
                shapes[value] = tuple(int(dim) for dim in next(iter(shape_of_type.values())))
    return times, shapes


def _events(path: Path) -> Iterator[dict[str, Any]]:
    """Yields the events one by one; ONNX Runtime writes one a line, and together they may exceed memory."""
    with path.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            text = line.strip().rstrip(",")
            if text.startswith("{"):
                yield json.loads(text)


def _scaled_to_total(best: Sequence[float], total_s: float) -> list[float]:
    """Returns the times corrected so that they add up to the total."""
    if not best:
        return []
    shift = min(max((total_s - sum(best)) / len(best), -_MAX_SHIFT_S), _MAX_SHIFT_S)
    # At least a fifth remains: the profiler's clock has a resolution of 1 us.
    shifted = [max(seconds + shift, 0.2 * seconds) for seconds in best]
    whole = sum(shifted)
    return [seconds * total_s / whole if whole else total_s / len(best) for seconds in shifted]
