"""Metrics of compression."""

from __future__ import annotations

from prometheus_client import CollectorRegistry

from onnxmesh.rpc.link.compression_metrics import CompressionMetrics
from onnxmesh.v1.frame_pb2 import SentTensors


class Counters:
    """Stands for a compressor that has counted."""

    def __init__(self):
        self.sent = []

    def sent_tensors(self):
        return self.sent


def test_compression_metrics_have_one_sample_for_each_peer_and_encoding():
    """With the bytes before and after; a peer that was removed has none."""
    counters, registry = Counters(), CollectorRegistry()
    CompressionMetrics(registry, counters)
    counters.sent = [SentTensors(peer="far", encoding="zstd", tensor_bytes=100, wire_bytes=40)]

    def value(name):
        labels = {"peer": "far", "encoding": "zstd"}
        return registry.get_sample_value(f"onnxmesh_compression_{name}_bytes_total", labels)

    assert (value("tensor"), value("wire")) == (100, 40)
    counters.sent = []
    assert (value("tensor"), value("wire")) == (None, None)
