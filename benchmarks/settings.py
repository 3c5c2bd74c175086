"""Settings of `make bench`: durations, loads and rivals."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.rivals.environment import OWN_ROOT

RIVALS = ("triton", "kserve", "mlserver", "ray")


@dataclass(frozen=True, slots=True)
class Settings:
    """Durations, loads and rivals.

    Attributes:
        seconds: Length of one run of one side.
        num_rounds: Rounds of each target.
        curve_seconds: Length of a run for a point of latency against load.
        loads: Requests in flight of these points.
        connections: Number of connections of the client.
        rivals: Keys of the rivals to measure.
        root: Folder of their environments.
        ready_made: See `Environment`.
        install: Whether missing ones are installed.
    """

    seconds: float = 2.0
    num_rounds: int = 5
    curve_seconds: float = 1.0
    loads: tuple[int, ...] = (1, 2, 4, 8, 16, 32, 64)
    connections: int = 4
    rivals: tuple[str, ...] = RIVALS
    root: Path = OWN_ROOT
    ready_made: bool = False
    install: bool = True

    def quick(self) -> Settings:
        """Returns short settings, with Triton as the only rival, if it is installed."""
        return replace(
            self,
            seconds=1.0,
            num_rounds=1,
            curve_seconds=0.5,
            loads=(1, 8, 32),
            rivals=("triton",),
            install=False,
        )

    def document(self) -> dict[str, Any]:
        """Returns the settings that results depend on, as plain values for JSON."""
        kept = ("seconds", "num_rounds", "curve_seconds", "loads", "connections", "rivals")
        return {name: value for name, value in asdict(self).items() if name in kept}
