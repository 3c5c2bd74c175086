"""Loads of workers as items of live state. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from onnxmesh.ids import WorkerId
from onnxmesh.live.base import LiveEntry, Topic, Values
from onnxmesh.v1.frame_pb2 import Load


@dataclass(frozen=True, slots=True)
class WorkerLoad:
    """The load that a worker has reported."""

    worker: WorkerId
    load: Load


class LoadCodec:
    """The codec of `Topic.LOAD`: scalar fields of a load that are set; those of its stages and links are left out."""

    topic = Topic.LOAD

    def key(self, item: WorkerLoad) -> str:
        """Returns the worker's id."""
        return item.worker

    def encode(self, item: WorkerLoad) -> Values:
        """Returns the scalar fields by name."""
        return {
            field.name: value for field, value in item.load.ListFields() if isinstance(value, int | float)
        }

    def decode(self, entry: LiveEntry) -> WorkerLoad | None:
        """Returns the load; fields that this release does not know are ignored. None where the entry is malformed."""
        known = Load.DESCRIPTOR.fields_by_name
        load = Load()
        try:
            for name, value in entry.values.items():
                if name in known and isinstance(getattr(load, name), int | float):
                    setattr(load, name, type(getattr(load, name))(value))
        except (ValueError, TypeError, OverflowError):
            return None
        return WorkerLoad(WorkerId(entry.key), load)
