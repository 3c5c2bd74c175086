"""What each node of a graph takes on this machine, as ONNX Runtime's profiler tells it."""

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
"""Told what share of the measuring is done, from 0 to 1."""

_MAX_EVENTS = 200_000
"""Of a profile; each takes about a kilobyte of disk, and ONNX Runtime stops at a million."""
_MAX_SHIFT_S = 5e-6
"""By how much the profiler's own work at each node, or what a run does between nodes, can move a node's time."""
_ENOUGH = 200
"""Runs among which there is an undisturbed one; more of a small model would only take time."""
_FEW = 6
"""Runs below which the best may still be one that others disturbed."""
_KERNEL = "_kernel_time"


@dataclass(frozen=True, slots=True)
class ExecutedNode:
    """A node as it ran.

    Attributes:
        name: What it is called in the graph.
        outputs: Names of what it writes.
        seconds: Time of one run of it; what its subgraphs take is in it.
    """

    name: str
    outputs: tuple[str, ...]
    seconds: float


@dataclass(frozen=True, slots=True)
class MeasuredRun:
    """Times of one graph at one shape of its inputs.

    Attributes:
        nodes: Those that ran, in the order of the graph; their times add up to `total_s`. Empty on devices that
            work behind the profiler's back.
        total_s: A run of the whole graph, unprofiled.
        shapes: Shape that each value had, by name.
        num_runs: How many runs were profiled.
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
    """Runs a graph and takes the time of each node.

    Half of the time goes to runs under the profiler, half to runs without it, of the same session. Of each node the
    best run counts, as other processes only ever slow it down; of the whole the one that a quarter of the runs beat,
    which is what it takes in a quiet moment rather than in the luckiest. The profiler slows each node by a
    little, and a run does a little between nodes: the difference to the whole is spread evenly as far as that
    explains it, and in proportion beyond.

    Args:
        model: The graph. A copy with names of its own for all nodes is written beside it, so that external weights
            are found, and removed once it is loaded.
        feeds: The inputs, by name.
        threads: Threads within an operator.
        providers: ONNX Runtime execution providers, best first.
        level: What ONNX Runtime does to the graph when it is loaded. Nodes that it changes are not found again.
        seconds: About how long to run; less where runs are many, twice as long at most where they are few, but for
            the run under way.
        progress: Told how far it is.

    Raises:
        InvalidModel: ONNX Runtime cannot load the graph (INVALID_ARGUMENT).
        ModelRunFailed: It refuses these inputs (INVALID_ARGUMENT).
    """
    report = progress or (lambda _share: None)
    proto = load_structure(model)
    described = [(node.name, tuple(filter(None, node.output))) for node in proto.graph.node]
    names = _name_apart(proto.graph)
    with tempfile.TemporaryDirectory(prefix="onnxmesh-profile-") as folder:
        session = _load(proto, model, Path(folder) / "run", session_options(threads, level), providers)
        del proto  # a model's weights may be in it
        outputs = [output.name for output in session.get_outputs()]
        values = {name: to_runtime(feeds[name]) for name in (spec.name for spec in session.get_inputs())}
        try:
            _run(session, outputs, values)
        except ModelRunFailed as error:
            raise _with_own_names(error, names, described) from error
        report(0.05)
        most = max(2, min(_ENOUGH, _MAX_EVENTS // max(1, len(described))))
        num_runs = len(_repeat(session, outputs, values, seconds / 2, most, lambda s: report(s / 2)))
        events = Path(session.end_profiling())
        times, shapes = _read(events, {name: out for name, (_, out) in zip(names, described, strict=True)})
    clock = run_clock(threads, providers)
    plain = sorted(_repeat(session, outputs, values, seconds / 2, most, lambda s: report(0.5 + s / 2), clock))
    total_s = plain[len(plain) // 4]
    if tuple(providers) != (CPU,):
        # Kernels of other devices are started, not awaited: their times are those of starting.
        return MeasuredRun((), total_s, shapes, num_runs)
    seen = [
        (name, out, times[key]) for key, (name, out) in zip(names, described, strict=True) if key in times
    ]
    scaled = _add_up([best for _, _, best in seen], total_s)
    nodes = tuple(ExecutedNode(name, out, s) for (name, out, _), s in zip(seen, scaled, strict=True))
    return MeasuredRun(nodes, total_s, shapes, num_runs)


def _name_apart(graph: onnx.GraphProto) -> list[str]:
    """Gives every node a name of its own, in subgraphs too; returns those of the graph itself, in its order."""
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


def _with_own_names(
    error: ModelRunFailed, names: Sequence[str], described: Sequence[tuple[str, tuple[str, ...]]]
) -> ModelRunFailed:
    """Returns the error with the name that the node has in the model, or that of its output."""
    message = error.message
    for name, (own, outputs) in zip(names, described, strict=True):
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
    """Runs again and again until the time is over or `most` runs are made; returns their times.

    Of one or two runs none may be undisturbed: so few are made only where they take twice the time.
    """
    found: list[float] = []
    start, spent = time.perf_counter(), 0.0
    while not found or (len(found) < most and spent < (seconds if len(found) >= _FEW else 2 * seconds)):
        found.append(_run(session, outputs, values, clock))
        spent = time.perf_counter() - start
        report(min(1.0, spent / seconds) if seconds > 0 else 1.0)
    return found


def _read(
    path: Path, outputs_of: Mapping[str, tuple[str, ...]]
) -> tuple[dict[str, float], dict[str, tuple[int, ...]]]:
    """Returns the best time of each node, and the shapes of what the nodes write."""
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
            for value, described in zip(outputs_of[name], written, strict=True):
                shapes[value] = tuple(int(dim) for dim in next(iter(described.values())))
    return times, shapes


def _events(path: Path) -> Iterator[dict[str, Any]]:
    """Yields the events one by one: ONNX Runtime writes one in a line, and all of them would fill the memory."""
    with path.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            text = line.strip().rstrip(",")
            if text.startswith("{"):
                yield json.loads(text)


def _add_up(best: Sequence[float], total_s: float) -> list[float]:
    """Returns the times so that they add up to the whole."""
    if not best:
        return []
    shift = min(max((total_s - sum(best)) / len(best), -_MAX_SHIFT_S), _MAX_SHIFT_S)
    # Never below a fifth: the profiler's clock counts whole microseconds.
    shifted = [max(seconds + shift, 0.2 * seconds) for seconds in best]
    whole = sum(shifted)
    return [seconds * total_s / whole if whole else total_s / len(best) for seconds in shifted]
