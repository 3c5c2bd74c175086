"""Options that several commands share."""

from __future__ import annotations

from typing import Annotated

import typer

from onnxmesh.cli.terminal.outcome import reported
from onnxmesh.errors import InvalidRequest
from onnxmesh.host_and_port import host_and_port


def _address(words: str) -> str:
    with reported():
        try:
            return host_and_port(words)
        except ValueError as error:
            raise InvalidRequest(f"--mesh: {error}") from None


Mesh = Annotated[
    str,
    typer.Option(
        "--mesh",
        metavar="HOST:PORT",
        envvar="ONNXMESH_MESH",
        help="A gateway of the mesh.",
        callback=_address,
    ),
]

Json = Annotated[bool, typer.Option("--json", help="Print JSON, for a program to read.")]

Require = Annotated[
    list[str] | None,
    typer.Option(metavar="SELECTOR", help="What each worker must meet; may be repeated."),
]

Prefer = Annotated[
    list[str] | None,
    typer.Option(
        metavar="SELECTOR[:WEIGHT]",
        help="What each worker should meet, with a weight from 1 to 100; may be repeated.",
    ),
]

DEFAULT_MESH = "127.0.0.1:8001"
"""Where `onnxmesh up` listens unless told otherwise."""
