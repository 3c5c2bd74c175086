"""The way that one request took."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from onnxmesh.v1.frame_pb2 import HopTiming


@dataclass(frozen=True, slots=True)
class Trace:
    """Where the time of one answered request went.

    Attributes:
        total_us: Microseconds from the dispatch of the request to its answer.
        attempts: Routes tried, 1 at the least.
        hops: What each worker of the last route measured.
        return_us: Microseconds from the last worker's clock to the gateway's, 0 at the least.
        pieces: Micro-batches that the request was cut into; 1: none.
    """

    total_us: float
    attempts: int
    hops: tuple[HopTiming, ...]
    return_us: float
    pieces: int = 1

    @classmethod
    def of(
        cls,
        total_s: float,
        attempts: int,
        hops: Iterable[HopTiming],
        sent_unix_ns: int,
        received_unix_ns: int,
    ) -> Trace:
        """Returns the trace of an answer that left its worker and arrived at the times given."""
        return cls(
            total_us=total_s * 1e6,
            attempts=attempts,
            hops=tuple(hops),
            return_us=max(0, received_unix_ns - sent_unix_ns) / 1e3,
        )

    @classmethod
    def of_pieces(cls, total_s: float, pieces: Sequence[Trace]) -> Trace:
        """Returns the trace of a request from those of its micro-batches.

        Of each hop the time to compute is that of all together; times on the wire and in the queue are the longest, and so
        are attempts. The worker is that of the first.
        """
        hops = tuple(
            HopTiming(
                stage=hop[0].stage,
                worker=hop[0].worker,
                queue_ns=max(each.queue_ns for each in hop),
                compute_ns=sum(each.compute_ns for each in hop),
                wire_ns=max(each.wire_ns for each in hop),
                batch=max(each.batch for each in hop),
            )
            # A piece that was tried again while the model was cut anew may have passed other stages.
            for hop in zip(*(piece.hops for piece in pieces), strict=False)
        )
        return cls(
            total_us=total_s * 1e6,
            attempts=max(piece.attempts for piece in pieces),
            hops=hops,
            return_us=max(piece.return_us for piece in pieces),
            pieces=len(pieces),
        )

    def to_json(self) -> str:
        """Returns what the answer's parameter `mesh.trace` holds."""
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
                "pieces": self.pieces,
            },
            separators=(",", ":"),
        )
