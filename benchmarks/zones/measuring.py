"""Measurements of two zones on hosts of their own, by their clients."""

from __future__ import annotations

import statistics
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any

from tests.fakes.service_processes import until
from tests.namespaces.clients import Clients, ran_by
from tests.namespaces.zone_mesh import ZoneMesh, zones

WARM_UP_S = 12.0
"""Longer than the slow start of a replica that is new to a gateway: ten seconds."""


@dataclass(frozen=True, slots=True)
class Shares:
    """Share of requests that were answered in their zone, with the same load in both.

    Attributes:
        in_flight: Requests in flight in each zone.
        of_a, of_b: The shares.
        num_requests: Number of counted requests.
    """

    in_flight: int
    of_a: float
    of_b: float
    num_requests: int


@dataclass(frozen=True, slots=True)
class Spill:
    """Throughput with everything sent to one zone, against both driven on their own.

    Attributes:
        in_flight: Requests in flight: all in one zone, or half in each.
        both_per_s: Both zones driven at once, each by clients of its own: median of the rounds.
        one_per_s: All driven through the gateway of one zone: median of the rounds.
        ratio: Median of the rounds' ratios.
        ratios: The ratio of each round.
        far_share: Share of the requests that spilled.
    """

    in_flight: int
    both_per_s: float
    one_per_s: float
    ratio: float
    ratios: tuple[float, ...]
    far_share: float


@dataclass(frozen=True, slots=True)
class Loss:
    """Disconnection of the near zone's worker.

    Attributes:
        gap_s: From the last answer of the near zone to the next answer of the other one.
        slowest_s: The slowest request from then on.
        num_failed: Requests that failed.
    """

    gap_s: float
    slowest_s: float
    num_failed: int


@contextmanager
def running(model: str) -> Iterator[ZoneMesh]:
    """Yields a mesh over two zones that serves a model, each worker on a core of its own."""
    with tempfile.TemporaryDirectory() as folder, zones(Path(folder), model, cores=(0, 1)) as mesh:
        yield mesh


def shares(mesh: ZoneMesh, model: str, in_flight: int, seconds: float) -> Shares:
    """Measures the share of local requests while both zones have the same load."""
    with mesh.clients("a", model, in_flight) as in_a, mesh.clients("b", model, in_flight) as in_b:
        _all(in_a, in_b)
        skip_a, skip_b = len(in_a.answers), len(in_b.answers)
        _passes(seconds)
    a, b = in_a.answers[skip_a:], in_b.answers[skip_b:]
    return Shares(
        in_flight, len(ran_by(a, "worker-a")) / len(a), len(ran_by(b, "worker-b")) / len(b), len(a) + len(b)
    )


def spill(mesh: ZoneMesh, model: str, in_flight: int, seconds: float, num_rounds: int) -> Spill:
    """Measures both zones separately, and one gateway for both, in turns."""
    both, one, far, total = [], [], 0, 0
    with mesh.clients("a", model, in_flight) as in_a, mesh.clients("b", model, in_flight) as in_b:
        _all(in_a, in_b)
        _passes(WARM_UP_S)
    for _ in range(num_rounds):
        # `mesh.require` drives each zone directly: nothing of it spills.
        with (
            mesh.clients("a", model, in_flight // 2, "mesh.require=zone=a") as in_a,
            mesh.clients("b", model, in_flight // 2, "mesh.require=zone=b") as in_b,
        ):
            _all(in_a, in_b)
            both.append(_rate(seconds, in_a, in_b))
        with mesh.clients("a", model, in_flight) as clients:
            _all(clients)
            before = len(clients.answers)
            one.append(_rate(seconds, clients))
            far += len(ran_by(clients.answers[before:], "worker-b"))
            total += len(clients.answers) - before
    ratios = tuple(alone / together for alone, together in zip(one, both, strict=True))
    return Spill(
        in_flight,
        statistics.median(both),
        statistics.median(one),
        statistics.median(ratios),
        ratios,
        far / total,
    )


def loss(mesh: ZoneMesh, model: str) -> Loss:
    """Disconnects the near worker under traffic, and connects it again."""
    # With one in flight nothing spills, which would hide the gap.
    with mesh.clients("a", model, 1) as clients:
        clients.wait_until(lambda answers: len(ran_by(answers, "worker-a")) >= 200)
        mesh.network.cut("worker-a")
        cut_at = monotonic()
        clients.wait_until(lambda answers: any(_is_of_b(each, cut_at) for each in answers))
        until(lambda: "worker-a" not in mesh.status(), timeout_s=60)
        answers = list(clients.answers)
        # Responses in flight at the disconnection are still the near zone's.
        last_at = max((each["at"] for each in ran_by(answers, "worker-a")), default=cut_at)
        first_at = min(each["at"] for each in answers if _is_of_b(each, last_at))
        slowest_s = max(each["took_s"] for each in answers if each["at"] > last_at)
        mesh.network.mend("worker-a")
        until(lambda: "worker-a" in mesh.status(), timeout_s=60)
        before = len(ran_by(clients.answers, "worker-a"))
        clients.wait_until(lambda found: len(ran_by(found, "worker-a")) >= before + 200)
    return Loss(first_at - last_at, slowest_s, len(clients.failures))


def _is_of_b(answer: dict[str, Any], since: float) -> bool:
    return answer["at"] > since and "worker-b" in answer["workers"]


def _all(*clients: Clients) -> None:
    """Returns once every client has had an answer."""
    for each in clients:
        each.wait_for(20)


def _rate(seconds: float, *clients: Clients) -> float:
    """Returns the total answers per second over some seconds."""
    before, began = sum(len(each.answers) for each in clients), monotonic()
    _passes(seconds)
    return (sum(len(each.answers) for each in clients) - before) / (monotonic() - began)


def _passes(seconds: float) -> None:
    threading.Event().wait(seconds)
