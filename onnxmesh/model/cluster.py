"""The cluster of a plan: kinds of devices and the links between them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from onnxmesh.model.device_speed import DeviceSpeed
from onnxmesh.model.link import LinkSpec


@dataclass(frozen=True, slots=True)
class DeviceKind:
    """A kind of devices: equal in speed, memory and links.

    Attributes:
        name: Name, unique in a cluster.
        count: Number of devices.
        speed: Speed of each device.
        memory_bytes: Memory of each device for stages; None: unlimited.
        profile: Name of the device in a `Profile`; empty: the name of the kind.
    """

    name: str
    count: int = 1
    speed: DeviceSpeed = field(default_factory=DeviceSpeed)
    memory_bytes: int | None = None
    profile: str = ""

    def __post_init__(self) -> None:
        if self.count < 1:
            msg = f"kind '{self.name}': expected at least 1 device, got {self.count}"
            raise ValueError(msg)


@dataclass(frozen=True, slots=True)
class Cluster:
    """The devices and links that a plan may use.

    Attributes:
        kinds: The kinds of devices; names are unique.
        links: Links by (source kind, target kind); equal names for two devices of one kind.
        default_link: Link between kinds that `links` has in neither direction.
    """

    kinds: tuple[DeviceKind, ...]
    links: Mapping[tuple[str, str], LinkSpec] = field(default_factory=dict)
    default_link: LinkSpec = field(default_factory=LinkSpec)

    def __post_init__(self) -> None:
        names = [kind.name for kind in self.kinds]
        if not names:
            msg = "kinds of devices: expected at least 1, got 0"
            raise ValueError(msg)
        if len(set(names)) < len(names):
            msg = f"names of kinds are not unique: {', '.join(names)}"
            raise ValueError(msg)

    @property
    def num_devices(self) -> int:
        """Number of devices of all kinds."""
        return sum(kind.count for kind in self.kinds)

    def kind(self, name: str) -> DeviceKind:
        """Returns the kind of a name.

        Raises:
            KeyError: The cluster has no such kind.
        """
        for kind in self.kinds:
            if kind.name == name:
                return kind
        raise KeyError(name)

    def link(self, source: str, target: str) -> LinkSpec:
        """Returns the link from a device of one kind to one of another, or of the same."""
        return self.links.get((source, target)) or self.links.get((target, source)) or self.default_link
