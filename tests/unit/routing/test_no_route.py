"""Why there is no route for a request, and when to retry."""

from __future__ import annotations

import pytest

from onnxmesh.routing.no_route import NoRoute
from onnxmesh.routing.route_query import RouteQuery
from onnxmesh.routing.selectors.selector_text import parse_selector
from tests.unit.routing.policy_bench import Bench, in_zone


@pytest.fixture
def bench():
    return Bench(in_zone("a", "b"), attributes={"a": {"gpu": "h100"}})


def test_no_route_is_unsatisfiable_only_where_no_replica_meets_the_selector(bench):
    found = bench.route(RouteQuery(require=parse_selector("gpu=t4")))
    assert isinstance(found, NoRoute)
    assert found.is_unsatisfiable
    excluded = bench.route(RouteQuery(require=parse_selector("gpu=h100"), excluded={"a"}))
    assert not excluded.is_unsatisfiable
    assert not bench.route(RouteQuery(excluded={"a", "b"})).is_unsatisfiable


def test_no_route_for_a_deadline_has_a_retry_delay(bench):
    bench.measure({"a": 0.5, "b": 0.8})
    query = RouteQuery(remaining_s=0.2)
    bench.pick(query)  # one request per probe period is sent all the same
    found = bench.route(query)
    assert found.is_late
    assert found.retry_after_s == pytest.approx(found.decision.soonest_s - 0.2)
    assert found.retry_after_s > 0
