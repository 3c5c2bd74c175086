"""Packages of the extra `worker`, which commands on a model's file need."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from onnxmesh.errors import Unsatisfiable

_EXTRA = frozenset({"drawsvg", "onnx", "onnx_ir", "onnxruntime", "yaml"})


@contextmanager
def require_worker_extra() -> Iterator[None]:
    """Names the extra to install where the block fails to import one of its packages.

    Raises:
        Unsatisfiable: A package of the extra is missing (FAILED_PRECONDITION).
    """
    try:
        yield
    except ImportError as error:
        if (error.name or "").partition(".")[0] not in _EXTRA:
            raise
        raise Unsatisfiable(
            "this command needs the `worker` extra: pip install 'onnxmesh[worker]'"
        ) from error
