"""Masked errors: a client sees an incident id instead of the text of an unexpected exception."""

from __future__ import annotations

import uuid

import structlog

from onnxmesh.errors import Internal, MeshError
from onnxmesh.files.full_disk import full_disk

_log = structlog.get_logger(__name__)


def masked(error: Exception, **context: object) -> MeshError:
    """Returns the error that a peer may see: a `MeshError` as it is, a full disk by name, anything else as `Internal`.

    The text and traceback of an unexpected exception go to the log alone, under the incident id that the peer gets.

    Args:
        error: Any exception.
        context: Further fields of the log line, such as the method.
    """
    if isinstance(error, MeshError):
        return error
    if (full := full_disk(error)) is not None:
        _log.error("disk_full", error=str(error), **context)
        return full
    incident = uuid.uuid4().hex
    _log.error("unexpected_error", incident=incident, exc_info=error, **context)
    return Internal(f"internal error, incident {incident}: see the log of the service")
