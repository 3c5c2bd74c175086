"""`onnxmesh up`: runs a mesh in the foreground."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from itertools import chain, count
from pathlib import Path
from typing import Annotated

import typer

from onnxmesh.cli.local_mesh.embedded_mesh import EmbeddedMesh, MeshShape, reachable_address
from onnxmesh.cli.local_mesh.event_printers import EventPrinter, JsonPrinter, TextPrinter
from onnxmesh.cli.local_mesh.metrics_ports import metrics_addresses
from onnxmesh.cli.local_mesh.state_folder import open_state_folder
from onnxmesh.cli.mesh.deploy import deployment_sentence
from onnxmesh.cli.mesh.status_document import model_document, status_document
from onnxmesh.cli.terminal.exit_codes import errors_reported
from onnxmesh.cli.terminal.options import DEFAULT_MESH
from onnxmesh.client import MeshClient
from onnxmesh.errors import InvalidRequest, MeshError
from onnxmesh.model.model_name import is_model_name, nearest_model_name
from onnxmesh.v1.mesh_pb2 import StatusResponse
from onnxmesh.v1.model_pb2 import DeploymentSpec
from onnxmesh.worker_extra import require_worker_packages

_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def up(
    workers: Annotated[int, typer.Option(min=1, max=64, help="Number of workers.")] = 2,
    address: Annotated[
        str, typer.Option(metavar="HOST:PORT", help="The gateway's address; port 0: a free one.")
    ] = DEFAULT_MESH,
    models: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Deploy every .onnx file of this folder.")
    ] = None,
    state: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Keep models and logs in this folder; default: a temporary one.",
        ),
    ] = None,
    threads: Annotated[
        int | None, typer.Option(min=1, help="ONNX Runtime threads of each worker; default: cores / workers.")
    ] = None,
    gateway_processes: Annotated[
        int, typer.Option(min=1, max=64, help="Number of gateway processes that share its port.")
    ] = 1,
    zones: Annotated[
        str,
        typer.Option(
            metavar="A,B,…",
            help="Zones of the workers in turn; the gateway is in the first.",
        ),
    ] = "",
    metrics: Annotated[
        bool,
        typer.Option(
            "--metrics",
            help="Serve Prometheus metrics of each service on ports of this machine, which are printed.",
        ),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print events as JSON lines.")] = False,
) -> None:
    """Run a mesh on this machine until Ctrl-C: a scheduler, a gateway and workers, each a process.

    The line **mesh ready: gateway HOST:PORT** is printed once it answers. A service that exits is reported and
    restarted at the same address. Ctrl-C or SIGTERM stop everything within 5 seconds; a second Ctrl-C at once.

    **Examples**

    ```
    onnxmesh up
    onnxmesh up --workers 4 --models my-models --state mesh-state
    onnxmesh up --address 0.0.0.0:8001      # reachable from other machines
    onnxmesh up --workers 4 --zones near,far  # with two zones
    ```
    """
    printer: EventPrinter = JsonPrinter() if as_json else TextPrinter()
    with errors_reported():
        require_worker_packages()
        paths = list_models(models) if models is not None else []
        shape = MeshShape(
            workers,
            threads or max(1, num_usable_cores() // workers),
            address,
            zones=parse_zones(zones),
            gateway_processes=gateway_processes,
        )
        if metrics:
            shape = replace(shape, metrics=metrics_addresses(shape.processes))
        with open_state_folder(state) as folder:
            mesh = EmbeddedMesh(shape, folder, printer)
            where = f"state and logs in {folder.root}"
            if not folder.kept:
                where = f"logs in {folder.root / 'logs'} until it stops; --state FOLDER keeps models and logs"
            asyncio.run(_up(mesh, printer, paths, where, shape.metrics))


def list_models(folder: Path) -> list[Path]:
    """Returns the .onnx files of a folder, by name.

    Raises:
        InvalidRequest: There is no such folder, or no such file in it (INVALID_ARGUMENT).
    """
    if not folder.is_dir():
        raise InvalidRequest(f"--models: there is no folder '{folder}'")
    found = sorted(folder.glob("*.onnx"))
    if not found:
        raise InvalidRequest(f"--models: there is no .onnx file in '{folder}'")
    return found


def parse_zones(text: str) -> tuple[str, ...]:
    """Returns the zones of a list separated by commas; none for an empty text.

    Raises:
        InvalidRequest: A name is empty (INVALID_ARGUMENT).
    """
    found = tuple(zone.strip() for zone in text.split(",")) if text.strip() else ()
    if not all(found):
        raise InvalidRequest(f"--zones: expected names separated by commas, got '{text}'")
    return found


def num_usable_cores() -> int:
    """Returns the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


async def _up(
    mesh: EmbeddedMesh, printer: EventPrinter, models: list[Path], where: str, metrics: Mapping[str, str]
) -> None:
    async def serve(address: str) -> None:
        async with MeshClient(reachable_address(address)) as client:
            await _deploy_all(client, models, printer)
            status = await client.status()
        for model in status.models:
            if model.state != "READY":
                printer.report_error(f"{model.name} version {model.version} is not served: {model.reason}")
        printer.report(
            "ready",
            welcome(status, address, where, metrics),
            gateway=address,
            status=status_document(status),
            metrics=dict(metrics),
        )
        await asyncio.Event().wait()

    with _stopped_by_signals(mesh, printer) as stopped:
        try:
            await mesh.run(serve)
        except asyncio.CancelledError:
            if not stopped.is_set():
                raise
            printer.report("stopped", "stopped")


@contextmanager
def _stopped_by_signals(mesh: EmbeddedMesh, printer: EventPrinter) -> Iterator[asyncio.Event]:
    """Cancels this task at the first signal, and kills every process at the second one.

    Yields an event that is set once a signal was received.
    """
    loop = asyncio.get_running_loop()
    task = asyncio.current_task()
    stopped = asyncio.Event()

    def stop() -> None:
        if stopped.is_set():
            mesh.kill()
            return
        stopped.set()
        printer.report("stopping", "stopping; press Ctrl-C again to kill every process")
        if task is not None:
            task.cancel()

    for number in _STOP_SIGNALS:
        loop.add_signal_handler(number, stop)
    try:
        yield stopped
    finally:
        for number in _STOP_SIGNALS:
            loop.remove_signal_handler(number)


def names_to_deploy(models: Iterable[Path]) -> dict[Path, str]:
    """Returns a distinct name for each model: that of its file, or one like it where no model can have that name.

    Programs and scripts name models by their files, so names that are usable stay; the others are numbered around them.
    """
    names = {path: path.stem for path in models}
    taken = {name for name in names.values() if is_model_name(name)}
    for path in [path for path, name in names.items() if name not in taken]:
        nearest = nearest_model_name(path.stem)
        candidates = chain([nearest], (f"{nearest[:120]}-{number}" for number in count(2)))
        names[path] = next(name for name in candidates if name not in taken)
        taken.add(names[path])
    return names


async def _deploy_all(client: MeshClient, models: list[Path], printer: EventPrinter) -> None:
    """Deploys each model that is not restored from an earlier run; a failure is reported, and the next model deployed."""
    served = {model.name for model in (await client.status()).models} if models else set()
    for path, name in names_to_deploy(models).items():
        if name in served:
            printer.report(
                "kept",
                f"{name} was restored from an earlier run; `onnxmesh deploy` replaces it",
                name=name,
            )
            continue
        as_name = "" if name == path.stem else f" as {name}"
        printer.report("deploying", f"deploying {path}{as_name} …", path=str(path))
        spec = DeploymentSpec(name=name, replicas=1, optimisation="auto")
        try:
            model = await client.deploy(path, spec)
        except MeshError as error:
            printer.report_error(f"{path} is not served: {error.message}")
        else:
            printer.report("deployed", deployment_sentence(model), model=model_document(model))


def welcome(status: StatusResponse, address: str, where: str, metrics: Mapping[str, str]) -> str:
    """Returns the topology as a picture, commands to try, and the ready line."""
    lines = [f"  clients ──▶ gateway {address}", "                 │"]
    for number, worker in enumerate(status.workers, start=1):
        branch = "└" if number == len(status.workers) else "├"
        lines.append(
            f"                 {branch}──▶ {worker.id} {worker.address} {' '.join(worker.tags)}".rstrip()
        )
    option = "" if reachable_address(address) == DEFAULT_MESH else f" --mesh {reachable_address(address)}"
    name = status.models[0].name if status.models else "NAME"
    lines += [
        "",
        f"  {where}",
        *([f"  metrics: {_metrics_text(metrics)}"] if metrics else []),
        "  from another terminal:",
        f"    onnxmesh deploy MODEL.onnx --stages 2{option}",
        f"    onnxmesh infer {name} --input INPUT=random --trace{option}",
        f"    onnxmesh status{option}",
        "",
        f"mesh ready: gateway {address}",
    ]
    return "\n".join(lines)


def _metrics_text(metrics: Mapping[str, str]) -> str:
    """Returns where the metrics of each service are, for a person or a Prometheus."""
    (first, address), *others = metrics.items()
    return f"http://{address}/metrics ({first}), " + ", ".join(
        f":{each.rpartition(':')[2]} ({name})" for name, each in others
    )
