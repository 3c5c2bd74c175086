"""What becomes of the requests of a run, counted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import inf

import numpy as np

from benchmarks.simulate.scenario import SLO_S


@dataclass(slots=True, eq=False)
class Request:
    """One request.

    Attributes:
        zone: Number of the zone that it came up in.
        begun_s: When.
        deadline_s: When the answer is too late.
        counts: Whether it comes after the warm-up.
        is_over: Whether it was answered, refused or given up.
    """

    zone: int
    begun_s: float
    deadline_s: float
    counts: bool
    is_over: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a scenario came to.

    Attributes:
        chooser: Who chose.
        p50_s: Median latency of the requests that were answered.
        p99_s: Their 99th percentile.
        goodput: Share of all requests that were answered within the SLO.
        failed: Share that was not answered: refused, late, or out of attempts.
        cross_zone: Share of all bytes that crossed from zone to zone.
        num_requests: How many were counted.
        num_failed: How many of them were not answered.
        spilled: Of the answered requests of the first zone the share that ran, wholly or in part, in another.
        throughput: Answers per second, from the first request to the last answer, as a fraction of the capacity of all workers.
        num_restarted: Workers that were drained and restarted.
    """

    chooser: str
    p50_s: float
    p99_s: float
    goodput: float
    failed: float
    cross_zone: float
    num_requests: int
    num_failed: int
    spilled: float
    throughput: float
    num_restarted: int


class RequestCounters:
    """Counts requests, each of which must be over once.

    Args:
        num_warm_up: So many come first and do not count.
        num_counted: So many come then.
        all_over: Called when every one of them is over.
        progress: Called after every thousand requests.
    """

    def __init__(
        self,
        num_warm_up: int,
        num_counted: int,
        all_over: Callable[[], object],
        progress: Callable[[int], None],
    ) -> None:
        self._num_warm_up, self._num_counted = num_warm_up, num_counted
        self._all_over = all_over
        self._progress = progress
        self._num_begun = self._num_over = 0
        self._latencies: list[float] = []
        self._num_good = self._num_failed = 0
        self._bytes = self._cross_bytes = 0
        self._num_first_zone = self._num_spilled = 0
        self._first_s, self._last_s = inf, 0.0

    def begin(self, zone: int, now_s: float, deadline_s: float) -> Request | None:
        """Returns the next request; None: all have begun."""
        if self._num_begun == self._num_warm_up + self._num_counted:
            return None
        self._num_begun += 1
        counts = self._num_begun > self._num_warm_up
        if counts:
            self._first_s = min(self._first_s, now_s)
        return Request(zone, now_s, deadline_s, counts)

    def sent(self, request: Request, num_bytes: int, *, crosses: bool) -> None:
        """Records that bytes of a request were sent, within a zone or across."""
        if request.counts:
            self._bytes += num_bytes
            self._cross_bytes += num_bytes * crosses

    def answered(self, request: Request, now_s: float, *, spilled: bool) -> None:
        """Records that a request was answered, and whether by another zone than that of its gateway."""
        if request.counts:
            latency_s = now_s - request.begun_s
            self._latencies.append(latency_s)
            self._num_good += latency_s <= SLO_S
            self._last_s = now_s
            self._num_first_zone += request.zone == 0
            self._num_spilled += spilled and request.zone == 0
        self._over(request)

    def failed(self, request: Request) -> None:
        """Records that a request was refused or failed for good."""
        self._num_failed += request.counts
        self._over(request)

    def outcome(self, chooser: str, capacity_per_s: float, num_restarted: int) -> Outcome:
        """Returns what it came to."""
        latencies = np.array(self._latencies) if self._latencies else np.array([inf])
        return Outcome(
            chooser=chooser,
            p50_s=float(np.percentile(latencies, 50)),
            p99_s=float(np.percentile(latencies, 99)),
            goodput=self._num_good / self._num_counted,
            failed=self._num_failed / self._num_counted,
            cross_zone=self._cross_bytes / max(1, self._bytes),
            num_requests=self._num_counted,
            num_failed=self._num_failed,
            spilled=self._num_spilled / max(1, self._num_first_zone),
            throughput=len(self._latencies) / max(1e-9, self._last_s - self._first_s) / capacity_per_s,
            num_restarted=num_restarted,
        )

    def _over(self, request: Request) -> None:
        if request.is_over:
            raise AssertionError("a request is over for the second time")
        request.is_over = True
        self._num_over += 1
        if self._num_over % 1000 == 0:
            self._progress(1000)
        if self._num_over == self._num_warm_up + self._num_counted:
            self._all_over()
