"""The part joiner: in every order of events no part is lost, kept or run twice."""

from __future__ import annotations

import math

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from onnxmesh.errors import CorruptData, DeadlineExceeded, Overloaded, Unavailable
from onnxmesh.ids import StageKey
from services.worker.queueing.part_joiner import PartJoiner, Run, Wait
from services.worker.requests.request_flow import Drop, Refuse
from services.worker.requests.request_key import RequestKey
from tests.unit.worker.stage_requests import request, tensor

STAGE = StageKey("m/1/1")


def joiner(max_parts=8, max_bytes=1000, direct=("u", "v")):
    return PartJoiner(STAGE, frozenset(direct), max_parts=max_parts, max_bytes=max_bytes)


def main(number=1, data=b"main", **more):
    return request(number, stages=("m/1/0", STAGE), hop=1, tensors={"h": tensor("h", data)}, **more)


def direct(number=1, data=b"direct", **more):
    tensors = {"u": tensor("u", data), "v": tensor("v", b"")}
    return request(number, stages=("m/1/0", STAGE), hop=1, tensors=tensors, direct=True, **more)


def add(at, part, now_s=0.0, gateway_connected=True):
    """Returns the only decision."""
    ((about, decision),) = at.add(part, now_s=now_s, gateway_connected=gateway_connected)
    return about, decision


@pytest.mark.parametrize("order", [(main, direct), (direct, main)])
def test_part_joiner_joins_two_parts_in_either_order(order):
    """It has the tensors of both and the route of the main part; it arrived with the second part."""
    at = joiner()
    first, second = (make(outputs=("y",) if make is main else ()) for make in order)
    object.__setattr__(first, "arrived_s", 3.0)
    object.__setattr__(second, "arrived_s", 4.0)
    object.__setattr__(second if second.is_direct else first, "wire_ns", 77)
    assert add(at, first) == (first, Wait())
    assert (len(at), at.num_bytes) == (1, first.num_bytes)
    whole, decision = add(at, second)
    assert decision == Run()
    assert {name: bytes(each.data) for name, each in whole.tensors.items()} == {
        "h": b"main",
        "u": b"direct",
        "v": b"",
    }
    assert not whole.is_direct
    assert list(whole.header.requested_outputs) == ["y"]
    assert whole.arrived_s == 4.0
    assert whole.wire_ns == (first if second.is_direct else second).wire_ns
    assert len(at) == at.num_bytes == 0


@pytest.mark.parametrize(("main_s", "direct_s"), [(5.0, 7.0), (7.0, 5.0), (math.inf, 5.0)])
def test_part_joiner_takes_the_earlier_deadline(main_s, direct_s):
    """Both are the request's; time on the wire delays the later one."""
    at = joiner()
    add(at, direct(at_s=direct_s))
    assert add(at, main(at_s=main_s))[0].deadline.at_s == 5.0


@pytest.mark.parametrize(
    ("names", "is_direct", "message"),
    [
        (["u"], True, "'u', 'v' straight from the gateway; the direct part has 'u'"),
        (["u", "v", "w"], True, "'u', 'v' straight from the gateway; the direct part has 'u', 'v', 'w'"),
        ([], True, "'u', 'v' straight from the gateway; the direct part has nothing"),
        (["h", "v"], False, "'v' straight from the gateway; the stage before sent it too"),
    ],
)
def test_part_joiner_refuses_a_part_with_the_wrong_tensors(names, is_direct, message):
    """The message names the expected and the received tensors; a pending part stays."""
    at = joiner()
    add(at, main(2))
    add(at, main() if is_direct else direct())
    wrong = request(tensors={name: tensor(name) for name in names}, direct=is_direct)
    about, decision = add(at, wrong)
    assert about is wrong
    assert isinstance(decision.error, CorruptData)
    assert message in decision.error.message
    assert add(at, direct() if is_direct else main())[1] == Run()
    assert len(at) == 1


@pytest.mark.parametrize("names", [[], ["u"]])
def test_part_joiner_without_direct_inputs_refuses_direct_parts(names):
    """Also an empty one."""
    part = request(tensors={name: tensor(name) for name in names}, direct=True)
    _, decision = add(joiner(direct=()), part)
    assert isinstance(decision.error, CorruptData)
    assert "m/1/1 receives nothing straight from the gateway" in decision.error.message


def test_part_joiner_admits_a_single_part_beyond_the_byte_limit():
    """Else its request could never be served; meanwhile no other part is admitted."""
    at = joiner(max_bytes=10)
    assert add(at, direct(1, bytes(50)))[1] == Wait()
    _, decision = add(at, direct(2, b"x"))
    assert isinstance(decision.error, Overloaded)
    assert decision.error.retry_after_s
    assert "1 request with 50 bytes already waits for the other part" in decision.error.message
    assert add(at, main(1, bytes(50)))[1] == Run()


def test_part_joiner_expires_late_parts_when_full():
    """At the same moment."""
    at = joiner(max_parts=1)
    late, new = direct(1, at_s=5.0), direct(2)
    add(at, late)
    (first, refused), (second, decision) = at.add(new, now_s=5.0, gateway_connected=True)
    assert (first, second, decision) == (late, new, Wait())
    assert isinstance(refused.error, DeadlineExceeded)


class AnyOrder(RuleBasedStateMachine):
    """After every step each part that arrived is in exactly one place: pending, run, or ended."""

    MAX_PARTS, MAX_BYTES = 3, 60

    numbers = st.integers(0, 3)
    attempts = st.integers(0, 2)
    origins = st.sampled_from("gh")

    @initialize()
    def begin(self):
        self.at = joiner(self.MAX_PARTS, self.MAX_BYTES, direct=("u", "v"))
        self.now_s = 0.0
        self.serial = 0
        self.waiting = {}
        self.ran = []
        self.ended = []
        self.arrived = []

    def label(self, size):
        """Bytes that no other part has, of at least this length."""
        self.serial += 1
        return str(self.serial).encode().ljust(size, b".")

    def carry_out(self, decisions):
        for about, decision in decisions:
            if isinstance(decision, Wait):
                assert (about.key.origin, about.key.number) not in self.waiting
                self.waiting[about.key.origin, about.key.number] = about
            elif isinstance(decision, Run):
                self.ran.append((bytes(about.tensors["h"].data), bytes(about.tensors["u"].data), about.key))
                del self.waiting[about.key.origin, about.key.number]
            else:
                self.ended.append(label_of(about))
                if self.waiting.get((about.key.origin, about.key.number)) is about:
                    del self.waiting[about.key.origin, about.key.number]

    @rule(
        origin=origins,
        number=numbers,
        attempt=attempts,
        is_direct=st.booleans(),
        size=st.integers(0, 80),
        remaining_s=st.one_of(st.just(math.inf), st.integers(1, 5)),
        gateway_connected=st.sampled_from([True, True, True, False]),
    )
    def a_part_arrives(self, origin, number, attempt, is_direct, size, remaining_s, gateway_connected):
        make = direct if is_direct else main
        part = make(number, self.label(size), origin=origin, attempt=attempt, at_s=self.now_s + remaining_s)
        self.arrived.append(label_of(part))
        before = self.waiting.get((origin, number))
        decisions = self.at.add(part, now_s=self.now_s, gateway_connected=gateway_connected)
        (about, decision) = decisions[-1]
        if before is not None and before.key == part.key and before.is_direct != is_direct:
            assert decisions == [(about, Run())]
            assert {label_of(before), label_of(part)} == {
                bytes(about.tensors["h"].data),
                bytes(about.tensors["u"].data),
            }
        elif before is not None and before.key.attempt > attempt:
            assert decisions == [(part, Drop())]
        else:
            assert about is part
            if before is not None:
                assert decisions[0] == (before, Drop())
            others = [
                each
                for each in self.waiting.values()
                if each is not before and each.deadline.at_s > self.now_s
            ]
            is_full = len(others) >= self.MAX_PARTS or (
                others and sum(each.num_bytes for each in others) + part.num_bytes > self.MAX_BYTES
            )
            if not gateway_connected:
                assert decision == Drop()
            elif is_full:
                assert isinstance(decision.error, Overloaded)
            else:
                assert decision == Wait()
        self.carry_out(decisions)

    @rule(origin=origins, number=numbers, attempt=attempts, is_direct=st.booleans())
    def a_part_arrives_that_does_not_fit(self, origin, number, attempt, is_direct):
        held = {"u": tensor("u", self.label(0))} | ({"z": tensor("z")} if is_direct else {})
        part = request(number, origin=origin, attempt=attempt, direct=is_direct, tensors=held)
        ((about, decision),) = self.at.add(part, now_s=self.now_s, gateway_connected=True)
        assert about is part
        assert isinstance(decision.error, CorruptData)

    @rule(origin=origins, number=numbers, attempt=attempts)
    def an_attempt_is_cancelled(self, origin, number, attempt):
        key = RequestKey(origin, number, attempt)
        before = self.waiting.get((origin, number))
        decisions = self.at.cancel(key)
        assert decisions == ([(before, Drop())] if before is not None and before.key == key else [])
        self.carry_out(decisions)

    @precondition(lambda self: self.waiting)
    @rule(passed_s=st.integers(0, 4))
    def time_passes(self, passed_s):
        self.now_s += passed_s
        late = [part for part in self.waiting.values() if part.deadline.at_s <= self.now_s]
        decisions = self.at.expire(self.now_s)
        assert [part for part, _ in decisions] == late
        assert all(isinstance(decision.error, DeadlineExceeded) for _, decision in decisions)
        self.carry_out(decisions)
        assert self.at.earliest_s > self.now_s

    @rule(origin=origins)
    def a_gateway_is_lost(self, origin):
        decisions = self.at.drop_gateway(origin)
        assert {decision for _, decision in decisions} <= {Drop()}
        self.carry_out(decisions)
        assert all(lost != origin for lost, _ in self.waiting)

    @rule()
    def the_stage_is_evicted(self):
        error = Unavailable("evicted")
        decisions = self.at.refuse_all(error)
        assert {decision for _, decision in decisions} <= {Refuse(error)}
        self.carry_out(decisions)
        assert not self.waiting

    @invariant()
    def what_waits_is_counted_and_bounded(self):
        if not hasattr(self, "at"):
            return
        assert len(self.at) == len(self.waiting) <= self.MAX_PARTS
        assert self.at.num_bytes == sum(part.num_bytes for part in self.waiting.values())
        assert self.at.num_bytes <= self.MAX_BYTES or len(self.waiting) == 1
        assert self.at.earliest_s == min(
            (part.deadline.at_s for part in self.waiting.values()), default=math.inf
        )

    @invariant()
    def every_part_is_in_one_place(self):
        if not hasattr(self, "at"):
            return
        waiting = [label_of(part) for part in self.waiting.values()]
        ran = [label for run in self.ran for label in run[:2]]
        assert sorted(waiting + ran + self.ended) == sorted(self.arrived)


def label_of(part):
    return bytes(part.tensors["u" if part.is_direct else "h"].data)


TestPartJoiner = AnyOrder.TestCase


def test_part_joiner_reports_a_replaced_part_beside_those_that_expire():
    """Parts whose deadline has passed make place for a newer attempt, whose older one is dropped all the same."""
    at = joiner(max_bytes=100)
    late, old, new = main(1, b"x" * 90, at_s=1.0), main(2), main(2, b"x" * 50, attempt=1)
    add(at, late)
    add(at, old)
    dropped, expired, added = at.add(new, now_s=2.0, gateway_connected=True)
    assert (dropped, added) == ((old, Drop()), (new, Wait()))
    assert expired[0] is late
    assert isinstance(expired[1].error, DeadlineExceeded)
    assert at.num_bytes == new.num_bytes
