"""Attributes and tags of a worker, with what routing derives from them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from onnxmesh.routing.selectors.labels import Labels, labels_of
from onnxmesh.routing.table.locality import Locality

_KIND = ("device.kind", "device", "cpu.class", "gpu.model")


@dataclass(frozen=True, slots=True)
class WorkerFacts:
    """Registered facts about a worker, shared by all its replicas.

    Attributes:
        tags: Tags set by the operator or the worker itself.
        attributes: Values by name, such as `device` or `cpu.class`.
        labels: Tags and attributes, as selectors match them.
        locality: Its region, zone and host.
        kind: Kind of hardware; workers of one kind should be equally fast.
        cpu_class: Class of its CPU; empty where its stages run on another device.
    """

    tags: tuple[str, ...] = ()
    attributes: Mapping[str, str] = field(default_factory=dict)
    labels: Labels = field(init=False, repr=False, compare=False)
    locality: Locality = field(init=False, compare=False)
    kind: str = field(init=False, compare=False)
    cpu_class: str = field(init=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "labels", labels_of(self.tags, self.attributes))
        object.__setattr__(self, "locality", Locality.of(self.labels))
        object.__setattr__(self, "kind", "/".join(self.attributes.get(key, "") for key in _KIND))
        on_cpu = self.attributes.get("device") == "cpu"
        object.__setattr__(self, "cpu_class", self.attributes.get("cpu.class", "") if on_cpu else "")


NO_FACTS = WorkerFacts()
"""The facts of a worker without tags and attributes."""
