"""Ejection: who is, for how long, and how many at once."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnxmesh.routing.outlier_detection import OutlierDetector
from onnxmesh.routing.policy_settings import PolicySettings

SETTINGS = PolicySettings()


def outliers(num, kind="k"):
    return OutlierDetector(((f"w{i}", kind) for i in range(num)), SETTINGS)


def fail(found, worker, now_s, times=SETTINGS.max_errors):
    return [found.observe_failure(worker, now_s) for _ in range(times)][-1]


def test_detector_ejects_after_consecutive_failures():
    """Five do; an answer in between restarts the count."""
    found = outliers(3)
    assert fail(found, "w0", 0.0, 4) is None
    found.observe_answer("w0", 0.01, 0.0)
    assert fail(found, "w0", 0.0, 4) is None
    assert found.observe_failure("w0", 1.0) == 6.0
    assert found["w0"].why == "5 failures in a row"
    assert (found.num_ejected(5.9), found.num_ejected(6.0)) == (1, 0)


def test_detector_ejects_for_longer_each_time():
    """5 s, 10 s, 15 s, up to a limit; a replica that does well for a while is forgiven step by step."""
    found = outliers(3)
    now_s, lengths = 0.0, []
    for _ in range(70):
        until_s = fail(found, "w0", now_s)
        lengths.append(until_s - now_s)
        now_s = until_s
    assert lengths[:3] == [5, 10, 15]
    assert lengths[-1] == 300
    before = found["w0"].num_ejections
    found.observe_answer("w0", 0.01, now_s + 351)
    assert found["w0"].num_ejections == before - 1


@pytest.mark.parametrize(("num", "cap"), [(0, 0), (1, 0), (2, 1), (10, 1), (29, 2), (1000, 100)])
def test_cap_is_a_tenth_of_the_replicas(num, cap):
    """A tenth of the replicas, one in any case, never all."""
    assert outliers(num).cap == cap


def test_detector_ejects_a_replica_far_slower_than_its_peers():
    """Five times the median of its kind; that kinds differ is no fault."""
    found = OutlierDetector(
        [(f"g{i}", "gpu") for i in range(5)] + [(f"c{i}", "cpu") for i in range(5)], SETTINGS
    )
    ejected = {}
    for _ in range(SETTINGS.min_samples * 2):
        for i in range(5):
            for worker, latency_s in ((f"g{i}", 0.001), (f"c{i}", 0.1 if i else 0.9)):
                if (until_s := found.observe_answer(worker, latency_s, 0.0)) is not None:
                    ejected[worker] = until_s
    assert ejected == {"c0": 5.0}
    assert found["c0"].why == "takes 900 ms, its peers 100 ms"


def test_detector_needs_enough_peers():
    """Of two, who is to say which is the odd one."""
    found = outliers(3)
    for _ in range(100):
        assert found.observe_answer("w0", 9.0, 0.0) is None
        assert found.observe_answer("w1", 0.1, 0.0) is None


def test_detector_compares_with_peers_that_have_just_enough_answers():
    """The same number of answers makes a replica a peer and lets it be called slow."""
    found = outliers(4)
    for peer in ("w1", "w2", "w3"):
        for _ in range(SETTINGS.min_samples):
            found.observe_answer(peer, 0.1, 0.0)
    ends = [found.observe_answer("w0", 0.9, 0.0) for _ in range(SETTINGS.min_samples)]
    assert ends == [None] * (SETTINGS.min_samples - 1) + [SETTINGS.ejection_s]


def test_adopt_changes_nothing_for_what_is_over_known_or_elsewhere():
    """Only an ejection that ends later than now, and later than the replica's own, is adopted."""
    found = outliers(3)
    assert not found.adopt("w0", 1.0, "over", 1.0)
    assert not found.adopt("elsewhere", 9.0, "", 1.0)
    assert found.adopt("w0", 5.0, "longer", 1.0)
    assert not found.adopt("w0", 4.0, "shorter", 1.0)
    assert (found["w0"].ejected_until_s, found["w0"].why) == (5.0, "longer")
    assert found.adopt("w0", 6.0, "longest", 1.0)


def test_inherit_compares_replicas_by_their_new_kind():
    """A replica that is of another kind since the change is no outlier among those that it was like."""
    before = outliers(4)
    found = OutlierDetector([("w0", "cpu"), *((f"w{i}", "gpu") for i in range(1, 4))], SETTINGS)
    found.inherit(before, [f"w{i}" for i in range(4)], 0.0)
    assert [found[f"w{i}"].kind for i in range(4)] == ["cpu", "gpu", "gpu", "gpu"]
    for _ in range(SETTINGS.min_samples * 2):
        for i in range(4):
            assert found.observe_answer(f"w{i}", 0.1 if i else 9.0, 0.0) is None


def test_inherit_keeps_the_cap_for_fewer_replicas():
    """When the stage shrinks, the ejections that end first end now."""
    big = outliers(30)
    for i in range(3):
        assert fail(big, f"w{i}", float(i)) is not None
    small = outliers(5)
    small.inherit(big, (f"w{i}" for i in range(5)), 3.0)
    assert small.num_ejected(3.0) == small.cap == 1
    assert small["w2"].ejected_until_s > 3.0


@given(
    st.integers(1, 25),
    st.lists(
        st.tuples(st.integers(0, 24), st.sampled_from(["fail", "slow", "fast", "wait", "release"])),
        max_size=300,
    ),
)
def test_detector_never_ejects_more_than_the_cap(num, events):
    """Whatever happens, and in whatever order."""
    found, now_s = outliers(num), 0.0
    for index, event in events:
        worker = f"w{index % num}"
        match event:
            case "fail":
                fail(found, worker, now_s)
            case "slow" | "fast":
                for _ in range(SETTINGS.min_samples):
                    found.observe_answer(worker, 5.0 if event == "slow" else 0.01, now_s)
            case "wait":
                now_s += 1.0 + index
            case _:
                found.release_ejections()
                assert found.num_ejected(now_s) == 0
        assert found.num_ejected(now_s) <= found.cap
