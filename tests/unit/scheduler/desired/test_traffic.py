"""How versions come to share the traffic of a model."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnxmesh.errors import InvalidRequest, NotFound, Unsatisfiable
from onnxmesh.state.traffic_split import TrafficSplit
from services.scheduler.desired.traffic import percents_of, restricted, rolled_back, rolled_out

VERSIONS = st.sets(st.integers(1, 9), min_size=2, max_size=5)


PERCENTS = st.integers(0, 100)


def split(percents, before=None):
    return TrafficSplit("m", percents, before)


def rollout(before, versions, to, percent):
    made = rolled_out("m", before, versions, to, percent)
    return None if made is None else dict(made.percents)


@pytest.mark.parametrize(
    ("before", "versions", "to", "percent", "after"),
    [
        (None, {1, 2}, 2, 10, {1: 90, 2: 10}),
        (None, {1, 2}, 1, 100, {1: 100, 2: 0}),
        (None, {1, 2, 3}, 2, 10, {1: 0, 2: 10, 3: 90}),  # the newest had all
        (None, {1}, 1, 100, None),
        ({1: 90, 2: 10}, {1, 2}, 2, 100, {1: 0, 2: 100}),
        ({1: 60, 2: 20, 3: 20}, {1, 2, 3}, 3, 50, {1: 37, 2: 13, 3: 50}),
        ({1: 0, 2: 100}, {1, 2, 3}, 2, 70, {1: 0, 2: 70, 3: 30}),  # no other had any
        ({1: 50, 2: 50}, {1, 2, 3}, 3, 1, {1: 49, 2: 50, 3: 1}),
    ],
)
def test_rolled_out_gives_one_version_its_percentage_and_the_others_share_the_rest(
    before, versions, to, percent, after
):
    """To whole percents, 100 together; what rounding leaves goes to the newer one."""
    assert rollout(before and split(before), versions, to, percent) == after


@pytest.mark.parametrize(
    ("versions", "to", "percent", "error", "says"),
    [
        ({1, 2}, 3, 10, NotFound, "model 'm' has no version 3: deployed versions are 1, 2"),
        ({1, 2}, 2, 101, InvalidRequest, "a version gets 0 to 100 percent of the traffic, got 101"),
        ({1}, 1, 10, InvalidRequest, "no other version for the other 90 percent"),
    ],
)
def test_rolled_out_refuses_what_cannot_be(versions, to, percent, error, says):
    with pytest.raises(error, match=says):
        rolled_out("m", None, versions, to, percent)


def test_rolled_back_restores_the_split_before_once():
    """Also one from no split at all; and there is no step back from a step back."""
    first = rolled_out("m", None, {1, 2}, 2, 10)
    second = rolled_out("m", first, {1, 2}, 2, 50)
    back = rolled_back("m", second, {1, 2})
    assert back == split({1: 90, 2: 10})
    assert rolled_back("m", first, {1, 2}) is None
    for nothing in (None, back):
        with pytest.raises(Unsatisfiable, match="no rollout"):
            rolled_back("m", nothing, {1, 2})


def test_rolled_back_leaves_out_undeployed_versions():
    """Their part goes to those that are left."""
    made = split({1: 0, 2: 0, 3: 100}, before={1: 50, 2: 25, 3: 25})
    assert rolled_back("m", made, {1, 3}).percents == {1: 67, 3: 33}


def test_restricted_gives_the_percentage_of_a_removed_version_to_the_others():
    assert restricted(split({1: 60, 2: 20, 3: 20}), {1, 2}).percents == {1: 75, 2: 25}
    assert restricted(split({1: 60, 2: 40}), {2}) is None
    assert restricted(split({1: 60, 2: 40}), set()) is None
    assert restricted(split({1: 0, 2: 100}), {1, 3}).percents == {1: 0, 3: 100}
    assert percents_of(split({1: 60, 2: 40}), {1, 2, 3}) == {1: 60, 2: 40, 3: 0}


@given(st.data(), VERSIONS)
def test_percentages_are_100_together_and_of_deployed_versions_whatever_is_done(data, versions):
    """Rollouts, steps back, versions that come and go, in any order."""
    now, percents = set(versions), None
    for _ in range(8):
        match data.draw(st.sampled_from(["out", "back", "come", "go"])):
            case "out":
                to = data.draw(st.sampled_from(sorted(now)))
                percent = 100 if len(now) == 1 else data.draw(PERCENTS)
                percents = rolled_out("m", percents, now, to, percent)
                assert percents is None or percents.percents[to] == percent
            case "back" if percents is not None and percents.before is not None:
                percents = rolled_back("m", percents, now)
            case "come":
                now |= {data.draw(st.integers(1, 9))}
            case "go" if len(now) > 1:
                now -= {data.draw(st.sampled_from(sorted(now)))}
                percents = percents and restricted(percents, now)
        if percents is not None:
            shared = percents_of(percents, now)
            assert (sum(shared.values()), set(shared)) == (100, now)
