"""How commands end: exit codes, and errors as one line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import grpc
import typer

from onnxmesh.errors import MeshError, Unavailable

FAILED = 1
"""The operation failed, or what was compared differs."""

BAD_INPUT = 2
"""The command was given something wrong; trying it again will not help."""

_BAD_INPUT_CODES = frozenset({grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND})


@contextmanager
def reported() -> Iterator[None]:
    """Turns an expected error into one line on standard error and the exit code that fits."""
    try:
        yield
    except MeshError as error:
        hint = ""
        if isinstance(error, Unavailable) and error.message.startswith("no mesh answers"):
            hint = "; start one with `onnxmesh up`, or name one with --mesh"
        typer.echo(f"error: {' '.join(error.message.split())}{hint}", err=True)
        raise typer.Exit(BAD_INPUT if error.code in _BAD_INPUT_CODES else FAILED) from error
