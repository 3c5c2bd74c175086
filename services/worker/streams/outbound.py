"""Outbound streams of a worker: to the next workers and to the gateways."""

from __future__ import annotations

from dataclasses import dataclass

from services.worker.streams.forwarder import Forwarder
from services.worker.streams.gateway_replies import GatewayReplies


@dataclass(frozen=True, slots=True)
class Outbound:
    """Where requests go from a stage.

    Attributes:
        forwarder: To the next stage.
        replies: To the origin gateway.
    """

    forwarder: Forwarder
    replies: GatewayReplies
