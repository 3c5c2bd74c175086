"""Prometheus metrics of inference requests: counts by status, and durations."""

from __future__ import annotations

from collections.abc import Iterable
from time import monotonic
from types import TracebackType

import grpc
from prometheus_client import CollectorRegistry, Counter, Histogram

from onnxmesh.deadline import Clock
from onnxmesh.errors import MeshError
from onnxmesh.ids import ModelKey
from onnxmesh.routing.table.routed_model import RoutedModel

BUCKETS_S = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0)
"""Upper bounds of the histogram of durations."""


class RequestMetrics:
    """Counts ended requests by status, and measures their durations.

    Label values are bound once for each model version: a request costs two additions and no lookup of labels.

    Args:
        registry: Of Prometheus.
        clock: Seconds, monotonic.
    """

    def __init__(self, registry: CollectorRegistry, clock: Clock = monotonic) -> None:
        self._clock = clock
        self._requests = Counter(
            "onnxmesh_gateway_requests",
            "Inference requests that have ended, by the gRPC status that the client was given. "
            "A request that ended before its model was known has no model and no version.",
            ["model", "version", "code"],
            registry=registry,
        )
        self._durations = Histogram(
            "onnxmesh_gateway_request_duration_seconds",
            "From the arrival of an inference request to its response or error.",
            ["model", "version"],
            buckets=BUCKETS_S,
            registry=registry,
        )
        self._bound: dict[ModelKey | None, _BoundMetrics] = {}

    def measure(self) -> RequestMeasurement:
        """Returns the context that a request runs in."""
        return RequestMeasurement(self, self._clock)

    def observe(self, model: RoutedModel | None, duration_s: float, error: BaseException | None) -> None:
        """Records the end of a request.

        Args:
            model: Its model; None: it ended before that was known.
            duration_s: From its arrival to its end.
            error: What it failed with; None: it has a result.
        """
        key = None if model is None else (model.name, model.version)
        bound = self._bound.get(key)
        if bound is None:
            bound = self._bound[key] = _BoundMetrics(key, self._requests, self._durations)
        bound.observe(_code(error), duration_s)

    def remove(self, models: Iterable[ModelKey]) -> None:
        """Removes the time series of models that are no longer deployed."""
        for key in models:
            bound = self._bound.pop(key, None)
            if bound is not None:
                bound.remove()


class RequestMeasurement:
    """Measures one request, from its arrival to its end.

    Attributes:
        model: Its model, as soon as that is known.
    """

    __slots__ = ("_began_s", "_clock", "_metrics", "model")

    def __init__(self, metrics: RequestMetrics, clock: Clock) -> None:
        self._metrics = metrics
        self._clock = clock
        self._began_s = clock()
        self.model: RoutedModel | None = None

    def __enter__(self) -> RequestMeasurement:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._metrics.observe(self.model, self._clock() - self._began_s, error)


class _BoundMetrics:
    """The metrics of one model version, with their labels bound."""

    def __init__(self, key: ModelKey | None, requests: Counter, durations: Histogram) -> None:
        self._labels = ("", "") if key is None else (key[0], str(key[1]))
        self._requests = requests
        self._durations = durations
        self._by_code: dict[str, Counter] = {}
        self._observe_duration = durations.labels(*self._labels).observe

    def observe(self, code: str, duration_s: float) -> None:
        counter = self._by_code.get(code)
        if counter is None:
            counter = self._by_code[code] = self._requests.labels(*self._labels, code)
        counter.inc()
        self._observe_duration(duration_s)

    def remove(self) -> None:
        for code in self._by_code:
            self._requests.remove(*self._labels, code)
        self._durations.remove(*self._labels)


def _code(error: BaseException | None) -> str:
    if error is None:
        return "OK"
    if isinstance(error, MeshError):
        return error.code.name
    # Cancellation is no Exception; any other exception of a servicer is masked.
    return (grpc.StatusCode.INTERNAL if isinstance(error, Exception) else grpc.StatusCode.CANCELLED).name
