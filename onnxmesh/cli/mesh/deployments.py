"""`onnxmesh deploy` and `onnxmesh undeploy`."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from onnxmesh.cli.mesh.activation_words import activation_words
from onnxmesh.cli.mesh.status_document import model_document
from onnxmesh.cli.model_files.shapes import parse_shapes
from onnxmesh.cli.terminal.counts import AUTO, _count, parse_num_replicas, parse_num_stages
from onnxmesh.cli.terminal.options import DEFAULT_MESH, Json, Mesh
from onnxmesh.cli.terminal.outcome import reported
from onnxmesh.client import MeshClient
from onnxmesh.model.batching import BatchMode
from onnxmesh.model.plan import Objective
from onnxmesh.v1.mesh_pb2 import DeployProgress, ModelStatus
from onnxmesh.v1.model_pb2 import Batching, DeploymentSpec, Shape, Shapes


def deploy(
    model: Annotated[Path, typer.Argument(metavar="MODEL.onnx", help="The model's file.")],
    name: Annotated[
        str | None, typer.Option(help="What clients call it; default: the file's name without .onnx.")
    ] = None,
    stages: Annotated[
        str, typer.Option(metavar="K|auto", help="Number of stages; auto chooses by estimated cost.")
    ] = AUTO,
    replicas: Annotated[
        str,
        typer.Option(
            metavar="R|auto", help="Number of workers that hold each stage; auto chooses for each stage."
        ),
    ] = "1",
    objective: Annotated[
        Objective,
        typer.Option(help="What the plan is to be good at: many answers, or each one soon."),
    ] = Objective.THROUGHPUT,
    mode: Annotated[
        str,
        typer.Option(
            metavar="MODE",
            help="exact: the bits of the whole model on like hardware; portable: each stage optimised for its own "
            "device; auto: exact unless there are GPUs.",
        ),
    ] = AUTO,
    batch: Annotated[int, typer.Option(help="Batch size to plan for.")] = 1,
    shape: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=1x3x224x224", help="An input's shape to plan for; may be repeated."),
    ] = None,
    batching: Annotated[
        BatchMode,
        typer.Option(
            help="Whether requests that wait for a stage run together. auto: where that does not change a bit, or in "
            "mode portable no more than other hardware does; on: so in mode exact too."
        ),
    ] = BatchMode.AUTO,
    max_batch: Annotated[
        str,
        typer.Option(
            metavar="ROWS|auto", help="Most rows that run together; memory for them is not planned."
        ),
    ] = AUTO,
    max_delay_ms: Annotated[
        float | None,
        typer.Option(
            min=0,
            help="Longest that a busy stage waits for more requests; 0: never; default: what it learns to be worth it.",
        ),
    ] = None,
    max_activation_error: Annotated[
        float | None,
        typer.Option(
            metavar="BOUND",
            help="Largest error of an output that activations of fewer bits may bring about on slow links, as a share of "
            "the largest magnitude in that output, such as 0.01; it is measured with random inputs. Default: not a "
            "bit is lost.",
        ),
    ] = None,
    require: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SELECTOR",
            help="What every worker of this model must meet, such as 'gpu.memory >= 24Gi, !spot'; may be repeated.",
        ),
    ] = None,
    version: Annotated[
        int, typer.Option(min=0, help="Version to serve it as; 0 takes the next free one.")
    ] = 0,
    percent: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=100,
            help="Percent of the requests that name no version, from the start; default: all of them, "
            "or none where versions share them already.",
        ),
    ] = None,
    optimisation: Annotated[
        str,
        typer.Option(
            metavar="LEVEL", help="What ONNX Runtime does before the cut: auto, none, basic, extended or all."
        ),
    ] = AUTO,
    mesh: Mesh = DEFAULT_MESH,
    as_json: Json = False,
) -> None:
    """Cut a model into stages and serve it.

    The model goes to the mesh together with the external data files that it names. A worker checks and
    optimises it, then it is cut, placed, loaded and warmed up. What was served before is served on,
    whatever becomes of this.

    **Examples**

        onnxmesh deploy resnet50.onnx
        onnxmesh deploy llm.onnx --name chat --stages 4 --replicas 2
        onnxmesh deploy detector.onnx --replicas auto --batch 8 --shape image=8x3x640x640
        onnxmesh deploy big.onnx --require gpu --mesh mesh.example:8001
        onnxmesh deploy resnet50-new.onnx --name resnet50 --percent 10
    """
    with reported():
        shapes = parse_shapes(batch, shape or [])
        spec = DeploymentSpec(
            name=name or model.stem,
            version=version,
            stages=parse_num_stages(stages),
            replicas=parse_num_replicas(replicas) or 1,
            require=require or [],
            optimisation=optimisation,
            mode=mode,
            objective=objective.value,
            replicate=parse_num_replicas(replicas) == 0,
            traffic_percent=percent,
            shapes=Shapes(
                batch=shapes.batch, inputs={name: Shape(dims=dims) for name, dims in shapes.inputs.items()}
            ),
            batching=Batching(
                mode=batching.value,
                max_rows=_count("--max-batch", max_batch),
                max_delay_us=None if max_delay_ms is None else round(max_delay_ms * 1000),
            ),
            max_activation_error=max_activation_error,
        )
        deployed = asyncio.run(_deploy(mesh, model, spec))
    typer.echo(json.dumps(model_document(deployed)) if as_json else sentence_of(deployed))


def undeploy(
    name: Annotated[str, typer.Argument(help="The model.")],
    version: Annotated[int, typer.Option(min=0, help="The version; 0 means all.")] = 0,
    mesh: Mesh = DEFAULT_MESH,
    as_json: Json = False,
) -> None:
    """Take a model, or one version of it, out of service.

    **Examples**

        onnxmesh undeploy resnet50
        onnxmesh undeploy chat --version 3
    """
    with reported():
        versions = asyncio.run(_undeploy(mesh, name, version))
    if as_json:
        typer.echo(json.dumps({"name": name, "versions": versions}))
    else:
        typer.echo(f"undeployed {name} version {', '.join(map(str, versions))}")


def sentence_of(model: ModelStatus) -> str:
    """Says where a deployed model is."""
    workers = {stage: [] for stage in range(len(model.plan.partitions))}  # type: dict[int, list[str]]
    for replica in model.replicas:
        workers.setdefault(replica.stage, []).append(replica.worker)
    where = " → ".join("|".join(held) or "?" for held in workers.values())
    stages = "1 stage" if len(workers) == 1 else f"{len(workers)} stages"
    told = activation_words(model)
    return f"deployed {model.name} version {model.version} in {stages}: {where}{told and f'; {told}'}"


async def _deploy(mesh: str, model: Path, spec: DeploymentSpec) -> ModelStatus:
    console = Console(stderr=True)
    with console.status("sending the model …") as shown:

        def progress(step: DeployProgress) -> None:
            text = step.message or DeployProgress.Phase.Name(step.phase).lower()
            shown.update(f"{text} …")
            if not console.is_terminal:
                console.print(text, highlight=False, markup=False)

        async with MeshClient(mesh) as client:
            return await client.deploy(model, spec, progress)


async def _undeploy(mesh: str, name: str, version: int) -> list[int]:
    async with MeshClient(mesh) as client:
        return await client.undeploy(name, version)
