"""Steps of a subscriber to route tables."""

from __future__ import annotations

import pytest

from onnxmesh.routing.table.route_step import Step, next_step
from onnxmesh.v1.mesh_pb2 import RouteChange, RouteTable, RouteUpdate


def whole(epoch):
    return RouteUpdate(whole=RouteTable(epoch=epoch))


def change(from_epoch, epoch):
    return RouteUpdate(change=RouteChange(from_epoch=from_epoch, epoch=epoch))


@pytest.mark.parametrize(
    ("update", "held", "applied", "step"),
    [
        (whole(1), None, None, Step.WHOLE),
        (whole(7), 7, None, Step.WHOLE),
        (whole(9), 7, 7, Step.WHOLE),
        (whole(6), 7, None, Step.SKIP),
        (change(7, 8), 7, 7, Step.CHANGE),
        (change(7, 12), 7, 7, Step.CHANGE),
        (change(6, 7), 7, None, Step.SKIP),
        (change(8, 9), 7, 7, Step.RESYNC),
        (change(6, 8), 7, 7, Step.RESYNC),
        (change(7, 8), 7, None, Step.RESYNC),
        (change(7, 8), 7, 6, Step.RESYNC),
        (change(0, 1), None, None, Step.RESYNC),
        (RouteUpdate(), 7, 7, Step.SKIP),
    ],
)
def test_next_step(update, held, applied, step):
    """A change is applied to the very table that it changes, on the stream that this came on; else there is a gap."""
    assert next_step(update, held, applied) is step
