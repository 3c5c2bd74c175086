"""Ejections of replicas as items of live state. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from onnxmesh.ids import StageKey, WorkerId
from onnxmesh.live.base import LiveEntry, Topic, Values
from onnxmesh.live.link_topic import SEPARATOR


@dataclass(frozen=True, slots=True)
class SharedEjection:
    """A replica that a gateway excludes from routes.

    Attributes:
        worker: Worker of the replica.
        stage: Stage of the replica.
        remaining_s: Seconds until the ejection ends.
    """

    worker: WorkerId
    stage: StageKey
    remaining_s: float


class EjectionCodec:
    """The codec of `Topic.EJECTION`."""

    topic = Topic.EJECTION

    def key(self, item: SharedEjection) -> str:
        """Returns `WORKER>STAGE`."""
        return f"{item.worker}{SEPARATOR}{item.stage}"

    def encode(self, item: SharedEjection) -> Values:
        """Returns the remaining time."""
        return {"left_s": item.remaining_s}

    def decode(self, entry: LiveEntry) -> SharedEjection | None:
        """Returns the ejection, with the time that remains now; None where the entry is malformed or over."""
        worker, separator, stage = entry.key.partition(SEPARATOR)
        try:
            remaining_s = float(entry.values["left_s"]) - entry.age_s
        except (KeyError, ValueError, TypeError):
            return None
        if not separator or not remaining_s > 0:
            return None
        return SharedEjection(WorkerId(worker), StageKey(stage), remaining_s)
