"""The way that one request took."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from onnxmesh.errors import CorruptData

TRACE_PARAMETER = "mesh.trace"
"""Request parameter that asks for a trace, and response parameter that holds it as JSON."""


@dataclass(frozen=True, slots=True)
class HopTrace:
    """One stage of the route.

    Attributes:
        stage: `model/version/stage`.
        worker: The worker that ran it.
        queue_us: Microseconds that the activation waited on that worker.
        compute_us: Microseconds in ONNX Runtime.
        wire_us: Microseconds from the sender's clock to the worker's.
        batch: How many requests shared the time in ONNX Runtime, this one included.
        plain_bytes: What was sent on from there in fewer bytes; 0: it was sent as it is.
        wire_bytes: How many bytes that were then.
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
    """A whole request, as its gateway saw it.

    Attributes:
        total_us: Microseconds in the gateway, from the decoded request to the answer.
        attempts: Number of routes tried, 1 at the least.
        hops: The stages of the route that answered, in order.
        return_us: Microseconds from the last worker's clock to the gateway's.
        pieces: Micro-batches that the request was cut into, 1 if it was not. Of each hop, `compute_us` is then that of
            all together; `wire_us`, `queue_us` and `return_us` are the longest.
    """

    total_us: float
    attempts: int
    hops: tuple[HopTrace, ...]
    return_us: float
    pieces: int = 1

    @classmethod
    def from_json(cls, text: str) -> RouteTrace:
        """Reads the response parameter `mesh.trace`.

        Raises:
            CorruptData: The text is not such a trace.
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
            raise CorruptData(f"the gateway sent a trace that cannot be read: {error!r}") from error
