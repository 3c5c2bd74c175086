"""Next step of a subscriber to a stream of route tables. Pure."""

from __future__ import annotations

from enum import Enum

from onnxmesh.v1.mesh_pb2 import RouteUpdate


class Step(Enum):
    """What a subscriber does with a message."""

    WHOLE = "whole"
    """Replace the table held by the one in the message."""

    CHANGE = "change"
    """Apply the change to the table held."""

    SKIP = "skip"
    """Ignore it: from a scheduler that does not know yet that another leads, or of a kind from a later release."""

    RESYNC = "resync"
    """Reopen the stream: the change is to another table than the one held; a new stream begins with the whole table."""


def next_step(update: RouteUpdate, held: int | None, applied: int | None) -> Step:
    """Returns what a subscriber does with a message.

    Args:
        update: The message.
        held: Epoch of the table held; None: there is none.
        applied: Epoch up to which messages of this stream were applied; None: none was. A change to a table from another
            stream would match another scheduler's table only by chance.
    """
    kind = update.WhichOneof("kind")
    if kind == "whole":
        return Step.WHOLE if held is None or update.whole.epoch >= held else Step.SKIP
    if kind != "change" or (held is not None and update.change.epoch <= held):
        return Step.SKIP
    return Step.CHANGE if update.change.from_epoch == held == applied else Step.RESYNC
