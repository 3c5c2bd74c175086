"""`onnxmesh up`."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from onnxmesh.cli.local_mesh.embedded_mesh import EmbeddedMesh, MeshShape, dialled
from onnxmesh.cli.local_mesh.event_printers import EventPrinter, JsonPrinter, TextPrinter
from onnxmesh.cli.local_mesh.state_folder import open_state_folder
from onnxmesh.cli.mesh.deployments import sentence_of
from onnxmesh.cli.mesh.status_document import model_document, status_document
from onnxmesh.cli.terminal.options import DEFAULT_MESH
from onnxmesh.cli.terminal.outcome import reported
from onnxmesh.client import MeshClient
from onnxmesh.errors import InvalidRequest, MeshError
from onnxmesh.v1.mesh_pb2 import StatusResponse
from onnxmesh.v1.model_pb2 import DeploymentSpec

_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def up(
    workers: Annotated[int, typer.Option(min=1, max=64, help="Number of workers.")] = 2,
    address: Annotated[
        str, typer.Option(metavar="HOST:PORT", help="Where the gateway listens; port 0 takes a free one.")
    ] = DEFAULT_MESH,
    models: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Deploy every .onnx file in it, stages auto.")
    ] = None,
    state: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Keep models and logs there; default: a folder that goes when the mesh does.",
        ),
    ] = None,
    threads: Annotated[
        int | None, typer.Option(min=1, help="ONNX Runtime threads of each worker; default: cores / workers.")
    ] = None,
    gateway_processes: Annotated[
        int, typer.Option(min=1, max=64, help="Number of processes that are the gateway, on its one port.")
    ] = 1,
    zones: Annotated[
        str,
        typer.Option(
            metavar="A,B,…",
            help="Zones that the workers say they are in, in turn; the gateway is in the first.",
        ),
    ] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print events as JSON lines.")] = False,
) -> None:
    """Run a mesh on this machine until Ctrl-C: a scheduler, a gateway and workers, each a process.

    The line **mesh ready: gateway HOST:PORT** says that it answers. A service that dies is reported and
    started again at the same address. Ctrl-C or SIGTERM stop everything within 5 seconds; a second Ctrl-C
    at once.

    **Examples**

        onnxmesh up
        onnxmesh up --workers 4 --models my-models --state mesh-state
        onnxmesh up --address 0.0.0.0:8001             for clients on other machines
        onnxmesh up --workers 4 --zones near,far       to try zones out
    """
    narrator: EventPrinter = JsonPrinter() if as_json else TextPrinter()
    with reported():
        found = models_in(models) if models is not None else []
        shape = MeshShape(
            workers,
            threads or max(1, num_cores() // workers),
            address,
            zones=zones_in(zones),
            gateway_processes=gateway_processes,
        )
        with open_state_folder(state) as folder:
            mesh = EmbeddedMesh(shape, folder, narrator)
            where = f"state and logs in {folder.root}"
            if not folder.kept:
                where = f"logs in {folder.root / 'logs'} while it runs; --state FOLDER keeps models and logs"
            asyncio.run(_up(mesh, narrator, found, where))


def models_in(folder: Path) -> list[Path]:
    """Returns the models in a folder, by name.

    Raises:
        InvalidRequest: There is no such folder, or no model in it (INVALID_ARGUMENT).
    """
    if not folder.is_dir():
        raise InvalidRequest(f"--models: there is no folder '{folder}'")
    found = sorted(folder.glob("*.onnx"))
    if not found:
        raise InvalidRequest(f"--models: there is no .onnx file in '{folder}'")
    return found


def zones_in(text: str) -> tuple[str, ...]:
    """Returns the zones in a list separated by commas; none in an empty one.

    Raises:
        InvalidRequest: One of several is empty (INVALID_ARGUMENT).
    """
    found = tuple(zone.strip() for zone in text.split(",")) if text.strip() else ()
    if not all(found):
        raise InvalidRequest(f"--zones: expected names with commas between, got '{text}'")
    return found


def num_cores() -> int:
    """Returns the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


async def _up(mesh: EmbeddedMesh, narrator: EventPrinter, models: list[Path], where: str) -> None:
    async def serve(address: str) -> None:
        async with MeshClient(dialled(address)) as client:
            await _deploy_all(client, models, narrator)
            status = await client.status()
        for model in status.models:
            if model.state != "READY":
                narrator.complain(f"{model.name} version {model.version} is not served: {model.reason}")
        narrator.tell(
            "ready", _welcome(status, address, where), gateway=address, status=status_document(status)
        )
        await asyncio.Event().wait()

    with _stopped_by_signals(mesh, narrator) as stopped:
        try:
            await mesh.run(serve)
        except asyncio.CancelledError:
            if not stopped.is_set():
                raise
            narrator.tell("stopped", "stopped")


@contextmanager
def _stopped_by_signals(mesh: EmbeddedMesh, narrator: EventPrinter) -> Iterator[asyncio.Event]:
    """Has the first signal cancel this task, and the second one end every process at once.

    Yields an event that says whether a signal came.
    """
    loop = asyncio.get_running_loop()
    task = asyncio.current_task()
    stopped = asyncio.Event()

    def stop() -> None:
        if stopped.is_set():
            mesh.kill()
            return
        stopped.set()
        narrator.tell("stopping", "stopping; Ctrl-C again ends everything at once")
        if task is not None:
            task.cancel()

    for number in _STOP_SIGNALS:
        loop.add_signal_handler(number, stop)
    try:
        yield stopped
    finally:
        for number in _STOP_SIGNALS:
            loop.remove_signal_handler(number)


async def _deploy_all(client: MeshClient, models: list[Path], narrator: EventPrinter) -> None:
    """Deploys each model that no earlier run left behind; one that fails does not keep the others out."""
    served = {model.name for model in (await client.status()).models} if models else set()
    for path in models:
        if path.stem in served:
            narrator.tell(
                "kept",
                f"{path.stem} is here from an earlier run; `onnxmesh deploy` renews it",
                name=path.stem,
            )
            continue
        narrator.tell("deploying", f"deploying {path} …", path=str(path))
        spec = DeploymentSpec(name=path.stem, replicas=1, optimisation="auto")
        try:
            model = await client.deploy(path, spec)
        except MeshError as error:
            narrator.complain(f"{path} is not served: {error.message}")
        else:
            narrator.tell("deployed", sentence_of(model), model=model_document(model))


def _welcome(status: StatusResponse, address: str, where: str) -> str:
    """The topology as a picture, what to try next, and last the ready line."""
    lines = [f"  clients ──▶ gateway {address}", "                 │"]
    for number, worker in enumerate(status.workers, start=1):
        branch = "└" if number == len(status.workers) else "├"
        lines.append(
            f"                 {branch}──▶ {worker.id} {worker.address} {' '.join(worker.tags)}".rstrip()
        )
    option = "" if dialled(address) == DEFAULT_MESH else f" --mesh {dialled(address)}"
    name = status.models[0].name if status.models else "NAME"
    lines += [
        "",
        f"  {where}",
        "  from another terminal:",
        f"    onnxmesh deploy MODEL.onnx --stages 2{option}",
        f"    onnxmesh infer {name} --input INPUT=random --trace{option}",
        f"    onnxmesh status{option}",
        "",
        f"mesh ready: gateway {address}",
    ]
    return "\n".join(lines)
