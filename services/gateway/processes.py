"""A gateway of several processes that share one port."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from pydantic import SecretStr

from onnxmesh.supervisor.events import LogEventSink
from onnxmesh.supervisor.restart_policy import RestartPolicy
from onnxmesh.supervisor.service_group import ServiceGroup
from onnxmesh.supervisor.service_manager import CommandAt, ServiceManager, ServiceSpec
from services.gateway.port_claim import claimed_port
from services.gateway.settings import GatewaySettings

SHUTDOWN_S = 5.0
"""Time that a gateway needs to end beyond `drain_s`."""


@dataclass(frozen=True, slots=True)
class SharedEndpoint:
    """The common address of the processes: an `onnxmesh.service.serving.ServiceEndpoint`.

    Attributes:
        listens: HOST:PORT that all of them serve.
        address: The same; each is also registered under an address of its own.
        metrics_address: None: each serves its own metrics.
        managers: The processes.
    """

    listens: str
    address: str
    metrics_address: None = None
    managers: Sequence[ServiceManager] = ()

    async def wait_ready(self) -> None:
        """Returns once every process is ready."""
        for manager in self.managers:
            await manager.ready()


@asynccontextmanager
async def gateway_processes(settings: GatewaySettings) -> AsyncIterator[SharedEndpoint]:
    """Runs `settings.processes` gateways for the time of the context; leaving it drains all of them at once.

    The operating system gives each new connection to one of them. One that dies is restarted with its id and its own port for
    as long as this process lives, while the others go on. They end with this process, however it ends.

    Raises:
        Unavailable: One of them could not be started for the first time (UNAVAILABLE).
        SystemExit: The port cannot be opened.
    """
    shared = settings.shared_listen
    end_s = settings.drain_s + SHUTDOWN_S
    async with claimed_port(shared or settings.listen, exclusive=shared is None, wait_s=end_s) as address:
        sink, environment = LogEventSink(), _environment(settings)
        async with ServiceGroup() as services:
            managers = [
                ServiceManager(
                    ServiceSpec(
                        name=f"{settings.id}-{number}",
                        listen=_own_listen(settings, number),
                        command_at=_command_at(settings, number, address),
                        environment=environment,
                        grace_s=end_s,
                    ),
                    sink,
                    policy=RestartPolicy(max_deaths=None),
                )
                for number in range(settings.processes)
            ]
            for manager in managers:
                services.start(manager)
            yield SharedEndpoint(address, address, managers=managers)


def _own_listen(settings: GatewaySettings, number: int) -> str:
    """Returns the address of one process alone: `listen` and the ports after it, unless all share that."""
    host = settings.listen.rpartition(":")[0]
    return f"{host}:0" if settings.shared_listen is None else _nth_port(settings.listen, number)


def _nth_port(address: str, number: int) -> str:
    host, _, port = address.rpartition(":")
    return f"{host}:{int(port) + number if int(port) else 0}"


def _command_at(settings: GatewaySettings, number: int, shared: str) -> CommandAt:
    """Returns the command of one process: the settings that differ from its siblings or its parent; the rest is in the environment."""
    options = [f"--id={settings.id}-{number}", f"--shared-listen={shared}", "--processes=1"]
    options += ["--exit-with-parent", "--ready-line"]
    if settings.advertise is not None:
        options.append(f"--advertise={settings.advertise.rpartition(':')[0]}:0")
    if settings.metrics is not None:
        options.append(f"--metrics={_nth_port(settings.metrics, number)}")
    return lambda listen: [sys.executable, "-m", "services.gateway", f"--listen={listen}", *options]


def _environment(settings: GatewaySettings) -> dict[str, str]:
    """Returns the environment with these settings: flags would show secrets to every user of this host."""
    given = {name: getattr(settings, name) for name in settings.model_fields_set}
    prefix = settings.model_config["env_prefix"]
    return {**os.environ} | {
        f"{prefix}{name.upper()}": _text(value) for name, value in given.items() if value is not None
    }


def _text(value: object) -> str:
    return value.get_secret_value() if isinstance(value, SecretStr) else str(value)
