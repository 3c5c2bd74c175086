"""What commands that work on a model's file need: the file, and packages beyond the base install."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from onnxmesh.errors import InvalidRequest, Unsatisfiable

_EXTRA = frozenset({"drawsvg", "onnx", "onnx_ir", "onnxruntime", "yaml"})


def require_model(model: Path) -> None:
    """Checks that there is a file.

    Raises:
        InvalidRequest: There is none (INVALID_ARGUMENT).
    """
    if not model.is_file():
        raise InvalidRequest(f"no model at '{model}': there is no such file")


@contextmanager
def worker_extra() -> Iterator[None]:
    """Says what to install where one of the extra's packages is missing.

    Raises:
        Unsatisfiable: One is (FAILED_PRECONDITION).
    """
    try:
        yield
    except ImportError as error:
        if (error.name or "").partition(".")[0] not in _EXTRA:
            raise
        raise Unsatisfiable(
            "this command needs the `worker` extra: pip install 'onnxmesh[worker]'"
        ) from error
