"""Workers in columns, so that one array operation answers a question for all of them. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from onnxmesh.ids import WorkerId
from onnxmesh.routing.selectors.selector import Requirement
from onnxmesh.routing.selectors.selector_text import all_of
from onnxmesh.routing.table.worker_facts import WorkerFacts
from services.scheduler.desired.desired_stages import Home
from services.scheduler.workers.eligibility import CPU_CLASS, DEVICE
from services.scheduler.workers.worker_kinds import SPEED, kind_label, label_of_kind
from services.scheduler.workers.worker_view import WorkerView

NO_HOME = -1
"""In place of the number of a stage's home: the worker is of none."""

_FLOPS = f"{SPEED}flops_per_s"


class WorkerColumns:
    """Workers in order of id; a worker is identified by its index.

    Columns are computed on first use and immutable.

    Args:
        workers: In any order.

    Attributes:
        views: The workers.
        ids: Their ids.
        leaving: Which are to be drained.
        since_s: When each connected.
    """

    def __init__(self, workers: Iterable[WorkerView]) -> None:
        self.views = tuple(sorted(workers, key=lambda worker: worker.id))
        self.ids: tuple[WorkerId, ...] = tuple(view.id for view in self.views)
        self.leaving: NDArray[np.bool_] = np.array([view.leaving for view in self.views], np.bool_)
        self.since_s: NDArray[np.float64] = np.array([view.since_s for view in self.views], np.float64)
        self._index = {id_: index for index, id_ in enumerate(self.ids)}
        self._codes: dict[str, tuple[NDArray[np.intp], list[tuple[str, ...]]]] = {}
        self._met: dict[Requirement, NDArray[np.bool_]] = {}
        self._eligible: dict[tuple[tuple[str, ...], str], NDArray[np.bool_]] = {}
        self._homes: dict[tuple[Home, ...], NDArray[np.intp]] = {}

    def __len__(self) -> int:
        return len(self.views)

    @cached_property
    def facts(self) -> tuple[WorkerFacts, ...]:
        """Tags and attributes of each worker."""
        return tuple(WorkerFacts(tuple(sorted(view.tags)), view.attributes) for view in self.views)

    @cached_property
    def zones(self) -> NDArray[np.intp]:
        """The number of each worker's zone; workers without a zone share one."""
        return _numbered((each.locality.region, each.locality.zone) for each in self.facts)

    @cached_property
    def num_zones(self) -> int:
        """Number of zones."""
        return int(self.zones.max(initial=-1)) + 1

    @cached_property
    def hosts(self) -> NDArray[np.intp]:
        """The number of each worker's host; a worker without a host has one of its own."""
        return _numbered(
            (each.locality.host, "" if each.locality.host else id_)
            for each, id_ in zip(self.facts, self.ids, strict=True)
        )

    @cached_property
    def num_hosts(self) -> int:
        """Number of hosts."""
        return int(self.hosts.max(initial=-1)) + 1

    @cached_property
    def flops_per_s(self) -> NDArray[np.float64]:
        """Speed that each worker reports; NaN: it reports none."""
        return np.array([_positive(view.attributes.get(_FLOPS, "")) for view in self.views], np.float64)

    @cached_property
    def wait_s(self) -> NDArray[np.float64]:
        """Expected wait of a request at each worker."""
        return np.array([view.wait_s for view in self.views], np.float64)

    def eligible(self, require: tuple[str, ...], cpu_class: str) -> NDArray[np.bool_]:
        """Returns which workers satisfy these requirements, see `can_run`."""
        found = self._eligible.get((require, cpu_class))
        if found is None:
            found = np.ones(len(self), np.bool_)
            for requirement in all_of(require).requirements:
                found &= self._meets(requirement)
            if cpu_class:
                found &= self._cpu_classes == cpu_class
            self._eligible[require, cpu_class] = found
        return found

    def homes(self, homes: tuple[Home, ...]) -> NDArray[np.intp]:
        """Returns which of a stage's homes each worker is of: by id, else by kind; else `NO_HOME`."""
        found = self._homes.get(homes)
        if found is None:
            found = np.full(len(self), NO_HOME, np.intp)
            # The last write wins: the first home, and ids before kinds.
            for number in reversed(range(len(homes))):
                found[self._labels == label_of_kind(homes[number].kind)] = number
            for number in reversed(range(len(homes))):
                found[self.indices(homes[number].workers)] = number
            self._homes[homes] = found
        return found

    def indices(self, ids: Iterable[WorkerId]) -> Sequence[int]:
        """Returns the indices of those of these workers that are in the mesh."""
        return [self._index[id_] for id_ in ids if id_ in self._index]

    @cached_property
    def _labels(self) -> NDArray[np.str_]:
        return np.array([kind_label(view.attributes) for view in self.views], np.str_)

    @cached_property
    def _cpu_classes(self) -> NDArray[np.str_]:
        return np.array(
            [
                view.attributes.get(CPU_CLASS, "") if view.attributes.get(DEVICE, "cpu") == "cpu" else ""
                for view in self.views
            ],
            np.str_,
        )

    def _meets(self, requirement: Requirement) -> NDArray[np.bool_]:
        """Returns which workers meet a requirement; each value of its label is checked once."""
        met = self._met.get(requirement)
        if met is None:
            key = requirement.key
            if key not in self._codes:
                numbers: dict[tuple[str, ...], int] = {}
                codes = [numbers.setdefault(facts.labels.get(key, ()), len(numbers)) for facts in self.facts]
                self._codes[key] = np.array(codes, np.intp), list(numbers)
            column, values = self._codes[key]
            verdicts = [requirement.is_met_by({key: each} if each else {}) for each in values]
            met = self._met[requirement] = np.array(verdicts, np.bool_)[column]
        return met


def _numbered(names: Iterable[tuple[str, str]]) -> NDArray[np.intp]:
    numbers: dict[tuple[str, str], int] = {}
    return np.array([numbers.setdefault(name, len(numbers)) for name in names], np.intp)


def _positive(text: str) -> float:
    try:
        figure = float(text)
    except ValueError:
        return float("nan")
    return figure if 0.0 < figure < float("inf") else float("nan")
