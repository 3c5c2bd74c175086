"""Registrations live by generation and heartbeat, on a clock that the tests set."""

from __future__ import annotations

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from onnxmesh.discovery.instance import Instance
from onnxmesh.discovery.lease_table import LeaseTable
from onnxmesh.errors import Conflict


def instance(id_="a", generation=1, address="host:1"):
    return Instance(id_, "worker", address, generation)


def test_grant_replaces_an_older_generation():
    leases = LeaseTable(3.0)
    old = leases.grant(instance(generation=1), 0.0)
    new = leases.grant(instance(generation=2), 1.0)
    assert not leases.release("a", old, 1.0)
    assert leases.instances["a"].generation == 2
    assert leases.release("a", new, 1.0)
    assert not leases.instances


def test_grant_refuses_an_older_generation():
    leases = LeaseTable(3.0)
    token = leases.grant(instance(generation=2), 0.0)
    with pytest.raises(Conflict, match="generation 1 is out of date: generation 2 at host:1"):
        leases.grant(instance(generation=1), 1.0)
    leases.release("a", token, 1.0)
    leases.grant(instance(generation=1), 2.0)


def test_grant_replaces_the_lease_of_the_same_process():
    leases = LeaseTable(3.0)
    first = leases.grant(instance(), 0.0)
    second = leases.grant(instance(), 1.0)
    assert not leases.renew("a", first, 1.5)
    assert not leases.release("a", first, 1.0)
    assert leases.renew("a", second, 1.5)


def test_expire_ends_leases_without_heartbeats():
    leases = LeaseTable(3.0)
    token = leases.grant(instance(), 0.0)
    leases.grant(instance("b"), 0.0)
    for now in range(1, 4):
        leases.renew("a", token, float(now))
        assert leases.expire(float(now)) == []
    assert [each.id for each in leases.expire(3.5)] == ["b"]
    assert list(leases.instances) == ["a"]


def test_expire_ignores_time_in_which_the_registry_was_suspended():
    leases = LeaseTable(3.0)
    leases.grant(instance(), 0.0)
    assert leases.expire(0.5) == []
    assert leases.expire(100.0) == []
    for tenth in range(1, 25):
        assert leases.expire(100.0 + tenth / 10) == []
    assert leases.expire(102.6) != []


@pytest.mark.parametrize("looks_first", [False, True])
def test_release_after_a_suspension_keeps_the_lease_until_it_expires(looks_first):
    """It connects again at once; until then its lease is kept for the grace period."""
    leases = LeaseTable(3.0)
    token = leases.grant(instance(), 0.0)
    leases.grant(instance("b"), 0.0)
    leases.expire(0.25)
    if looks_first:
        leases.expire(5.0)
    assert not leases.release("a", token, 5.0)
    again = leases.grant(instance(), 5.1)
    assert [each.id for now in range(11, 17) for each in leases.expire(now / 2)] == ["b"]
    assert leases.release("a", again, 8.0)


class LeaseTableMachine(RuleBasedStateMachine):
    """The newest living stream of each id is what is registered."""

    def __init__(self):
        super().__init__()
        self.leases = LeaseTable(3.0)
        self.now_s = 0.0
        self.current = {}
        self.ended = []

    @rule(id_=st.sampled_from("ab"), generation=st.integers(1, 4))
    def join(self, id_, generation):
        held = self.current.get(id_)
        try:
            token = self.leases.grant(instance(id_, generation), self.now_s)
        except Conflict:
            assert held is not None
            assert held[1] > generation
            return
        assert held is None or held[1] <= generation
        if held is not None:
            self.ended.append((id_, held[0]))
        self.current[id_] = (token, generation, self.now_s)

    @rule(id_=st.sampled_from("ab"))
    def beat(self, id_):
        if id_ in self.current:
            token, generation, _ = self.current[id_]
            assert self.leases.renew(id_, token, self.now_s)
            self.current[id_] = (token, generation, self.now_s)

    @rule(id_=st.sampled_from("ab"))
    def leave(self, id_):
        if id_ in self.current:
            token, *_ = self.current.pop(id_)
            assert self.leases.release(id_, token, self.now_s)
            self.ended.append((id_, token))

    @rule()
    def old_streams_end(self):
        for id_, token in self.ended:
            assert not self.leases.renew(id_, token, self.now_s)
            assert not self.leases.release(id_, token, self.now_s)

    @rule(seconds=st.sampled_from([0.25, 1.0]))
    def wait(self, seconds):
        self.now_s += seconds
        for each in self.leases.expire(self.now_s):
            token, _, heard_s = self.current.pop(each.id)
            assert self.now_s - heard_s > 3.0
            self.ended.append((each.id, token))

    @invariant()
    def the_newest_is_registered(self):
        assert {id_: each.generation for id_, each in self.leases.instances.items()} == {
            id_: generation for id_, (_, generation, _) in self.current.items()
        }


TestLeaseTableMachine = LeaseTableMachine.TestCase
