"""Worker kinds: workers that a planner treats as alike. Pure."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from itertools import combinations
from statistics import median

from onnxmesh.discovery.instance import Instance
from onnxmesh.model.cluster import DeviceKind
from onnxmesh.model.device_speed import DeviceSpeed
from services.scheduler.workers.memory import memory_pool, stage_memory_bytes

MAX_KINDS = 8
"""Kinds that a planner solves exactly for; more are merged."""

DEVICE_KIND = "device.kind"
"""The attribute with the name of what a worker computes on, threads included; profiles are kept under it."""

SPEED = "speed."
"""Prefix of the attributes with its speed; a figure of `DeviceSpeed` follows."""

_ALIKE = 1.1
"""Workers whose free memories differ by a smaller ratio are of one kind."""

_SPEED_FIGURES = tuple(figure.name for figure in fields(DeviceSpeed))
_UNITS = ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"))
_NUMBER = " #"


@dataclass(frozen=True, slots=True)
class WorkerKind:
    """A kind of device and the workers that have it.

    Attributes:
        device: The kind as the planner sees it.
        workers: In order of id; as many as the device counts.
    """

    device: DeviceKind
    workers: tuple[Instance, ...]


def kind_label(attributes: Mapping[str, str]) -> str:
    """Returns the display name of a worker's kind: zone, device, threads, memory."""
    device = attributes.get(DEVICE_KIND) or "-".join(
        filter(None, (attributes.get("device", "cpu"), attributes.get("cpu.class", ""), _threads(attributes)))
    )
    memory = stage_memory_bytes(attributes)
    words = [device] if memory is None else [device, _rounded(memory)]
    zone = attributes.get("zone", "")
    return f"{zone}/{' '.join(words)}" if zone else " ".join(words)


def label_of_kind(name: str) -> str:
    """Returns the label of the workers of a kind, without the number that kinds of one label get."""
    return name.rpartition(_NUMBER)[0] if _NUMBER in name else name


def kinds_of(workers: Iterable[Instance], used_bytes: Mapping[str, int]) -> tuple[WorkerKind, ...]:
    """Groups workers: those of one kind have equal devices, threads and zone, and about the same free memory.

    Args:
        workers: Those that a plan may use; at least one.
        used_bytes: What other models' stages use of each `memory_pool`.

    Returns:
        At most `MAX_KINDS`, in order of name; the most alike are merged where there were more. A kind has the speed of
        its median worker and the memory of its smallest.
    """
    alike: defaultdict[tuple[str, ...], list[tuple[int | None, Instance]]] = defaultdict(list)
    for worker in sorted(workers, key=lambda each: each.id):
        facts = worker.attributes
        key = (facts.get("zone", ""), _device(facts), _threads(facts))
        alike[key].append((_free_bytes(worker, used_bytes), worker))
    kinds = [
        _kind(kind_label(group[0][1].attributes), group)
        for _, members in sorted(alike.items())
        for group in _by_memory(members)
    ]
    while len(kinds) > MAX_KINDS:
        first, second = min(combinations(kinds, 2), key=_distance)
        kinds = [kind for kind in kinds if kind is not first and kind is not second]
        kinds.append(_merged(first, second))
    return tuple(sorted(_numbered(kinds), key=lambda kind: kind.device.name))


def _by_memory(members: list[tuple[int | None, Instance]]) -> Iterable[list[tuple[int | None, Instance]]]:
    group: list[tuple[int | None, Instance]] = []
    for size, worker in sorted(members, key=lambda each: (each[0] or 0, each[1].id)):
        if group and not _about_equal(group[0][0], size):
            yield group
            group = []
        group.append((size, worker))
    yield group


def _about_equal(smaller: int | None, larger: int | None) -> bool:
    if smaller is None or larger is None:
        return smaller is larger
    return larger <= smaller * _ALIKE


def _kind(name: str, group: list[tuple[int | None, Instance]]) -> WorkerKind:
    workers = tuple(sorted((worker for _, worker in group), key=lambda each: each.id))
    sizes = [size for size, _ in group]
    known = [size for size in sizes if size is not None]
    device = DeviceKind(
        name,
        len(workers),
        _median_speed(workers),
        min(known) if len(known) == len(sizes) else None,
        profile=workers[0].attributes.get(DEVICE_KIND, ""),
    )
    return WorkerKind(device, workers)


def _merged(first: WorkerKind, second: WorkerKind) -> WorkerKind:
    larger = min((first, second), key=lambda kind: (-kind.device.count, kind.device.name))
    sizes = [kind.device.memory_bytes for kind in (first, second)]
    known = [size for size in sizes if size is not None]
    workers = tuple(sorted((*first.workers, *second.workers), key=lambda each: each.id))
    device = replace(
        larger.device,
        count=len(workers),
        speed=_median_speed(workers),
        memory_bytes=min(known, default=None),
    )
    return WorkerKind(device, workers)


def _distance(pair: tuple[WorkerKind, WorkerKind]) -> tuple[float, str, str]:
    """Returns how unlike two kinds are, by the ratios of speed and memory; another zone or device weighs most."""
    first, second = (kind.device for kind in pair)
    ratios = [
        (first.speed.flops_per_s, second.speed.flops_per_s),
        (first.speed.bytes_per_s, second.speed.bytes_per_s),
    ]
    if first.memory_bytes and second.memory_bytes:
        ratios.append((first.memory_bytes, second.memory_bytes))
    unlike = sum(abs(math.log(left / right)) for left, right in ratios)
    for fact in ("zone", "device"):
        if pair[0].workers[0].attributes.get(fact) != pair[1].workers[0].attributes.get(fact):
            unlike += 100.0
    return (unlike, first.name, second.name)


def _numbered(kinds: list[WorkerKind]) -> Iterable[WorkerKind]:
    """Yields the kinds under unique names."""
    seen: defaultdict[str, int] = defaultdict(int)
    for kind in kinds:
        name = kind.device.name
        seen[name] += 1
        number = f"{_NUMBER}{seen[name]}" if seen[name] > 1 else ""
        yield replace(kind, device=replace(kind.device, name=name + number))


def _median_speed(workers: Iterable[Instance]) -> DeviceSpeed:
    stated = [speed for worker in workers if (speed := _stated_speed(worker.attributes)) is not None]
    if not stated:
        return DeviceSpeed()
    return DeviceSpeed(**{name: median(getattr(speed, name) for speed in stated) for name in _SPEED_FIGURES})


def _stated_speed(attributes: Mapping[str, str]) -> DeviceSpeed | None:
    """Returns the speed that a worker reports; None: it reports none, or an invalid one."""
    try:
        figures = {name: float(attributes[SPEED + name]) for name in _SPEED_FIGURES}
        return DeviceSpeed(**figures) if all(map(math.isfinite, figures.values())) else None
    except (KeyError, ValueError):
        return None


def _free_bytes(worker: Instance, used_bytes: Mapping[str, int]) -> int | None:
    memory = stage_memory_bytes(worker.attributes)
    if memory is None:
        return None
    return max(0, memory - used_bytes.get(memory_pool(worker.id, worker.attributes), 0))


def _device(attributes: Mapping[str, str]) -> str:
    return (
        attributes.get(DEVICE_KIND) or f"{attributes.get('device', 'cpu')} {attributes.get('cpu.class', '')}"
    )


def _threads(attributes: Mapping[str, str]) -> str:
    """Returns the threads of a worker's stages where they matter: a GPU is as fast with any number."""
    threads = attributes.get("threads", "")
    return f"{threads}t" if threads and attributes.get("device", "cpu") == "cpu" else ""


def _rounded(num_bytes: int) -> str:
    for unit, name in _UNITS:
        if num_bytes >= unit:
            figure = num_bytes / unit
            return f"{figure:.0f} {name}" if figure >= 9.5 else f"{figure:.1f} {name}"
    return f"{num_bytes} B"
