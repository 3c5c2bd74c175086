"""Workers and stages in few words, for tables of placement."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from onnxmesh.ids import Digest, ModelName, StageKey, Version, WorkerId, stage_key
from services.scheduler.desired.desired_stages import DesiredStage
from services.scheduler.placement.placement import decide_placement
from services.scheduler.workers.holdings import Held, HoldingState
from services.scheduler.workers.memory import RESERVE_BYTES
from services.scheduler.workers.worker_view import WorkerView

STATES = {
    "": HoldingState.READY,
    "~": HoldingState.LOADING,
    "!": HoldingState.FAILED,
    "-": HoldingState.EVICTING,
}


def stages(name, num, *, version=1, revision=0, **changes):
    """The stages of a model; the content of each is named like its key."""
    keys = [stage_key(ModelName(name), Version(version), index, revision) for index in range(num)]
    return [
        DesiredStage(key, (ModelName(name), Version(version)), Digest(key), revision=revision, **changes)
        for key in keys
    ]


def view(name, holds="", *, memory=None, facts=None, **changes):
    """A worker. `view("a", "m/1/0 m/1/1~")`: one stage is ready, one loading; `!` failed, `-` evicting."""
    held = {}
    for word in holds.split():
        key, state = (word[:-1], STATES[word[-1]]) if word[-1] in STATES else (word, HoldingState.READY)
        retry_s = 1e9 if state is HoldingState.FAILED else 0.0
        held[StageKey(key)] = Held(state, Digest(key), failures=1, retry_s=retry_s)
    attributes = dict(facts or {})
    if memory is not None:
        attributes["memory.bytes"] = str(memory + RESERVE_BYTES)
    return WorkerView(WorkerId(name), attributes=attributes, stages=held, **changes)


def zoned(zone, *names, **changes):
    """Workers of a zone."""
    return [view(name, facts={"zone": zone}, **changes) for name in names]


def commands(placement):
    """The commands: `a+m/1/0` to be loaded, `a-m/1/0` to be evicted; sorted."""
    return sorted(
        [f"{command.worker}+{command.stage}" for command in placement.place]
        + [f"{command.worker}-{command.stage}" for command in placement.evict]
    )


def done(views, placement):
    """Returns the workers once all that is under way, and every command, is done."""
    found = {}
    for each in views:
        found[each.id] = {
            key: replace(held, state=HoldingState.READY) if held.counts else held
            for key, held in each.stages.items()
            if held.state is not HoldingState.EVICTING
        }
    for command in placement.evict:
        found[command.worker].pop(command.stage)
    for command in placement.place:
        found[command.worker][command.stage] = Held(HoldingState.READY, Digest(command.stage))
    return [replace(each, stages=found[each.id]) for each in views]


def at_rest(desired, views, now_s=0.0, max_rounds=200, **options):
    """Returns the workers once nothing is left to be done, and how many rounds it took."""
    for num_rounds in range(max_rounds):
        after = done(views, decide_placement(desired, views, now_s, **options))
        if after == views:
            return views, num_rounds
        views = after
    raise AssertionError(f"not at rest after {max_rounds} rounds")


def where(views):
    """Who holds what: stages by worker, in order."""
    return {each.id: sorted(key for key, held in each.stages.items() if held.counts) for each in views}


def num_held(views):
    """How many stages each worker holds."""
    return Counter({each.id: sum(held.counts for held in each.stages.values()) for each in views})
