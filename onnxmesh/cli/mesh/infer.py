"""`onnxmesh infer`."""

from __future__ import annotations

import asyncio
import json
from dataclasses import asdict
from pathlib import Path
from time import perf_counter
from typing import Annotated, Any

import numpy as np
import typer
from rich.filesize import decimal
from rich.markup import escape
from rich.table import Table

from onnxmesh.cli.mesh.tensor_arguments import read_input_arrays, save_array
from onnxmesh.cli.terminal.console import output
from onnxmesh.cli.terminal.options import DEFAULT_MESH, Json, Mesh, Prefer, Require
from onnxmesh.cli.terminal.outcome import reported
from onnxmesh.client import Answer, MeshClient, RouteOptions, RouteTrace
from onnxmesh.client.answer import Array
from onnxmesh.errors import InvalidRequest
from onnxmesh.oip.open_inference_pb2 import ModelMetadataResponse

_NUM_SHOWN = 8


def infer(
    name: Annotated[str, typer.Argument(help="The model.")],
    inputs: Annotated[
        list[str] | None,
        typer.Option(
            "--input",
            metavar="NAME=FILE.npy|random",
            help="An input: a file that numpy.save wrote, or random values of the model's own type and shape "
            "(random:2x3 gives the shape). Once for each input.",
        ),
    ] = None,
    outputs: Annotated[
        list[str] | None, typer.Option("--output", metavar="NAME", help="Only this output; may be repeated.")
    ] = None,
    version: Annotated[str, typer.Option(help="The version; default: the latest that is ready.")] = "",
    trace: Annotated[bool, typer.Option("--trace", help="Show the route, with times of each stage.")] = False,
    out: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Save each output there as NAME.npy.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of random inputs.")] = 0,
    timeout: Annotated[float, typer.Option(help="Seconds until the mesh gives up.")] = 60.0,
    require: Require = None,
    prefer: Prefer = None,
    session: Annotated[
        str,
        typer.Option(metavar="ID", help="Go to the workers that served this session last, where they can."),
    ] = "",
    mesh: Mesh = DEFAULT_MESH,
    as_json: Json = False,
) -> None:
    """Run a model once and show what it answers.

    **Examples**

        onnxmesh infer resnet50 --input data=random --trace
        onnxmesh infer bert --input ids=ids.npy --input mask=mask.npy --out answers
        onnxmesh infer resnet50 --input data=random:8x3x224x224 --json
        onnxmesh infer chat --input ids=ids.npy --require 'gpu.memory >= 24Gi' --prefer zone=eu:50 --session anna
    """
    with reported():
        answer, latency_s = asyncio.run(
            _infer(
                mesh,
                name,
                inputs or [],
                outputs,
                version=version,
                timeout=timeout,
                trace=trace,
                seed=seed,
                wishes=RouteOptions(tuple(require or ()), tuple(prefer or ()), session),
            )
        )
        saved = [save_array(out, output, array) for output, array in answer.outputs.items()] if out else []
    if as_json:
        typer.echo(json.dumps(_document(answer, latency_s)))
        return
    console = output()
    console.print(outputs_table(answer))
    if answer.trace is not None:
        console.print(trace_table(answer.trace))
    console.print(f"{latency_s * 1e3:.2f} ms")
    for path in saved:
        console.print(f"wrote {path}", markup=False)


def outputs_table(answer: Answer) -> Table:
    """One row for each output."""
    table = Table(
        "output", "type", "shape", "values", title=f"{escape(answer.model)} version {answer.version}"
    )
    for name, array in answer.outputs.items():
        table.add_row(escape(name), str(array.dtype), str(list(array.shape)), escape(_preview(array)))
    return table


def trace_table(trace: RouteTrace) -> Table:
    """One row for each hop, in microseconds, and what it sent on in fewer bytes."""
    title = f"route, attempt {trace.attempts}" if trace.attempts > 1 else "route"
    if trace.pieces > 1:
        title += f"; {trace.pieces} micro-batches: compute of all, the longest of the rest"
    table = Table("stage", "worker", title=title)
    for column in ("wire µs", "queue µs", "compute µs", "batch", "sent on"):
        table.add_column(column, justify="right")
    for hop in trace.hops:
        figures = (f"{figure:.0f}" for figure in (hop.wire_us, hop.queue_us, hop.compute_us))
        sent = f"{decimal(hop.plain_bytes)} as {decimal(hop.wire_bytes)}" if hop.plain_bytes else ""
        table.add_row(escape(hop.stage), escape(hop.worker), *figures, str(hop.batch), sent)
    table.add_row("answer", "gateway", f"{trace.return_us:.0f}", "", "", "")
    table.add_row("total in the mesh", "", "", "", f"{trace.total_us:.0f}", "", style="bold")
    return table


async def _infer(
    mesh: str,
    name: str,
    arguments: list[str],
    outputs: list[str] | None,
    *,
    version: str,
    timeout: float,
    trace: bool,
    seed: int,
    wishes: RouteOptions,
) -> tuple[Answer, float]:
    async with MeshClient(mesh) as client:
        metadata = await client.model_metadata(name, version, timeout)
        if not arguments:
            raise InvalidRequest(f"'{name}' needs inputs: try {_example(metadata)}")
        tensors = read_input_arrays(arguments, metadata, seed)
        start_s = perf_counter()
        answer = await client.infer(
            name,
            tensors.arrays,
            outputs,
            version,
            timeout,
            trace,
            datatypes=tensors.datatypes,
            wishes=wishes,
        )
        return answer, perf_counter() - start_s


def _example(metadata: ModelMetadataResponse) -> str:
    return " ".join(f"--input {tensor.name}=random" for tensor in metadata.inputs)


def _preview(array: Array) -> str:
    shown = np.array2string(array.ravel()[:_NUM_SHOWN], precision=6, separator=", ", max_line_width=1000)
    return shown if array.size <= _NUM_SHOWN else f"{shown[:-1]}, …]"


def _document(answer: Answer, latency_s: float) -> dict[str, Any]:
    return {
        "model": answer.model,
        "version": answer.version,
        "latency_ms": latency_s * 1e3,
        "outputs": {
            name: {"dtype": str(array.dtype), "shape": list(array.shape), "data": _plain(array.ravel())}
            for name, array in answer.outputs.items()
        },
        "trace": None if answer.trace is None else asdict(answer.trace),
    }


def _plain(array: Array) -> list[Any]:
    return [
        element.decode(errors="backslashreplace") if isinstance(element, bytes) else element
        for element in array.tolist()
    ]
