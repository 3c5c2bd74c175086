"""What a worker says of itself, as far as routing cares."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from onnxmesh.routing.selectors.labels import Labels, labels_of
from onnxmesh.routing.table.locality import Locality

_KIND = ("device.kind", "device", "cpu.class", "gpu.model")


@dataclass(frozen=True, slots=True)
class WorkerFacts:
    """Facts about a worker, shared by all its replicas.

    Attributes:
        tags: Words that the operator or the worker itself gave it.
        attributes: Facts by name.
        labels: Both, as selectors see them.
        locality: Where it is.
        kind: Workers of one kind should be equally fast.
        cpu_class: Class of its CPU; empty where its stages run on something else.
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
"""Of a worker that says nothing."""
