"""Prometheus metrics of the tensors that gateways and workers send to other hosts."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from onnxmesh.rpc.link.compressor import Compressor


class CompressionMetrics(Collector):
    """Bytes of large tensors before and after compression, by peer and encoding. Removed with the peer's last link.

    Args:
        registry: Where they are registered.
        compressor: Counts the bytes.
    """

    def __init__(self, registry: CollectorRegistry, compressor: Compressor) -> None:
        self._compressor = compressor
        registry.register(self)

    def collect(self) -> Iterable[Metric]:
        """Yields both metrics."""
        labels = ["peer", "encoding"]
        before = CounterMetricFamily(
            "onnxmesh_compression_tensor_bytes",
            "Bytes of large tensors sent to other hosts, before compression.",
            labels=labels,
        )
        after = CounterMetricFamily(
            "onnxmesh_compression_wire_bytes",
            "Bytes of large tensors sent to other hosts, as sent.",
            labels=labels,
        )
        for sent in self._compressor.sent_tensors():
            before.add_metric([sent.peer, sent.encoding], sent.tensor_bytes)
            after.add_metric([sent.peer, sent.encoding], sent.wire_bytes)
        yield from (before, after)
