"""Credit between stages: in-flight requests stay bounded, and no pipeline deadlocks."""

from __future__ import annotations

from collections import Counter
from functools import partial

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from onnxmesh.errors import Overloaded
from onnxmesh.ids import StageKey, WorkerId
from onnxmesh.rpc.link_policy.credits import MIN_REQUESTS, Credit, Credits
from services.worker.queueing.stage_queue import StageQueue
from tests.eventually import eventually
from tests.fakes.gated_session import GatedSession
from tests.unit.worker.running_stage import joining, running
from tests.unit.worker.stage_requests import direct_part, last, main_part, rows
from tests.unit.worker.stage_requests import rule as batch_rule

NEXT = (WorkerId("b"), StageKey("m/1/1"))
MAX_ROWS = 2


class Pipelines(RuleBasedStateMachine):
    """Stages on workers, in any order and several on one, with the queues and the credit of real ones.

    Frames may be delayed, requests cancelled and links lost at any time.
    """

    @initialize(
        places=st.lists(st.sampled_from("abc"), min_size=2, max_size=4),
        num_bytes=st.sampled_from([1, 3, 10]),
    )
    def deploy(self, places, num_bytes):
        self.places = [WorkerId(place) for place in places]
        self.num_bytes = num_bytes
        self.credits = {worker: Credits(window_bytes=6) for worker in "abc"}
        self.queues = [StageQueue(1000, batch_rule(MAX_ROWS)) for _ in places]
        self.wire: list[tuple[int, int, Credit | None]] = []
        self.credit: dict[tuple[int, int], Credit] = {}
        self.returns: list[tuple[WorkerId, tuple[WorkerId, StageKey], int]] = []
        self.generation = Counter()
        self.number = 0

    def next_stage(self, index):
        return self.places[index], StageKey(f"m/1/{index}")

    @rule(count=st.integers(1, 8))
    def send_requests(self, count):
        for _ in range(count):
            self.number += 1
            self.queues[0].put(rows(self.number, 1))

    @precondition(lambda self: any(self.queues))
    @rule(data=st.data())
    def run_a_stage(self, data):
        self.run_stage(data.draw(st.sampled_from([i for i, queue in enumerate(self.queues) if queue])))

    def run_stage(self, index):
        """Returns whether anything ran; what did leaves for the next stage."""
        last = index + 1 == len(self.places)
        held = self.credits[self.places[index]]
        capacity = None if last else (lambda _: held.headroom(self.next_stage(index + 1)))
        taken = self.queues[index].take(capacity)
        for request in taken:
            self.ended(request.key.number, index)
            if not last:
                held.take(self.next_stage(index + 1), self.num_bytes)
                credit = Credit(partial(self.send_back, self.places[index], self.next_stage(index + 1)))
                self.wire.append((request.key.number, index + 1, credit))
        return bool(taken)

    def ended(self, number, index):
        if (credit := self.credit.pop((number, index), None)) is not None:
            credit.give_back()

    def send_back(self, sender, next_stage):
        self.returns.append((sender, next_stage, self.generation[sender, next_stage[0]]))

    @precondition(lambda self: self.wire)
    @rule(data=st.data())
    def a_frame_arrives(self, data):
        self.arrive(data.draw(st.integers(0, len(self.wire) - 1)))

    def arrive(self, position):
        number, index, credit = self.wire.pop(position)
        self.credit[number, index] = credit
        self.queues[index].put(rows(number, 1))

    @precondition(lambda self: self.returns)
    @rule(data=st.data())
    def a_credit_returns(self, data):
        self.take_return(data.draw(st.integers(0, len(self.returns) - 1)))

    def take_return(self, position):
        sender, next_stage, generation = self.returns.pop(position)
        if generation == self.generation[sender, next_stage[0]]:
            self.credits[sender].give_back(next_stage, self.num_bytes)

    @precondition(lambda self: self.credit)
    @rule(data=st.data())
    def a_request_is_cancelled(self, data):
        number, index = data.draw(st.sampled_from(sorted(self.credit)))
        assert self.queues[index].discard(rows(number, 1).key) is not None
        self.ended(number, index)

    @rule(sender=st.sampled_from("abc"), receiver=st.sampled_from("abc"))
    def a_link_is_lost(self, sender, receiver):
        """With what is on it; what has arrived runs on, and its credit is void."""
        if sender == receiver:
            return
        self.generation[sender, receiver] += 1
        self.credits[sender].remove_worker(receiver)
        self.wire = [
            each
            for each in self.wire
            if (self.places[each[1] - 1], self.places[each[1]]) != (sender, receiver)
        ]

    @invariant()
    def no_more_is_under_way_than_a_window_and_one_run(self):
        most = max(6 // self.num_bytes, MIN_REQUESTS)
        for index in range(1, len(self.places)):
            sender = self.credits[self.places[index - 1]]
            under_way, _ = sender.in_flight(self.next_stage(index))
            assert under_way <= max(most, MAX_ROWS)

    def teardown(self):
        """Every request ends, and all credit has been returned."""
        if not hasattr(self, "places"):
            return
        while any(self.queues) or self.wire or self.returns:
            while self.wire:
                self.arrive(0)
            while self.returns:
                self.take_return(0)
            ran = [self.run_stage(index) for index, queue in enumerate(self.queues) if queue]
            assert any(ran) or not ran, "all stages wait for each other"
        for worker, held in self.credits.items():
            for index in range(1, len(self.places)):
                assert held.in_flight(self.next_stage(index)) == (0, 0), worker


TestPipelines = Pipelines.TestCase
TestPipelines.settings = settings(max_examples=60, stateful_step_count=40)


class Lender:
    """Gives requests credit, and records which was returned."""

    def __init__(self):
        self.returned = []

    def __call__(self, number):
        return Credit(partial(self.returned.append, number))


async def test_credit_is_returned_however_a_request_ends():
    """When it begins to run, is cancelled, arrives again, is refused, passed its deadline, lost its gateway, or its stage."""
    lent = Lender()
    async with running(queue_size=4) as stage:

        def offer(number, **more):
            stage.runner.submit(last(number, credit=lent(number), **more))

        offer(1)
        await eventually(lambda: stage.session.num_started == 1)
        assert lent.returned == [1]
        offer(2)
        offer(2)
        assert lent.returned == [1, 2]
        stage.cancel(2)
        assert lent.returned == [1, 2, 2]
        offer(3, at_s=5.0)
        for number in (4, 5, 6):
            offer(number, origin="gateway" if number < 6 else "other")
        assert lent.returned[3:] == []
        with pytest.raises(Overloaded):
            offer(7)
        assert lent.returned[3:] == [7]
        stage.now_s = 6.0
        offer(8)
        assert lent.returned[4:] == [3]
        stage.runner.drop_gateway("other")
        assert lent.returned[5:] == [6]
    assert sorted(lent.returned[6:]) == [4, 5, 8]


async def test_credit_of_a_main_part_is_returned_when_both_parts_run():
    """Or when one of them ends; a direct part needs no credit."""
    lent = Lender()
    async with joining(GatedSession()) as stage:
        stage.runner.submit(main_part(1, credit=lent(1)))
        stage.runner.submit(direct_part(1))
        await eventually(lambda: stage.session.num_started == 1)
        assert lent.returned == [1]
        stage.runner.submit(direct_part(2))
        stage.runner.submit(main_part(2, credit=lent(2)))
        stage.runner.submit(main_part(3, credit=lent(3)))
        assert lent.returned == [1]
        stage.cancel(3)
        assert lent.returned == [1, 3]
        stage.session.release()
        await eventually(lambda: stage.session.num_started == 2)
        assert lent.returned == [1, 3, 2]
        stage.runner.submit(main_part(4, credit=lent(4)))
        stage.runner.refuse_parts()
        assert lent.returned == [1, 3, 2, 4]
