"""`onnxmesh deploy`: uploads a model and waits until it is served."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from onnxmesh.cli.mesh.activation_error_text import activation_error_text
from onnxmesh.cli.mesh.batching_text import unbatched_text
from onnxmesh.cli.mesh.status_document import model_document
from onnxmesh.cli.terminal.counts import AUTO, parse_count
from onnxmesh.cli.terminal.exit_codes import errors_reported
from onnxmesh.cli.terminal.json_output import print_json
from onnxmesh.cli.terminal.options import DEFAULT_MESH, Json, Mesh
from onnxmesh.cli.terminal.progress import progress_steps
from onnxmesh.cli.terminal.shapes import parse_shapes
from onnxmesh.client import MeshClient
from onnxmesh.errors import InvalidRequest
from onnxmesh.files.model_path import require_model_file
from onnxmesh.model.batching import BatchMode
from onnxmesh.model.model_name import NAME_RULE, is_model_name, nearest_model_name
from onnxmesh.model.plan import Objective
from onnxmesh.quantities import bytes_text, count_text
from onnxmesh.v1.mesh_pb2 import DeployProgress, ModelStatus
from onnxmesh.v1.model_pb2 import Batching, DeploymentSpec, Shape, Shapes


def deploy(
    model: Annotated[Path, typer.Argument(metavar="MODEL.onnx", help="The model's file.")],
    name: Annotated[
        str | None, typer.Option(help="The name in requests; default: the file's name without .onnx.")
    ] = None,
    stages: Annotated[
        str,
        typer.Option(
            metavar="K|auto", help="Number of stages; auto: the number with the lowest estimated cost."
        ),
    ] = AUTO,
    replicas: Annotated[
        str,
        typer.Option(metavar="R|auto", help="Number of replicas of each stage; auto: chosen for each stage."),
    ] = "1",
    objective: Annotated[
        Objective,
        typer.Option(help="What the plan optimises."),
    ] = Objective.THROUGHPUT,
    mode: Annotated[
        str,
        typer.Option(
            metavar="MODE",
            help="exact: bit for bit as uncut, on hardware of one kind; portable: each stage is optimised for its own "
            "device; auto: exact unless there are GPUs.",
        ),
    ] = AUTO,
    batch: Annotated[int, typer.Option(help="Batch size to plan for.")] = 1,
    shape: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=1x3x224x224", help="Shape of an input to plan for; may be repeated."),
    ] = None,
    batching: Annotated[
        BatchMode,
        typer.Option(
            help="Dynamic batching at each stage. auto: where the graph proves that rows are independent and the outputs "
            "stay equal bit for bit, or in mode portable differ no more than between kinds of hardware; on: without the "
            "proof, and with such differences in mode exact too."
        ),
    ] = BatchMode.AUTO,
    max_batch: Annotated[
        str,
        typer.Option(
            metavar="ROWS|auto", help="Largest batch of a stage, in rows; its memory is not planned."
        ),
    ] = AUTO,
    max_delay_ms: Annotated[
        float | None,
        typer.Option(
            min=0,
            help="Longest time that a busy stage waits for a larger batch; 0: it does not wait; default: adaptive.",
        ),
    ] = None,
    max_activation_error: Annotated[
        float | None,
        typer.Option(
            metavar="BOUND",
            help="Largest error of an output that lossy compression of activations may cause on slow links, relative to "
            "the largest magnitude in that output, such as 0.01; measured with random inputs. Default: no loss.",
        ),
    ] = None,
    require: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SELECTOR",
            help="A selector that each worker of this model must match, such as 'gpu.memory >= 24Gi, !spot'; may be "
            "repeated.",
        ),
    ] = None,
    version: Annotated[int, typer.Option(min=0, help="Version number; 0: the next free one.")] = 0,
    percent: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=100,
            help="Share of the requests without a version, in percent; default: 100, or 0 once a traffic split is set.",
        ),
    ] = None,
    optimisation: Annotated[
        str,
        typer.Option(
            metavar="LEVEL",
            help="ONNX Runtime's optimisation before the cut: auto, none, basic, extended or all.",
        ),
    ] = AUTO,
    mesh: Mesh = DEFAULT_MESH,
    as_json: Json = False,
) -> None:
    """Cut a model into stages and serve it.

    Uploads the model with its external data files. A worker checks and optimises it; then it is cut, placed, loaded and
    warmed up. If that fails, the versions that were served before are still served.

    **Examples**

    ```
    onnxmesh deploy resnet50.onnx
    onnxmesh deploy llm.onnx --name chat --stages 4 --replicas 2
    onnxmesh deploy detector.onnx --replicas auto --shape image=8x3x640x640
    onnxmesh deploy big.onnx --require gpu --mesh mesh.example:8001
    onnxmesh deploy newer.onnx --name resnet50 --percent 10  # a canary
    ```
    """
    with errors_reported():
        shapes = parse_shapes(batch, shape or [])
        num_replicas = parse_count("--replicas", replicas)
        spec = DeploymentSpec(
            name=_model_name(name, model),
            version=version,
            stages=parse_count("--stages", stages),
            replicas=num_replicas or 1,
            require=require or [],
            optimisation=optimisation,
            mode=mode,
            objective=objective.value,
            replicate=num_replicas == 0,
            traffic_percent=percent,
            shapes=Shapes(
                batch=shapes.batch, inputs={name: Shape(dims=dims) for name, dims in shapes.inputs.items()}
            ),
            batching=Batching(
                mode=batching.value,
                max_rows=parse_count("--max-batch", max_batch),
                max_delay_us=None if max_delay_ms is None else round(max_delay_ms * 1000),
            ),
            max_activation_error=max_activation_error,
        )
        deployed = asyncio.run(_deploy(mesh, model, spec))
    if as_json:
        print_json(model_document(deployed))
    else:
        typer.echo(deployment_sentence(deployed))


def _model_name(given: str | None, model: Path) -> str:
    """Returns the name to deploy under: the given one, or that of the file.

    Raises:
        InvalidRequest: It cannot be the name of a model; the message has one that can (INVALID_ARGUMENT).
    """
    name = model.stem if given is None else given
    if is_model_name(name):
        return name
    whose = f"the file's name '{name}'" if given is None else f"--name '{name}'"
    # A path that names no file is the first error to mend.
    require_model_file(model)
    raise InvalidRequest(
        f"{whose} is no model name ({NAME_RULE}): choose one, such as --name {nearest_model_name(name)}"
    )


def deployment_sentence(model: ModelStatus) -> str:
    """Returns one sentence with a deployed model's stages and the workers that hold them."""
    workers: dict[int, list[str]] = {stage: [] for stage in range(len(model.plan.partitions))}
    for replica in model.replicas:
        workers.setdefault(replica.stage, []).append(replica.worker)
    pipeline = " → ".join("|".join(held) or "?" for held in workers.values())
    clauses = [
        f"deployed {model.name} version {model.version} in {count_text(len(workers), 'stage')}: {pipeline}",
        unbatched_text(model.plan),
        activation_error_text(model),
    ]
    return "; ".join(filter(None, clauses))


async def _deploy(mesh: str, model: Path, spec: DeploymentSpec) -> ModelStatus:
    with progress_steps(f"connecting to {mesh}") as steps:

        def progress(step: DeployProgress) -> None:
            if step.phase == DeployProgress.ACCEPTED:
                steps.step(f"uploading {model.name}")
            elif step.phase != DeployProgress.READY:
                steps.step(step.message or DeployProgress.Phase.Name(step.phase).lower())

        def uploaded(num_bytes: int, total_bytes: int) -> None:
            steps.update(f"uploading {model.name}: {bytes_text(num_bytes)} of {bytes_text(total_bytes)}")

        async with MeshClient(mesh) as client:
            return await client.deploy(model, spec, progress, uploaded)
