"""Prerequisites of commands that work on a model's file: the file, and the packages of the extra `worker`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from onnxmesh.errors import InvalidRequest, Unsatisfiable

_EXTRA = frozenset({"drawsvg", "onnx", "onnx_ir", "onnxruntime", "yaml"})


def require_model(model: Path) -> None:
    """Checks that the model's file exists.

    Raises:
        InvalidRequest: It does not (INVALID_ARGUMENT).
    """
    if not model.is_file():
        raise InvalidRequest(f"no model at '{model}': there is no such file")


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
