"""The route of one request, with the times of each hop."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from onnxmesh.errors import CorruptData

TRACE_PARAMETER = "mesh.trace"
"""Parameter that requests a trace, and response parameter with the trace as JSON."""


@dataclass(frozen=True, slots=True)
class HopTrace:
    """One stage of the route.

    Attributes:
        stage: `model/version/stage`.
        worker: The worker that ran it.
        queue_us: Microseconds in the worker's queue.
        compute_us: Microseconds in ONNX Runtime.
        wire_us: Microseconds of the transfer to the worker, from the sender's clock to the worker's.
        batch: Number of requests in the batch, at least 1.
        plain_bytes: Bytes of the output before compression; 0: it was not compressed.
        wire_bytes: Bytes of the output after compression.
    """

    stage: str
    worker: str
    queue_us: float
    compute_us: float
    wire_us: float
    batch: int = 1
    plain_bytes: int = 0
    wire_bytes: int = 0


@dataclass(frozen=True, slots=True)
class RouteTrace:
    """The route of a whole request, as its gateway measured it.

    Attributes:
        total_us: Microseconds in the gateway, from the decoded request to the response.
        attempts: Number of routes tried, at least 1.
        hops: The stages of the successful route, in order.
        return_us: Microseconds from the last worker's clock to the gateway's.
        pieces: Number of micro-batches of a split request, otherwise 1. `compute_us` of a hop is then their sum;
            `wire_us`, `queue_us` and `return_us` are their maximum.
    """

    total_us: float
    attempts: int
    hops: tuple[HopTrace, ...]
    return_us: float
    pieces: int = 1

    @classmethod
    def from_json(cls, text: str) -> RouteTrace:
        """Parses the response parameter `mesh.trace`.

        Raises:
            CorruptData: The text is not a trace (DATA_LOSS).
        """
        try:
            document: dict[str, Any] = json.loads(text)
            hops = tuple(
                HopTrace(
                    stage=str(hop["stage"]),
                    worker=str(hop["worker"]),
                    queue_us=float(hop["queue_us"]),
                    compute_us=float(hop["compute_us"]),
                    wire_us=float(hop["wire_us"]),
                    batch=int(hop.get("batch", 1)),
                    plain_bytes=int(hop.get("plain_bytes", 0)),
                    wire_bytes=int(hop.get("wire_bytes", 0)),
                )
                for hop in document["hops"]
            )
            return cls(
                total_us=float(document["total_us"]),
                attempts=int(document["attempts"]),
                hops=hops,
                return_us=float(document["return_us"]),
                pieces=int(document.get("pieces", 1)),
            )
        except (ValueError, KeyError, TypeError) as error:
            raise CorruptData(f"the gateway sent an unreadable trace: {error!r}") from error
