"""Profile: measured times of the nodes of one model, by kind of device."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from onnxmesh.errors import CorruptData, InvalidRequest
from onnxmesh.ids import Digest
from onnxmesh.model.cut_mode import CutMode
from onnxmesh.model.device_speed import DeviceSpeed
from onnxmesh.model.optimisation_level import OptimisationLevel

_FORMAT = 1


@dataclass(frozen=True, slots=True)
class DeviceTimes:
    """Measured times of nodes on one kind of device.

    Attributes:
        node_s: Seconds of each node, in topological order; they add up to a run of the whole model.
        speed: Measured speed of the same device, for scaling the times to other devices.
    """

    node_s: tuple[float, ...]
    speed: DeviceSpeed


@dataclass(frozen=True, slots=True)
class Profile:
    """Times of one model's nodes at one shape of its inputs.

    Attributes:
        source_digest: Digest of the source model.
        level: Optimisation level of the graph.
        shapes: Shape of each input.
        devices: Times by kind of device.
        mode: The mode of the cut. In portable mode times were measured on the fused graph and attributed to the nodes of
            the unfused one.
    """

    source_digest: Digest
    level: OptimisationLevel
    shapes: Mapping[str, tuple[int, ...]]
    devices: Mapping[str, DeviceTimes]
    mode: CutMode = CutMode.EXACT

    def check(
        self,
        digest: Digest,
        level: OptimisationLevel,
        shapes: Mapping[str, tuple[int, ...]],
        mode: CutMode = CutMode.EXACT,
    ) -> None:
        """Checks that the profile is of a model, mode, optimisation level and shapes.

        Raises:
            InvalidRequest: One of them differs; the message names both values (INVALID_ARGUMENT).
        """
        if self.source_digest != digest:
            raise InvalidRequest(
                f"the profile is of another model: expected digest {digest}, got {self.source_digest}"
            )
        if self.mode is not mode:
            raise InvalidRequest(
                f"the profile is of another mode: expected {mode.value}, got {self.mode.value}"
            )
        if self.level is not level:
            raise InvalidRequest(
                f"the profile is of another optimisation level: expected {level.value}, got {self.level.value}"
            )
        if dict(self.shapes) != dict(shapes):
            raise InvalidRequest(
                f"the profile is of other shapes: expected {_shown(shapes)}, got {_shown(self.shapes)}"
            )

    def merged(self, other: Profile) -> Profile:
        """Returns the profile with another's devices added; the other's times replace those of a device in both.

        Raises:
            InvalidRequest: The other is of another model, mode, optimisation level or other shapes
                (INVALID_ARGUMENT).
        """
        self.check(other.source_digest, other.level, other.shapes, other.mode)
        return replace(self, devices={**self.devices, **other.devices})

    def to_json(self) -> str:
        """Returns the profile as JSON."""
        plain = {
            "format": _FORMAT,
            "source_digest": self.source_digest,
            "optimisation": self.level.value,
            "mode": self.mode.value,
            "shapes": {name: list(shape) for name, shape in self.shapes.items()},
            "devices": {
                name: times.speed.to_plain() | {"node_s": list(times.node_s)}
                for name, times in self.devices.items()
            },
        }
        return json.dumps(plain, separators=(",", ":"), ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> Profile:
        """Reads what `to_json` wrote.

        Raises:
            CorruptData: The text is no profile (DATA_LOSS).
        """
        try:
            return cls._from_plain(json.loads(text))
        except KeyError as error:
            raise CorruptData(f"not a profile: it lacks {error}") from error
        except (TypeError, ValueError, AttributeError) as error:
            raise CorruptData(f"not a profile: {error}") from error

    @classmethod
    def _from_plain(cls, plain: dict[str, Any]) -> Profile:
        if plain["format"] != _FORMAT:
            msg = f"expected format {_FORMAT}, got {plain['format']!r}"
            raise ValueError(msg)
        return cls(
            source_digest=Digest(str(plain["source_digest"])),
            level=OptimisationLevel(plain["optimisation"]),
            shapes={str(name): tuple(map(int, shape)) for name, shape in plain["shapes"].items()},
            devices={
                str(name): DeviceTimes(
                    tuple(map(float, times["node_s"])),
                    DeviceSpeed.from_plain(times),
                )
                for name, times in plain["devices"].items()
            },
            mode=CutMode(plain["mode"]),
        )


def _shown(shapes: Mapping[str, tuple[int, ...]]) -> str:
    return ", ".join(f"{name} {'x'.join(map(str, shape)) or 'scalar'}" for name, shape in shapes.items())
