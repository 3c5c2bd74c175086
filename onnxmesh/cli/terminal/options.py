"""Options that several commands share."""

from __future__ import annotations

from typing import Annotated

import typer

from onnxmesh.cli.terminal.exit_codes import errors_reported
from onnxmesh.errors import InvalidRequest
from onnxmesh.host_and_port import host_and_port

DEFAULT_MESH = "127.0.0.1:8001"
"""The gateway's address of `onnxmesh up` without `--address`."""

_VARIABLE = "ONNXMESH_MESH"
"""The environment variable that stands for --mesh."""


def _address(context: typer.Context, text: str) -> str:
    with errors_reported():
        try:
            return host_and_port(text)
        except ValueError as error:
            source = context.get_parameter_source("mesh")
            from_environment = source is not None and source.name == "ENVIRONMENT"
            raise InvalidRequest(f"{_VARIABLE if from_environment else '--mesh'}: {error}") from None


Mesh = Annotated[
    str,
    typer.Option(
        "--mesh",
        metavar="HOST:PORT",
        envvar=_VARIABLE,
        help="The address of a gateway of the mesh.",
        callback=_address,
    ),
]

Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]

Require = Annotated[
    list[str] | None,
    typer.Option(metavar="SELECTOR", help="A selector that each worker must match; may be repeated."),
]

Prefer = Annotated[
    list[str] | None,
    typer.Option(
        metavar="SELECTOR[:WEIGHT]",
        help="A selector that each worker should match, with a weight from 1 to 100; may be repeated.",
    ),
]
