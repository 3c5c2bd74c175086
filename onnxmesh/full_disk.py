"""A disk without space: no defect, and no secret."""

from __future__ import annotations

import errno

from onnxmesh.errors import Overloaded

_FULL = (errno.ENOSPC, errno.EDQUOT)


def full_disk(error: BaseException) -> Overloaded | None:
    """Returns what is told of an error that says that a disk is full, RESOURCE_EXHAUSTED; None: it says something else."""
    if not isinstance(error, OSError) or error.errno not in _FULL:
        return None
    where = "" if error.filename is None else f": {error.filename}"
    return Overloaded(f"no space is left on the disk{where}")
