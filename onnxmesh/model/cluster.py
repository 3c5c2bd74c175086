"""The devices that a model can be spread over, and the links between them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from onnxmesh.model.device_speed import DeviceSpeed
from onnxmesh.model.link import LinkSpec


@dataclass(frozen=True, slots=True)
class DeviceKind:
    """Devices that are alike, and equally far from all others.

    Attributes:
        name: Unique in a cluster.
        count: How many there are.
        speed: Of each of them.
        memory_bytes: Of each of them, for stages; None: no bound.
        profile: Name under which a `Profile` has times of such a device; empty: the kind's own name.
    """

    name: str
    count: int = 1
    speed: DeviceSpeed = field(default_factory=DeviceSpeed)
    memory_bytes: int | None = None
    profile: str = ""

    def __post_init__(self) -> None:
        if self.count < 1:
            msg = f"kind '{self.name}' has {self.count} devices"
            raise ValueError(msg)


@dataclass(frozen=True, slots=True)
class Cluster:
    """What a planner may use.

    Attributes:
        kinds: Names are unique.
        links: By names of kinds, from and to; both the same for two devices of one kind.
        default_link: Where `links` has none, in neither direction.
    """

    kinds: tuple[DeviceKind, ...]
    links: Mapping[tuple[str, str], LinkSpec] = field(default_factory=dict)
    default_link: LinkSpec = field(default_factory=LinkSpec)

    def __post_init__(self) -> None:
        names = [kind.name for kind in self.kinds]
        if not names:
            msg = "a cluster has at least one kind of device"
            raise ValueError(msg)
        if len(set(names)) < len(names):
            msg = f"kinds of devices have unique names: {', '.join(names)}"
            raise ValueError(msg)

    @property
    def num_devices(self) -> int:
        """Devices of all kinds together."""
        return sum(kind.count for kind in self.kinds)

    def kind(self, name: str) -> DeviceKind:
        """Returns the kind of that name.

        Raises:
            KeyError: There is none.
        """
        for kind in self.kinds:
            if kind.name == name:
                return kind
        raise KeyError(name)

    def link(self, source: str, target: str) -> LinkSpec:
        """Returns the link from a device of one kind to one of another (or the same)."""
        return self.links.get((source, target)) or self.links.get((target, source)) or self.default_link
