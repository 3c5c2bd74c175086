"""The error of a disk without space: expected, so a client may see it."""

from __future__ import annotations

import errno

from onnxmesh.errors import Overloaded

_FULL = (errno.ENOSPC, errno.EDQUOT)


def full_disk(error: BaseException) -> Overloaded | None:
    """Returns the mesh error (RESOURCE_EXHAUSTED) of an `OSError` for a full disk or quota, None for any other error."""
    if not isinstance(error, OSError) or error.errno not in _FULL:
        return None
    where = "" if error.filename is None else f": {error.filename}"
    return Overloaded(f"no space is left on the disk{where}")
