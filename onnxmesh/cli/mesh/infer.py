"""`onnxmesh infer`: sends one request."""

from __future__ import annotations

import asyncio
import shlex
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from time import perf_counter
from typing import Annotated, Any

import numpy as np
import typer
from rich.filesize import decimal
from rich.markup import escape
from rich.table import Table

from onnxmesh.cli.terminal.console import output
from onnxmesh.cli.terminal.exit_codes import errors_reported
from onnxmesh.cli.terminal.json_output import print_json
from onnxmesh.cli.terminal.options import DEFAULT_MESH, Json, Mesh, Prefer, Require
from onnxmesh.cli.terminal.output_files import save_outputs
from onnxmesh.cli.terminal.tensor_arguments import read_input_arrays
from onnxmesh.client import InferResult, MeshClient, RouteOptions, RouteTrace
from onnxmesh.client.infer_result import Array
from onnxmesh.errors import InvalidRequest
from onnxmesh.model.tensor_spec import TensorSpec
from onnxmesh.oip.open_inference_pb2 import ModelMetadataResponse

_NUM_SHOWN = 8


def infer(
    name: Annotated[str, typer.Argument(help="Name of the model.")],
    inputs: Annotated[
        list[str] | None,
        typer.Option(
            "--input",
            metavar="NAME=FILE.npy|random",
            help="An input tensor: a file of numpy.save, or random values of the model's datatype and shape "
            "(random:2x3 sets the shape). Once for each input.",
        ),
    ] = None,
    outputs: Annotated[
        list[str] | None,
        typer.Option("--output", metavar="NAME", help="Return only this output; may be repeated."),
    ] = None,
    version: Annotated[str, typer.Option(help="Version number; default: the latest that is ready.")] = "",
    trace: Annotated[
        bool, typer.Option("--trace", help="Show the route with the times of each stage.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Save each output as NAME.npy in this folder.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of random inputs.")] = 0,
    timeout: Annotated[
        float, typer.Option(min=0.001, metavar="SECONDS", help="The request's deadline.")
    ] = 60.0,
    require: Require = None,
    prefer: Prefer = None,
    session: Annotated[
        str,
        typer.Option(metavar="ID", help="Prefer the workers that served this session last."),
    ] = "",
    mesh: Mesh = DEFAULT_MESH,
    as_json: Json = False,
) -> None:
    """Send one request and show its outputs.

    **Examples**

    ```
    onnxmesh infer resnet50 --input data=random --trace
    onnxmesh infer bert --input ids=ids.npy --input mask=mask.npy --out out
    onnxmesh infer resnet50 --input data=random:8x3x224x224 --json
    onnxmesh infer chat --input ids=ids.npy --require 'gpu.memory >= 24Gi'
    onnxmesh infer chat --input ids=ids.npy --prefer zone=eu:50 --session 7
    ```
    """
    with errors_reported():
        result, latency_s = asyncio.run(
            _infer(
                mesh,
                name,
                inputs or [],
                outputs,
                version=version,
                timeout=timeout,
                trace=trace,
                seed=seed,
                options=RouteOptions(tuple(require or ()), tuple(prefer or ()), session),
            )
        )
        saved = save_outputs(out, result.outputs) if out else {}
    if as_json:
        print_json(infer_document(result, latency_s, saved))
        return
    console = output()
    console.print(outputs_table(result))
    if result.trace is not None:
        console.print(trace_table(result.trace))
    console.print(f"{latency_s * 1e3:.2f} ms")
    for saved_output, path in saved.items():
        whose = "" if path.stem == saved_output else f" with output '{saved_output}'"
        console.print(f"wrote {path}{whose}", markup=False, soft_wrap=True)


def outputs_table(result: InferResult) -> Table:
    """Returns one row for each output."""
    table = Table(
        "output", "type", "shape", "values", title=f"{escape(result.model)} version {result.version}"
    )
    for name, array in result.outputs.items():
        table.add_row(escape(name), str(array.dtype), str(list(array.shape)), escape(_preview(array)))
    return table


def trace_table(trace: RouteTrace) -> Table:
    """Returns one row for each hop: times in microseconds, batch, and bytes if the output was compressed."""
    title = f"route, attempt {trace.attempts}" if trace.attempts > 1 else "route"
    if trace.pieces > 1:
        title += f"; {trace.pieces} micro-batches: sum of compute, maximum of the other times"
    table = Table("stage", "worker", title=title)
    for column in ("wire µs", "queue µs", "compute µs", "batch", "compressed"):
        table.add_column(column, justify="right")
    for hop in trace.hops:
        figures = (f"{figure:.0f}" for figure in (hop.wire_us, hop.queue_us, hop.compute_us))
        sent = f"{decimal(hop.plain_bytes)} as {decimal(hop.wire_bytes)}" if hop.plain_bytes else ""
        table.add_row(escape(hop.stage), escape(hop.worker), *figures, str(hop.batch), sent)
    table.add_row("result", "gateway", f"{trace.return_us:.0f}", "", "", "")
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
    options: RouteOptions,
) -> tuple[InferResult, float]:
    async with MeshClient(mesh) as client:
        metadata = await client.model_metadata(name, version, timeout)
        if metadata.inputs and not arguments:
            raise InvalidRequest(f"'{name}' needs inputs: try {_example(metadata)}")
        tensors = read_input_arrays(arguments, name, _specs(metadata), seed)
        start_s = perf_counter()
        result = await client.infer(
            name,
            tensors.arrays,
            outputs,
            version,
            timeout,
            trace,
            datatypes=tensors.datatypes,
            options=options,
        )
        return result, perf_counter() - start_s


def _specs(metadata: ModelMetadataResponse) -> list[TensorSpec]:
    return [TensorSpec(each.name, each.datatype, tuple(each.shape)) for each in metadata.inputs]


def _example(metadata: ModelMetadataResponse) -> str:
    return " ".join(f"--input {shlex.quote(f'{tensor.name}=random')}" for tensor in metadata.inputs)


def _preview(array: Array) -> str:
    shown = np.array2string(array.ravel()[:_NUM_SHOWN], precision=6, separator=", ", max_line_width=1000)
    return shown if array.size <= _NUM_SHOWN else f"{shown[:-1]}, …]"


def infer_document(result: InferResult, latency_s: float, saved: Mapping[str, Path]) -> dict[str, Any]:
    """Returns the document of `onnxmesh infer --json`.

    Elements of BYTES are strings; if one of an output is not UTF-8, that output's are base64 and its `encoding` says so.

    Args:
        result: The outputs and the trace.
        latency_s: Seconds of the request.
        saved: The file of each output that was saved.
    """
    outputs = {name: _output_document(array) for name, array in result.outputs.items()}
    for name, path in saved.items():
        outputs[name]["file"] = str(path)
    return {
        "model": result.model,
        "version": result.version,
        "latency_ms": latency_s * 1e3,
        "outputs": outputs,
        "trace": None if result.trace is None else asdict(result.trace),
    }


def _output_document(array: Array) -> dict[str, Any]:
    document: dict[str, Any] = {"dtype": str(array.dtype), "shape": list(array.shape)}
    elements = array.ravel().tolist()
    if array.dtype != np.object_:
        return {**document, "data": elements}
    try:
        return {**document, "data": [bytes(element).decode() for element in elements]}
    except UnicodeDecodeError:
        encoded = [b64encode(element).decode() for element in elements]
        return {**document, "encoding": "base64", "data": encoded}
