"""What happens to services, as lines of the log of who keeps them."""

from __future__ import annotations

from typing import assert_never

import structlog

from onnxmesh.supervisor.events import Event, ServiceComplained, ServiceDied, ServiceReady

_log = structlog.get_logger(__name__)


class LogJournal:
    """Writes each event down; a death is a warning."""

    def record(self, event: Event) -> None:
        """Logs the event with its figures."""
        match event:
            case ServiceReady(name, pid, address, again):
                _log.info("process_ready", name=name, pid=pid, address=address, again=again)
            case ServiceDied(name, pid, cause, delay_s):
                _log.warning("process_died", name=name, pid=pid, cause=cause, restart_in_s=delay_s)
            case ServiceComplained(name, level, text):
                _log.warning("process_complained", name=name, level=level, text=text)
            case _:
                assert_never(event)
