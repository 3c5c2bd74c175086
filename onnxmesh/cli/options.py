"""Options that several commands share."""

from __future__ import annotations

from typing import Annotated

import typer

Mesh = Annotated[
    str,
    typer.Option(
        "--mesh",
        metavar="HOST:PORT",
        envvar="ONNXMESH_MESH",
        help="A gateway of the mesh.",
    ),
]

Json = Annotated[bool, typer.Option("--json", help="Print JSON, for a program to read.")]

DEFAULT_MESH = "127.0.0.1:8001"
"""Where `onnxmesh up` listens unless told otherwise."""
