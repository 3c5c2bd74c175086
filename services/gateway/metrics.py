"""What a gateway tells Prometheus."""

from __future__ import annotations

from collections.abc import Iterable
from time import monotonic
from types import TracebackType

import grpc
from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from onnxmesh.deadline import Clock
from onnxmesh.errors import MeshError
from onnxmesh.routing.member import ModelKey
from onnxmesh.routing.routed_model import RoutedModel
from onnxmesh.routing.table import EMPTY_TABLE
from services.gateway.admission import Admission
from services.gateway.contact import Contact
from services.gateway.dispatcher import Dispatcher
from services.gateway.route_watch import RouteWatch
from services.gateway.router import Router

BUCKETS_S = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0)
"""Upper bounds of the histogram of durations."""


class RequestMetrics:
    """Counts requests as they end.

    Label values are bound once for each model version: a request pays for two additions and no lookup by text.

    Args:
        registry: Where the figures are told.
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
            "From the arrival of an inference request to its end, whichever it was.",
            ["model", "version"],
            buckets=BUCKETS_S,
            registry=registry,
        )
        self._bound: dict[ModelKey | None, _Bound] = {}

    def request(self) -> Request:
        """Returns the context that a request runs in."""
        return Request(self, self._clock)

    def ended(self, model: RoutedModel | None, duration_s: float, error: BaseException | None) -> None:
        """Takes the end of a request.

        Args:
            model: What it asked for; None: that was not known yet.
            duration_s: How long it took.
            error: What it ended with; None: it was answered.
        """
        key = None if model is None else (model.name, model.version)
        bound = self._bound.get(key)
        if bound is None:
            bound = self._bound[key] = _Bound(key, self._requests, self._durations)
        bound.ended(_code(error), duration_s)

    def forget(self, gone: Iterable[ModelKey]) -> None:
        """Drops the figures of models that are no longer deployed."""
        for key in gone:
            bound = self._bound.pop(key, None)
            if bound is not None:
                bound.remove()


class Request:
    """One request, from its arrival to its end.

    Attributes:
        model: What it asks for, as soon as that is known.
    """

    __slots__ = ("_began_s", "_clock", "_metrics", "model")

    def __init__(self, metrics: RequestMetrics, clock: Clock) -> None:
        self._metrics = metrics
        self._clock = clock
        self._began_s = clock()
        self.model: RoutedModel | None = None

    def __enter__(self) -> Request:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._metrics.ended(self.model, self._clock() - self._began_s, error)


class GatewayMetrics(Collector):
    """Figures that the gateway has anyway, read when Prometheus asks.

    Args:
        registry: Where they are told.
        admission: Counts what runs.
        dispatcher: Counts attempts.
        router: Knows who is left alone.
        watch: Has the route table.
        contact: Knows whether it is fresh.
    """

    def __init__(
        self,
        registry: CollectorRegistry,
        admission: Admission,
        dispatcher: Dispatcher,
        router: Router,
        watch: RouteWatch,
        contact: Contact,
    ) -> None:
        self._admission = admission
        self._dispatcher = dispatcher
        self._router = router
        self._watch = watch
        self._contact = contact
        registry.register(self)

    def collect(self) -> Iterable[Metric]:
        """Yields them."""
        table = self._watch.table or EMPTY_TABLE
        yield GaugeMetricFamily(
            "onnxmesh_gateway_requests_in_flight",
            "Inference requests that were admitted and have not ended.",
            value=self._admission.num_running,
        )
        yield CounterMetricFamily(
            "onnxmesh_gateway_attempts_retried",
            "Attempts that followed another one of the same request.",
            value=self._dispatcher.num_retried,
        )
        yield GaugeMetricFamily(
            "onnxmesh_gateway_replicas_ejected",
            "Replicas that get no requests for a while: they fail, or are far slower than their peers.",
            value=self._router.num_ejected,
        )
        yield GaugeMetricFamily(
            "onnxmesh_gateway_route_table_epoch",
            "Epoch of the route table in force; 0: none has come yet.",
            value=table.epoch,
        )
        yield GaugeMetricFamily(
            "onnxmesh_gateway_route_table_models",
            "Versions of models in the route table.",
            value=len(table.models),
        )
        yield GaugeMetricFamily(
            "onnxmesh_gateway_route_table_workers",
            "Workers in the route table.",
            value=len(table.workers),
        )
        yield GaugeMetricFamily(
            "onnxmesh_gateway_route_table_stale",
            "1 while no scheduler tells of changes to the route table, and the last one is served on; else 0.",
            value=self._contact.is_stale,
        )
        yield GaugeMetricFamily(
            "onnxmesh_gateway_scheduler_unheard_seconds",
            "Time since the stream of a scheduler was lost; 0 while one is followed.",
            value=self._contact.alone_s,
        )


class _Bound:
    """The figures of one model version, with their labels bound."""

    def __init__(self, key: ModelKey | None, requests: Counter, durations: Histogram) -> None:
        self._labels = ("", "") if key is None else (key[0], str(key[1]))
        self._requests = requests
        self._durations = durations
        self._by_code: dict[str, Counter] = {}
        self._observe = durations.labels(*self._labels).observe

    def ended(self, code: str, duration_s: float) -> None:
        counter = self._by_code.get(code)
        if counter is None:
            counter = self._by_code[code] = self._requests.labels(*self._labels, code)
        counter.inc()
        self._observe(duration_s)

    def remove(self) -> None:
        for code in self._by_code:
            self._requests.remove(*self._labels, code)
        self._durations.remove(*self._labels)


def _code(error: BaseException | None) -> str:
    if error is None:
        return "OK"
    if isinstance(error, MeshError):
        return error.code.name
    # Cancellation is no Exception; whatever else leaves a servicer is masked.
    return (grpc.StatusCode.INTERNAL if isinstance(error, Exception) else grpc.StatusCode.CANCELLED).name
