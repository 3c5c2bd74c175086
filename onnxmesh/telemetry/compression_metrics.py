"""What compression spares, for Prometheus."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from onnxmesh.rpc.compressor import Compressor


class CompressionMetrics(Collector):
    """Bytes of large tensors that were sent to other hosts, before and after.

    Args:
        registry: Where they are told.
        service: `gateway` or `worker`; part of the names.
        compressor: Counts them.
    """

    def __init__(self, registry: CollectorRegistry, service: str, compressor: Compressor) -> None:
        self._prefix = f"onnxmesh_{service}"
        self._compressor = compressor
        registry.register(self)

    def collect(self) -> Iterable[Metric]:
        """Yields them."""
        labels = ["peer", "encoding"]
        before = CounterMetricFamily(
            f"{self._prefix}_tensor_bytes",
            "Bytes of the elements of large tensors that were sent to other hosts.",
            labels=labels,
        )
        after = CounterMetricFamily(
            f"{self._prefix}_tensor_wire_bytes", "What of these bytes went over the wire.", labels=labels
        )
        for sent in self._compressor.sent():
            before.add_metric([sent.peer, sent.encoding], sent.num_bytes)
            after.add_metric([sent.peer, sent.encoding], sent.encoded_bytes)
        yield from (before, after)
