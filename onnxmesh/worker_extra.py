"""The packages of the extra `worker`, which workers and commands on a model's file need."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

from onnxmesh.errors import Unsatisfiable

_OF_WORKERS = ("onnx", "onnx_ir", "onnxruntime")
_EXTRA = frozenset({*_OF_WORKERS, "drawsvg", "yaml"})


@contextmanager
def require_worker_extra() -> Iterator[None]:
    """Names the extra to install where the block fails to import one of its packages.

    Raises:
        Unsatisfiable: A package of the extra is missing or broken (FAILED_PRECONDITION).
    """
    try:
        yield
    except ImportError as error:
        package = (error.name or "").partition(".")[0]
        if package not in _EXTRA:
            raise
        if not isinstance(error, ModuleNotFoundError):
            raise Unsatisfiable(f"{package} cannot be imported: {error}") from error
        raise _missing(package) from error


def require_worker_packages() -> None:
    """Checks that this Python has the packages of a worker, without importing them.

    Raises:
        Unsatisfiable: One is missing (FAILED_PRECONDITION).
    """
    for name in _OF_WORKERS:
        try:
            found = find_spec(name)
        except ImportError:
            found = None
        if found is None:
            raise _missing(name)


def _missing(package: str) -> Unsatisfiable:
    return Unsatisfiable(
        f"this needs the `worker` extra, for {package} is not installed: pip install 'onnxmesh[worker]', or "
        "'onnxmesh[worker-gpu]' for GPUs"
    )
