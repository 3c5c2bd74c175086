"""Errors of requests that have no route left."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from onnxmesh.errors import DeadlineExceeded, Overloaded, Unavailable, Unsatisfiable
from onnxmesh.routing.selectors.selector_text import parse_selector
from onnxmesh.routing.table.worker_facts import WorkerFacts
from services.gateway.requests.attempts import AttemptFailure
from services.gateway.requests.final_error import (
    MIN_RETRY_AFTER_S,
    after,
    deadline_unreachable,
    requirements_unsatisfied,
    routes_exhausted,
)


def failures(*errors):
    return [
        AttemptFailure(error=error, worker=worker, retriable=True)
        for error, worker in zip(errors, "abc", strict=False)
    ]


def test_routes_exhausted_names_every_failed_attempt():
    """In order; without any it is the reason alone."""
    error = routes_exhausted("failed", failures(Unavailable("lost"), Overloaded("full", retry_after_s=2.0)))
    assert error.message == "failed: worker 'a': lost; worker 'b': full"
    assert routes_exhausted("failed", []).message == "failed"
    assert type(routes_exhausted("failed", [])) is Unavailable


@pytest.mark.parametrize(
    ("errors", "expected"),
    [
        ([Overloaded("full", retry_after_s=0.5), Overloaded("full", retry_after_s=2.0)], (Overloaded, 2.0)),
        ([Overloaded("full")], (Overloaded, None)),
        ([Overloaded("full", retry_after_s=2.0), Unavailable("lost")], (Unavailable, None)),
        ([Unavailable("lost"), Overloaded("full", retry_after_s=2.0)], (Unavailable, None)),
    ],
)
def test_routes_exhausted_is_overloaded_where_every_attempt_was(errors, expected):
    """One other failure makes it unavailable: a client that comes back later may find another worker."""
    error = routes_exhausted("failed", failures(*errors))
    assert (type(error), error.retry_after_s) == expected


def no_route(**decision):
    return SimpleNamespace(
        stage=1, retry_after_s=decision.pop("retry_after_s", 0.0), decision=SimpleNamespace(**decision)
    )


def test_deadline_unreachable_names_both_times_and_the_delay():
    """It is DEADLINE_EXCEEDED, as if the deadline had passed; the delay is never zero, the remaining time never negative."""
    query = SimpleNamespace(remaining_s=-0.5)
    found = no_route(soonest_s=1.2, query=query)
    error = deadline_unreachable("m", found, failures(Unavailable("lost")))
    assert error.message == (
        "m: no replica of stage 1 can be done in time after 1 failed attempt: "
        "the first would take 1.20 s, 0 s remain"
    )
    assert type(error) is DeadlineExceeded
    assert error.retry_after_s == MIN_RETRY_AFTER_S
    query.remaining_s = 0.025
    assert deadline_unreachable("m", found, []).message.endswith("would take 1.20 s, 25.0 ms remain")
    found.retry_after_s = 0.7
    assert deadline_unreachable("m", found, []).retry_after_s == 0.7


def test_requirements_unsatisfied_names_what_workers_lack():
    """As many as a list has; the others are counted."""
    replicas = [
        SimpleNamespace(worker=f"w{index}", facts=WorkerFacts(("spot",), {"zone": "eu"}))
        for index in range(1000)
    ]
    query = SimpleNamespace(require=parse_selector("spot,gpu"))
    error = requirements_unsatisfied("m", no_route(stage=SimpleNamespace(replicas=replicas), query=query))
    assert type(error) is Unsatisfiable
    assert error.message.startswith(
        "m: no worker of stage 1 satisfies 'spot, gpu': w0 lacks gpu; w1 lacks gpu; "
    )
    named = error.message.count("lacks")
    assert 5 < named < 40
    assert error.message.endswith(f" … and {1000 - named} more")


def test_after_counts_failed_attempts():
    """Nothing without any."""
    lost = Unavailable("lost")
    assert [after(failures(*[lost] * num)) for num in range(3)] == [
        "",
        " after 1 failed attempt",
        " after 2 failed attempts",
    ]
