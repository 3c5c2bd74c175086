"""Events of supervised services, and the sinks that receive them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, assert_never

import structlog

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class ServiceReady:
    """A service is ready.

    Attributes:
        name: Name of the service, such as `worker-0`.
        pid: Its process id.
        address: HOST:PORT on which it listens.
        again: Whether this is a restart.
    """

    name: str
    pid: int
    address: str
    again: bool


@dataclass(frozen=True, slots=True)
class ServiceDied:
    """A service ended by itself.

    Attributes:
        name: Name of the service.
        pid: Id of the process that ended.
        cause: How it ended, in words.
        delay_s: Seconds until it is restarted.
    """

    name: str
    pid: int
    cause: str
    delay_s: float


@dataclass(frozen=True, slots=True)
class ServiceWarned:
    """A service logged a line of level `warning` or above.

    Attributes:
        name: Name of the service.
        level: `warning`, `error` or `critical`.
        text: The log event and its fields, on one line.
    """

    name: str
    level: str
    text: str


ServiceEvent = ServiceReady | ServiceDied | ServiceWarned


class EventSink(Protocol):
    """Receives the events in order, on the event loop."""

    def record(self, event: ServiceEvent) -> None:
        """Records an event."""
        ...


class LogEventSink:
    """Sink that writes events to the log of this process."""

    def record(self, event: ServiceEvent) -> None:
        """Logs an event with its fields; a death or a warning as a warning."""
        match event:
            case ServiceReady(name, pid, address, again):
                _log.info("process_ready", name=name, pid=pid, address=address, again=again)
            case ServiceDied(name, pid, cause, delay_s):
                _log.warning("process_died", name=name, pid=pid, cause=cause, restart_in_s=delay_s)
            case ServiceWarned(name, level, text):
                _log.warning("process_warned", name=name, level=level, text=text)
            case _:
                assert_never(event)
