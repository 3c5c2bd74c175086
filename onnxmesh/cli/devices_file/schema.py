"""The fields of `devices.yaml`, and their conversion to a cluster."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from onnxmesh.model.cluster import Cluster, DeviceKind
from onnxmesh.model.device_speed import DeviceSpeed
from onnxmesh.model.link import LinkSpec

_BITS = 8
_SPEED = DeviceSpeed()
_LINK = LinkSpec()

_MIN, _MAX = 1e-6, 1e9


def _not_tiny(number: float) -> float:
    """Refuses speeds so small that sums of predicted times lose precision."""
    if number < _MIN:
        raise ValueError(f"expected a number of at least {_MIN:g}, got {number:g}")
    return number


Name = Annotated[str, Field(min_length=1, max_length=200)]
Positive = Annotated[float, Field(gt=0, le=_MAX), AfterValidator(_not_tiny)]
NotNegative = Annotated[float, Field(ge=0, le=_MAX)]


class _Fields(BaseModel):
    # Strict: `count: yes` and `memory_gb: "8"` are reported, not converted.
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class KindFields(_Fields):
    """Equal devices. 1 GB is 10^9 bytes; the default speeds are those of one core of a server CPU."""

    name: Name
    count: Annotated[int, Field(ge=1, le=10_000)] = 1
    memory_gb: Positive | None = None
    gflops_per_s: Positive = _SPEED.flops_per_s / 1e9
    memory_gb_per_s: Positive = _SPEED.bytes_per_s / 1e9
    node_overhead_us: NotNegative = _SPEED.node_overhead_s * 1e6
    profile: Name | None = None

    def to_kind(self) -> DeviceKind:
        """Returns the kind in the planner's units."""
        return DeviceKind(
            name=self.name,
            count=self.count,
            speed=DeviceSpeed(
                self.gflops_per_s * 1e9, self.memory_gb_per_s * 1e9, self.node_overhead_us * 1e-6
            ),
            memory_bytes=None if self.memory_gb is None else round(self.memory_gb * 1e9),
            profile=self.profile or "",
        )


class LinkSpeedFields(_Fields):
    """Bandwidth, in one of two units, and latency of a link."""

    bandwidth_gbit_per_s: Positive | None = None
    bandwidth_mbit_per_s: Positive | None = None
    latency_ms: NotNegative = _LINK.latency_s * 1e3

    @model_validator(mode="after")
    def _one_bandwidth(self) -> LinkSpeedFields:
        given = [each for each in (self.bandwidth_gbit_per_s, self.bandwidth_mbit_per_s) if each is not None]
        if len(given) != 1:
            raise ValueError(
                "expected one of bandwidth_gbit_per_s and bandwidth_mbit_per_s, got "
                + ("both" if given else "neither")
            )
        return self

    def to_link(self) -> LinkSpec:
        """Returns the link in the planner's units."""
        megabits = self.bandwidth_mbit_per_s or (self.bandwidth_gbit_per_s or 0.0) * 1e3
        return LinkSpec(bytes_per_s=megabits * 1e6 / _BITS, latency_s=self.latency_ms * 1e-3)


class LinkFields(LinkSpeedFields):
    """A link between two kinds, or among the devices of one kind; the same in both directions."""

    between: Annotated[list[Name], Field(min_length=2, max_length=2)]


class DevicesFields(_Fields):
    """The whole file."""

    kinds: Annotated[list[KindFields], Field(min_length=1)]
    links: list[LinkFields] = []
    default_link: LinkSpeedFields | None = None

    def to_cluster(self) -> Cluster:
        """Returns the cluster to plan for; the names must be unique and known."""
        return Cluster(
            kinds=tuple(kind.to_kind() for kind in self.kinds),
            links={(link.between[0], link.between[1]): link.to_link() for link in self.links},
            default_link=_LINK if self.default_link is None else self.default_link.to_link(),
        )
