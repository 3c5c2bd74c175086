"""What gateways and workers tell Prometheus of the tensors that they send to other hosts."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from onnxmesh.rpc.link.compressor import Compressor


class CompressionMetrics(Collector):
    """Bytes of large tensors before and after, for each peer; those of one whose last link has ended are gone.

    Args:
        registry: Where they are told.
        compressor: Counts them.
    """

    def __init__(self, registry: CollectorRegistry, compressor: Compressor) -> None:
        self._compressor = compressor
        registry.register(self)

    def collect(self) -> Iterable[Metric]:
        """Yields them."""
        labels = ["peer", "encoding"]
        before = CounterMetricFamily(
            "onnxmesh_compression_tensor_bytes",
            "Bytes of the elements of large tensors that were sent to other hosts.",
            labels=labels,
        )
        after = CounterMetricFamily(
            "onnxmesh_compression_wire_bytes", "What of these bytes went over the wire.", labels=labels
        )
        for sent in self._compressor.sent_tensors():
            before.add_metric([sent.peer, sent.encoding], sent.tensor_bytes)
            after.add_metric([sent.peer, sent.encoding], sent.wire_bytes)
        yield from (before, after)
