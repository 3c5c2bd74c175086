"""Exit codes of commands, and errors as one line on standard error."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import grpc
import typer

from onnxmesh.errors import MeshError, Unavailable

FAILED = 1
"""The operation failed, or `verify` found a difference."""

BAD_INPUT = 2
"""The arguments or files are wrong; the same command will fail again."""

_BAD_INPUT_CODES = frozenset({grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND})


@contextmanager
def errors_reported() -> Iterator[None]:
    """Turns a `MeshError` into one line on standard error and the exit code of its status."""
    try:
        yield
    except MeshError as error:
        hint = ""
        if isinstance(error, Unavailable) and error.message.startswith("no mesh answers"):
            hint = "; start one with `onnxmesh up`, or give the address of a gateway with --mesh"
        typer.echo(f"error: {' '.join(error.message.split())}{hint}", err=True)
        raise typer.Exit(BAD_INPUT if error.code in _BAD_INPUT_CODES else FAILED) from error
