"""SHA-256 digests as they come from peers. Pure."""

from __future__ import annotations

import re

from onnxmesh.errors import InvalidRequest
from onnxmesh.ids import Digest

_DIGEST = re.compile(r"[0-9a-f]{64}")


def is_digest(text: str) -> bool:
    """Whether `text` is 64 lower-case hexadecimal digits."""
    return _DIGEST.fullmatch(text) is not None


def checked_digest(sha256: str) -> Digest:
    """Returns `sha256` as what it claims to be.

    Raises:
        InvalidRequest: It is not 64 lower-case hexadecimal digits, so it may be a path in disguise
            (INVALID_ARGUMENT).
    """
    if not is_digest(sha256):
        raise InvalidRequest(f"expected a SHA-256 as 64 lower-case hexadecimal digits, got {sha256[:80]!r}")
    return Digest(sha256)
