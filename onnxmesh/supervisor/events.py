"""What happens to services that are kept alive."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class ServiceReady:
    """A service answers.

    Attributes:
        name: Name of the service, such as `worker-0`.
        pid: Its process.
        address: HOST:PORT at which it answers.
        again: Whether it had died before.
    """

    name: str
    pid: int
    address: str
    again: bool


@dataclass(frozen=True, slots=True)
class ServiceDied:
    """A service ended without being asked to.

    Attributes:
        name: Name of the service.
        pid: The process that was.
        cause: How it ended, in words.
        delay_s: Seconds until it is started again.
    """

    name: str
    pid: int
    cause: str
    delay_s: float


@dataclass(frozen=True, slots=True)
class ServiceComplained:
    """A service logged a warning or something worse.

    Attributes:
        name: Name of the service.
        level: `warning`, `error` or `critical`.
        text: The event and what it says about itself, on one line.
    """

    name: str
    level: str
    text: str


Event = ServiceReady | ServiceDied | ServiceComplained


class Journal(Protocol):
    """Takes what happened, in order, on the event loop."""

    def record(self, event: Event) -> None:
        """Tells the operator, or a program, of `event`."""
        ...
