"""Several gateways on one port, each a process of its own."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from pydantic import SecretStr

from onnxmesh.supervisor.events import LogEventSink
from onnxmesh.supervisor.restart_policy import RestartPolicy
from onnxmesh.supervisor.service_group import ServiceGroup
from onnxmesh.supervisor.service_manager import CommandAt, ServiceManager, ServiceSpec
from services.gateway.port_claim import claimed_port
from services.gateway.settings import GatewaySettings

END_S = 5.0
"""What a gateway needs for its end beyond `drain_s`."""


@dataclass(frozen=True, slots=True)
class SharedEndpoint:
    """Where the processes are reached together: what `onnxmesh.service.serving.ServiceEndpoint` asks for.

    Attributes:
        listens: HOST:PORT that all of them serve.
        address: The same; each is registered under an address of its own.
        metrics_address: None: each serves figures of its own.
    """

    listens: str
    address: str
    metrics_address: None = None


@asynccontextmanager
async def gateway_processes(settings: GatewaySettings) -> AsyncIterator[SharedEndpoint]:
    """Keeps `settings.processes` gateways for the time of the context; leaving it drains all of them at once.

    The kernel gives each new connection to one of them. One that dies is started again, with its name and its own port, for
    as long as this process lives; the others serve on. They end with this process, however it ends.

    Raises:
        Unavailable: One of them could not be started for the first time (UNAVAILABLE).
        SystemExit: The port cannot be had.
    """
    shared = settings.shared_listen
    end_s = settings.drain_s + END_S
    async with claimed_port(shared or settings.listen, alone=shared is None, patience_s=end_s) as address:
        sink, environment = LogEventSink(), _environment(settings)
        async with ServiceGroup() as services:
            keepers = [
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
            for keeper in keepers:
                services.start(keeper)
            for keeper in keepers:
                await keeper.ready()
            yield SharedEndpoint(address, address)


def _own_listen(settings: GatewaySettings, number: int) -> str:
    """Where one process alone is reached: `listen`, and the ports after it, unless that is what all share."""
    host = settings.listen.rpartition(":")[0]
    return f"{host}:0" if settings.shared_listen is None else _nth_port(settings.listen, number)


def _nth_port(address: str, number: int) -> str:
    host, _, port = address.rpartition(":")
    return f"{host}:{int(port) + number if int(port) else 0}"


def _command_at(settings: GatewaySettings, number: int, shared: str) -> CommandAt:
    """What is different from one process to the next, and from all of them to their parent; the rest is in the environment."""
    options = [f"--id={settings.id}-{number}", f"--shared-listen={shared}", "--processes=1"]
    options += ["--exit-with-parent", "--ready-line"]
    if settings.advertise is not None:
        options.append(f"--advertise={settings.advertise.rpartition(':')[0]}:0")
    if settings.metrics is not None:
        options.append(f"--metrics={_nth_port(settings.metrics, number)}")
    return lambda listen: [sys.executable, "-m", "services.gateway", f"--listen={listen}", *options]


def _environment(settings: GatewaySettings) -> dict[str, str]:
    """The environment that gives a process these settings: flags would show secrets to everybody on this host."""
    given = {name: getattr(settings, name) for name in settings.model_fields_set}
    prefix = settings.model_config["env_prefix"]
    return {**os.environ} | {
        f"{prefix}{name.upper()}": _text(value) for name, value in given.items() if value is not None
    }


def _text(value: object) -> str:
    return value.get_secret_value() if isinstance(value, SecretStr) else str(value)
