"""What to do with the next message of a stream of route tables. Pure."""

from __future__ import annotations

from enum import Enum

from onnxmesh.v1.mesh_pb2 import RouteUpdate


class Step(Enum):
    """What a watcher does with a message."""

    WHOLE = "whole"
    """Take the table in place of the one held."""

    CHANGE = "change"
    """Apply the change to the table held."""

    PASS = "pass"
    """Nothing: it is of a scheduler that does not know yet that another leads, or of a later release."""

    GAP = "gap"
    """Open the stream anew: a change to another table than the one held; a new stream begins with the whole."""


def next_step(update: RouteUpdate, held: int | None, taken: int | None) -> Step:
    """Returns what a watcher does with a message.

    Args:
        update: The message.
        held: Epoch of the table held; None: there is none.
        taken: Epoch up to which this stream was taken; None: nothing of it was. A change to a table that came on
            another stream would meet another scheduler's table by chance alone.
    """
    kind = update.WhichOneof("kind")
    if kind == "whole":
        return Step.WHOLE if held is None or update.whole.epoch >= held else Step.PASS
    if kind != "change" or (held is not None and update.change.epoch <= held):
        return Step.PASS
    return Step.CHANGE if update.change.from_epoch == held == taken else Step.GAP
