"""Which worker is chosen for a replica, and why."""

from __future__ import annotations

from onnxmesh.routing.network import MeasuredLink
from services.scheduler.desired.desired_stages import Home
from services.scheduler.placement.placement import decide_placement
from services.scheduler.placement.placement_candidates import PlacementCandidates
from services.scheduler.placement.placement_state import PlacementState
from tests.unit.scheduler.placement_tables import commands, stages, view

MS = 0.001


def placed(desired, *workers):
    return commands(decide_placement(desired, workers, 0.0))


def test_candidates_are_close_to_the_stage_before():
    """Within the zone, all else being equal, and not to the first id."""
    workers = [
        view("a", facts={"zone": "y"}),
        view("b", "m/1/0", facts={"zone": "x"}),
        view("c", facts={"zone": "x"}),
    ]
    assert placed(stages("m", 2), *workers) == ["c+m/1/1"]


def test_candidates_are_close_to_the_stage_after_where_there_is_none_before():
    """A first stage that was lost comes back to its pipeline."""
    workers = [
        view("a", facts={"zone": "y"}),
        view("b", "m/1/1", facts={"zone": "x"}),
        view("c", facts={"zone": "x"}),
    ]
    assert placed(stages("m", 2), *workers) == ["c+m/1/0"]


def test_candidates_weigh_both_links_by_the_bytes_they_carry():
    """Between two neighbours a stage goes to the host of the one with which it exchanges more."""
    desired = stages("m", 3)
    hosts = {name: {"host": f"h{number}"} for name, number in zip("abcd", "1212", strict=True)}
    workers = [
        view("a", "m/1/0", facts=hosts["a"]),
        view("b", "m/1/2", facts=hosts["b"]),
        view("c", facts=hosts["c"]),
        view("d", facts=hosts["d"]),
    ]
    light, heavy = (stages("m", 1, sent_bytes=size)[0].sent_bytes for size in (10, 10**8))
    for before, after, expected in ((heavy, light, "c"), (light, heavy, "d")):
        sized = [
            type(stage)(stage.key, stage.model, stage.digest, sent_bytes=size)
            for stage, size in zip(desired, (before, after, 0), strict=True)
        ]
        assert placed(sized, *workers) == [f"{expected}+m/1/1"]


def test_candidates_prefer_a_measured_link_to_a_zone():
    """The same zone by name, but a slow line."""
    workers = [
        view("a", "m/1/0", links={"b": MeasuredLink(0.2), "c": MeasuredLink(0.0004, 1e9)}),
        view("b"),
        view("c"),
    ]
    assert placed(stages("m", 2), *workers) == ["c+m/1/1"]


def test_candidates_avoid_a_worker_with_much_work():
    """By what it reports, and by what its stages are expected to take."""
    assert placed(stages("m", 1), view("a", wait_s=0.064), view("b")) == ["b+m/1/0"]
    desired = [*stages("h", 1, cost_s=0.5), *stages("l", 2, cost_s=MS), *stages("m", 1)]
    assert placed(desired, view("a", "h/1/0"), view("b", "l/1/0 l/1/1")) == ["b+m/1/0"]


def test_candidates_prefer_a_faster_device():
    """As fast as each reports; the plan's figure is for the device that it was made for."""
    slow, fast = ({"speed.flops_per_s": figure, "device.kind": figure} for figure in ("1e10", "1e11"))
    assert placed(stages("m", 1, cost_s=0.1), view("a", facts=slow), view("b", facts=fast)) == ["b+m/1/0"]
    home = (Home("1e10", 1),)
    assert placed(stages("m", 1, cost_s=0.1, homes=home), view("a", facts=slow), view("b", facts=fast)) == [
        "a+m/1/0"
    ]


def test_candidates_explain_each_verdict():
    """Who was filtered out by which rule, what each would have taken, and who was picked."""
    desired = [
        *stages("m", 2, require=("cpus >= 4",), peak_bytes=5, homes=(Home("fast", 2),)),
        *stages("n", 1),
    ]
    fast = {"device.kind": "fast", "cpus": "8"}
    workers = [
        view("away", facts={"device.kind": "slow", "cpus": "8"}),
        view("full", facts=fast, memory=4),
        view("going", facts=fast, leaving=True),
        view("holder", "m/1/0", facts=fast),
        view("failed", "m/1/1!", facts=fast),
        view("pick", facts=fast),
        view("small", facts={"device.kind": "fast", "cpus": "2"}),
        view("used", "n/1/0", facts=fast),
    ]
    state = PlacementState(desired, workers, 0.0)
    candidates = PlacementCandidates(state)
    stage = state.desired["m/1/1"]
    decision = candidates.choose(stage)
    explanation = candidates.explain(stage, decision)
    verdicts = {verdict.worker: verdict for verdict in explanation.verdicts}
    assert {worker: verdict.rule for worker, verdict in verdicts.items()} == {
        "away": "home",
        "full": "memory",
        "going": "draining",
        "holder": "same model",
        "failed": "busy",
        "pick": "",
        "small": "requirement",
        "used": "",
    }
    assert (explanation.stage, explanation.picked) == ("m/1/1", "pick")
    assert explanation.outcome == "'pick': the best"
    assert verdicts["used"].score_s > verdicts["pick"].score_s
    assert verdicts["pick"].transfer_s > 0
