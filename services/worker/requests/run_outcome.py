"""Outcome of a run for one request."""

from __future__ import annotations

from dataclasses import dataclass

from onnxmesh.errors import MeshError
from onnxmesh.tensors.tensor import Tensor


@dataclass(frozen=True, slots=True)
class RunOutcome:
    """Outputs or error of one request, and the run that it was part of.

    Attributes:
        computed: Outputs by name, or the error. Errors are values here: the traceback of a raised one keeps tensors alive.
        compute_ns: Duration of the run, which other requests may have shared.
        batch: Requests of the run, this one included.
        rows: Rows of all of them; 0 where the request ran alone.
    """

    computed: dict[str, Tensor] | MeshError
    compute_ns: int
    batch: int = 1
    rows: int = 0
