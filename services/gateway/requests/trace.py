"""The trace of one request: where its time went, and on which workers."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from onnxmesh.v1.frame_pb2 import HopTiming


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """Where the time of one answered request went.

    Attributes:
        total_us: Microseconds from the dispatch of the request to its result.
        attempts: Number of routes tried, at least 1.
        hops: What each worker of the last route measured.
        return_us: Microseconds from the last worker's clock to the gateway's, at least 0.
        num_micro_batches: Number of micro-batches that the request was split into; 1: it was whole.
    """

    total_us: float
    attempts: int
    hops: tuple[HopTiming, ...]
    return_us: float
    num_micro_batches: int = 1

    @classmethod
    def of(
        cls,
        total_s: float,
        attempts: int,
        hops: Iterable[HopTiming],
        *,
        sent_unix_ns: int,
        received_unix_ns: int,
    ) -> Trace:
        """Returns the trace of a result that the last worker sent and this gateway received at the times given."""
        return cls(
            total_us=total_s * 1e6,
            attempts=attempts,
            hops=tuple(hops),
            return_us=max(0, received_unix_ns - sent_unix_ns) / 1e3,
        )

    @classmethod
    def merged(cls, total_s: float, traces: Sequence[Trace]) -> Trace:
        """Returns the trace of a request from those of its micro-batches, at least one.

        See `_merged_hop` for each hop; attempts and the time of return are the largest.
        """
        return cls(
            total_us=total_s * 1e6,
            attempts=max(trace.attempts for trace in traces),
            # A micro-batch that was tried again after the model was planned again may have passed other stages.
            hops=tuple(_merged_hop(hops) for hops in zip(*(trace.hops for trace in traces), strict=False)),
            return_us=max(trace.return_us for trace in traces),
            num_micro_batches=len(traces),
        )

    def to_json(self) -> str:
        """Returns the value of the response parameter `mesh.trace`."""
        return json.dumps(
            {
                "total_us": round(self.total_us, 1),
                "attempts": self.attempts,
                "hops": [
                    {
                        "stage": hop.stage,
                        "worker": hop.worker,
                        "queue_us": hop.queue_ns / 1e3,
                        "compute_us": hop.compute_ns / 1e3,
                        "wire_us": hop.wire_ns / 1e3,
                        "batch": max(1, hop.batch),
                        "plain_bytes": hop.plain_bytes,
                        "wire_bytes": hop.wire_bytes,
                    }
                    for hop in self.hops
                ],
                "return_us": self.return_us,
                "pieces": self.num_micro_batches,
            },
            separators=(",", ":"),
        )


def _merged_hop(timings: Sequence[HopTiming]) -> HopTiming:
    """Returns the timing of a hop from those of the micro-batches that passed it.

    Computing time, rows and bytes are sums; times in the queue and on the wire, the batch size and the expected wait are the
    largest. Every other field, the worker among them, is that of the first micro-batch.
    """
    merged = HopTiming()
    merged.CopyFrom(timings[0])
    for timing in timings[1:]:
        merged.compute_ns += timing.compute_ns
        merged.rows += timing.rows
        merged.tensor_bytes += timing.tensor_bytes
        merged.plain_bytes += timing.plain_bytes
        merged.wire_bytes += timing.wire_bytes
        merged.queue_ns = max(merged.queue_ns, timing.queue_ns)
        merged.wire_ns = max(merged.wire_ns, timing.wire_ns)
        merged.batch = max(merged.batch, timing.batch)
        if timing.HasField("expected_wait_us"):
            merged.expected_wait_us = max(merged.expected_wait_us, timing.expected_wait_us)
    return merged
