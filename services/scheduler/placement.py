"""Which worker should hold what: deployments and workers in, commands out. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from onnxmesh.ids import StageKey, WorkerId
from services.scheduler.eligibility import can_run
from services.scheduler.holdings import Held, StageState
from services.scheduler.kinds import kind_label, label_of_kind
from services.scheduler.memory import MemoryBook
from services.scheduler.wanted import ModelKey, WantedStage


@dataclass(frozen=True, slots=True)
class WorkerView:
    """A worker that takes commands.

    Attributes:
        id: Its name.
        tags: Its tags.
        attributes: Facts about it.
        stages: What it holds.
        leaving: Whether it is to be emptied: it is given nothing, and serves what it holds until that is elsewhere.
    """

    id: WorkerId
    tags: frozenset[str] = frozenset()
    attributes: Mapping[str, str] = field(default_factory=dict)
    stages: Mapping[StageKey, Held] = field(default_factory=dict)
    leaving: bool = False


@dataclass(frozen=True, slots=True)
class Order:
    """A stage to be loaded by, or to be let go by, a worker."""

    worker: WorkerId
    stage: StageKey


@dataclass(frozen=True, slots=True)
class Placement:
    """What is to be done now.

    Attributes:
        routed: For each wanted stage the workers that serve it, in order of id.
        place: Stages to load.
        evict: Stages to let go; none of them is routed.
        retry_s: When to look again if nothing happens before; None: no need.
        lacking_bytes: Stages that are missing a replica because no worker has the memory, and how much the best
            one lacks.
        freeing: Whether stages are on their way out, so that there may be more memory soon.
        departing: Leaving workers off which nothing more will be moved.
    """

    routed: Mapping[StageKey, tuple[WorkerId, ...]]
    place: tuple[Order, ...] = ()
    evict: tuple[Order, ...] = ()
    retry_s: float | None = None
    lacking_bytes: Mapping[StageKey, int] = field(default_factory=dict)
    freeing: bool = False
    departing: tuple[WorkerId, ...] = ()


def decide(
    wanted: Iterable[WantedStage], workers: Iterable[WorkerView], now_s: float, *, rebalance: bool = False
) -> Placement:
    """Decides what workers should load and let go.

    What is held stays. Missing replicas go to eligible workers with room: of the kinds that the plan means them for,
    as many of each as it says, else to any; there to the one with the fewest stages of the same model, then the fewest
    at all, then the least weight, then the first id; never two of one stage to one worker. Where nothing else is to
    be done, a stage that is not where the plan means it to be moves there, or, where one worker holds two stages more
    than another where one of them is as much at home, that one moves: it is loaded there first, and the
    surplus is let go once it is ready. Each move brings a stage home or makes the workers more even, so moves end.

    Args:
        wanted: Every stage that should be somewhere.
        workers: Every worker that takes commands; one that drains is not among them.
        now_s: The time, on the clock of `Held.retry_s`.
        rebalance: Whether stages move where they otherwise would stay.
    """
    round_ = _Round(wanted, workers, now_s)
    round_.sort_out()
    round_.drop_surplus()
    round_.fill()
    round_.let_leave()
    routed = {
        key: tuple(sorted(id_ for id_ in (*holders, *round_.outgoing[key]) if round_.is_ready(id_, key)))
        for key, holders in round_.holders.items()
    }
    if round_.is_quiet() and not round_.move_home():
        round_.move()
    return Placement(
        routed,
        tuple(round_.place),
        tuple(round_.evict),
        round_.retry_s(),
        round_.lacking_bytes,
        round_.is_freeing(),
        round_.departing(),
    )


class _Round:
    """One decision in the making."""

    def __init__(self, wanted: Iterable[WantedStage], workers: Iterable[WorkerView], now_s: float) -> None:
        self.wanted = {stage.key: stage for stage in sorted(wanted, key=lambda stage: stage.key)}
        self.workers = {worker.id: worker for worker in sorted(workers, key=lambda worker: worker.id)}
        self.now_s = now_s
        self.holders: dict[StageKey, list[WorkerId]] = {key: [] for key in self.wanted}
        self.outgoing: dict[StageKey, list[WorkerId]] = {key: [] for key in self.wanted}
        self.place: list[Order] = []
        self.evict: list[Order] = []
        self.num_stages: Counter[WorkerId] = Counter()
        self.weight_bytes: Counter[WorkerId] = Counter()
        self.num_of_model: Counter[tuple[WorkerId, ModelKey, int]] = Counter()
        self.lacking_bytes: dict[StageKey, int] = {}
        self.labels = {id_: kind_label(worker.attributes) for id_, worker in self.workers.items()}
        self.memory = MemoryBook({id_: worker.attributes for id_, worker in self.workers.items()})

    def sort_out(self) -> None:
        """Keeps what is wanted where it is, and lets go of the rest."""
        for worker in self.workers.values():
            for key, held in sorted(worker.stages.items()):
                stage = self.wanted.get(key)
                if not held.counts:
                    if stage is not None and held.state is StageState.EVICTING:
                        self.memory.take(worker.id, stage.peak_bytes)
                    continue
                fits = stage is not None and held.digest == stage.digest
                if stage is not None and fits and worker.leaving and held.state is StageState.READY:
                    self.memory.take(worker.id, stage.peak_bytes)
                    self.outgoing[key].append(worker.id)
                elif stage is not None and fits and not worker.leaving and self._can_run(worker, stage):
                    self._count(worker.id, stage, 1)
                    self.holders[key].append(worker.id)
                else:
                    self.evict.append(Order(worker.id, key))

    def drop_surplus(self) -> None:
        """Lets go of ready replicas beyond those asked for: where they are not meant to be, on the fullest workers."""
        for key, stage in self.wanted.items():
            ready = [id_ for id_ in self.holders[key] if self.is_ready(id_, key)]
            while len(ready) > stage.replicas:
                fullest = max(self._strays(stage, ready) or ready, key=self._fullness)
                ready.remove(fullest)
                self.holders[key].remove(fullest)
                self._count(fullest, stage, -1)
                self.evict.append(Order(fullest, key))

    def fill(self) -> None:
        """Places missing replicas."""
        for key, stage in self.wanted.items():
            while len(self.holders[key]) < stage.replicas:
                free = [worker.id for worker in self.workers.values() if self._is_free(worker, stage)]
                roomy = [id_ for id_ in free if self._has_room(id_, stage)]
                if not roomy:
                    if free:
                        self.lacking_bytes[key] = min(self.memory.lack(id_, stage.peak_bytes) for id_ in free)
                    break
                homes = [id_ for id_ in roomy if self._is_vacant(self._home(id_, stage), stage)]
                self._place(min(homes or roomy, key=lambda id_: self._fill_rank(id_, stage)), stage)

    def let_leave(self) -> None:
        """Lets go of what leaving workers hold once enough others have it, or as many as can."""
        for key, leavers in self.outgoing.items():
            holders = self.holders[key]
            num_ready = sum(self.is_ready(id_, key) for id_ in holders)
            if num_ready and num_ready == len(holders) and not self._awaits(key):
                self.evict += [Order(id_, key) for id_ in leavers]
                leavers.clear()

    def departing(self) -> tuple[WorkerId, ...]:
        """Returns the leaving workers off which nothing more will be moved."""
        waited = {
            id_
            for key, leavers in self.outgoing.items()
            if self.holders[key] or self._awaits(key)
            for id_ in leavers
        }
        return tuple(id_ for id_, worker in self.workers.items() if worker.leaving and id_ not in waited)

    def _awaits(self, key: StageKey) -> bool:
        """Whether a replica that is missing may be placed later: what failed is tried again, what goes makes room."""
        return len(self.holders[key]) < self.wanted[key].replicas and (
            self.is_freeing() or any(self._is_held_up(worker, key) for worker in self.workers.values())
        )

    @staticmethod
    def _is_held_up(worker: WorkerView, key: StageKey) -> bool:
        held = worker.stages.get(key)
        return not worker.leaving and held is not None and held.state is StageState.FAILED

    def move_home(self) -> bool:
        """Starts to move one stage to where its plan means it to be; returns whether there was one."""
        for key, stage in self.wanted.items():
            if not self._strays(stage, self.holders[key]):
                continue
            homes = [
                id_
                for id_, worker in self.workers.items()
                if not worker.leaving
                and key not in worker.stages
                and self._can_run(worker, stage)
                and self._is_vacant(self._home(id_, stage), stage)
                and self._has_room(id_, stage)
            ]
            if homes:
                self._place(min(homes, key=lambda id_: self._fill_rank(id_, stage)), stage)
                return True
        return False

    def move(self) -> None:
        """Starts to move one stage from a full worker to an empty one, where they differ by two or more."""
        by_fullness = sorted(
            (id_ for id_ in self.workers if not self.workers[id_].leaving), key=self._fullness
        )
        for target in by_fullness:
            for source in reversed(by_fullness):
                if self.num_stages[source] - self.num_stages[target] < 2:
                    break
                movable = [
                    stage
                    for key, stage in self.wanted.items()
                    if source in self.holders[key]
                    and key not in self.workers[target].stages
                    and self._can_run(self.workers[target], stage)
                    and self._home(source, stage) == self._home(target, stage)
                    and self._has_room(target, stage)
                ]
                if movable:
                    best = min(movable, key=lambda stage: self._move_rank(stage, source, target))
                    self._place(target, best)
                    return

    def is_quiet(self) -> bool:
        """Whether nothing is under way and nothing is to be done."""
        return not self.place and not self.is_freeing() and not self._any_is(StageState.LOADING)

    def is_freeing(self) -> bool:
        """Whether stages are on their way out."""
        return bool(self.evict) or self._any_is(StageState.EVICTING)

    def is_ready(self, id_: WorkerId, key: StageKey) -> bool:
        held = self.workers[id_].stages.get(key)
        return held is not None and held.state is StageState.READY

    def retry_s(self) -> float | None:
        """Returns when the first failed stage that is still missing may be tried again."""
        times = [
            held.retry_s
            for worker in self.workers.values()
            for key, held in worker.stages.items()
            if held.state is StageState.FAILED
            and key in self.wanted
            and len(self.holders[key]) < self.wanted[key].replicas
            and held.retry_s > self.now_s
        ]
        return min(times, default=None)

    def _any_is(self, state: StageState) -> bool:
        return any(held.state is state for worker in self.workers.values() for held in worker.stages.values())

    def _place(self, id_: WorkerId, stage: WantedStage) -> None:
        self.place.append(Order(id_, stage.key))
        self.holders[stage.key].append(id_)
        self._count(id_, stage, 1)

    def _count(self, id_: WorkerId, stage: WantedStage, by: int) -> None:
        self.num_stages[id_] += by
        self.weight_bytes[id_] += by * stage.weight_bytes
        self.num_of_model[id_, stage.model, stage.revision] += by
        if by > 0:  # what goes keeps its memory until it is gone
            self.memory.take(id_, stage.peak_bytes)

    def _is_free(self, worker: WorkerView, stage: WantedStage) -> bool:
        """Whether a missing replica may be placed there now."""
        held = worker.stages.get(stage.key)
        if worker.leaving or worker.id in self.holders[stage.key] or not self._can_run(worker, stage):
            return False
        if held is None:
            return True
        # On its way out, it must be gone first; having failed, its time must have come.
        return held.state is StageState.FAILED and (held.digest != stage.digest or held.retry_s <= self.now_s)

    def _move_rank(self, stage: WantedStage, source: WorkerId, target: WorkerId) -> tuple[int, int, str]:
        """Returns a rank by which stages that spread their model better, then lighter ones, move first."""
        gain = self._num_alike(source, stage) - self._num_alike(target, stage)
        return (-gain, stage.weight_bytes, stage.key)

    def _num_alike(self, id_: WorkerId, stage: WantedStage) -> int:
        return self.num_of_model[id_, stage.model, stage.revision]

    def _fill_rank(self, id_: WorkerId, stage: WantedStage) -> tuple[int, int, int, str]:
        return (self._num_alike(id_, stage), *self._fullness(id_))

    def _home(self, id_: WorkerId, stage: WantedStage) -> int | None:
        """Returns which of a stage's homes a worker is of: by name, else by being alike."""
        for index, home in enumerate(stage.homes):
            if id_ in home.workers:
                return index
        for index, home in enumerate(stage.homes):
            if label_of_kind(home.kind) == self.labels[id_]:
                return index
        return None

    def _is_vacant(self, home: int | None, stage: WantedStage) -> bool:
        """Whether fewer workers of that home hold the stage than are to."""
        if home is None:
            return False
        held = sum(self._home(holder, stage) == home for holder in self.holders[stage.key])
        return held < stage.homes[home].count

    def _strays(self, stage: WantedStage, holders: Sequence[WorkerId]) -> list[WorkerId]:
        """Returns those of the holders that are not where the plan means them to be, or too many there."""
        if not stage.homes:
            return []
        homes = {id_: self._home(id_, stage) for id_ in holders}
        num_at = Counter(homes.values())
        return [id_ for id_, home in homes.items() if home is None or num_at[home] > stage.homes[home].count]

    def _has_room(self, id_: WorkerId, stage: WantedStage) -> bool:
        return self.memory.lack(id_, stage.peak_bytes) == 0

    def _fullness(self, id_: WorkerId) -> tuple[int, int, str]:
        return (self.num_stages[id_], self.weight_bytes[id_], id_)

    @staticmethod
    def _can_run(worker: WorkerView, stage: WantedStage) -> bool:
        return can_run(stage.require, stage.cpu_class, worker.tags, worker.attributes)


def missing(wanted: Sequence[WantedStage], placement: Placement) -> list[StageKey]:
    """Returns the stages that have fewer serving replicas than asked for."""
    return [stage.key for stage in wanted if len(placement.routed.get(stage.key, ())) < stage.replicas]


def without_room(wanted: Sequence[WantedStage], placement: Placement) -> str:
    """Says which of the stages no worker has the memory for, for good, and by how much; empty: there is none."""
    if placement.freeing:
        return ""
    return ", ".join(
        f"{stage.key} lacks {placement.lacking_bytes[stage.key] / 1e6:.1f} MB"
        for stage in wanted
        if stage.key in placement.lacking_bytes
    )
