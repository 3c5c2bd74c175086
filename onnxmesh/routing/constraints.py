"""What a deployment requires of a worker. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping

from onnxmesh.errors import InvalidRequest

_REQUIREMENT = re.compile(r"[^\s=][^=\s]*(=\S*)?")


def check_requirement(requirement: str) -> None:
    """Refuses what is neither `tag` nor `key=value`.

    Raises:
        InvalidRequest: It is empty, or has white space or no key (INVALID_ARGUMENT).
    """
    if len(requirement) > 256 or not _REQUIREMENT.fullmatch(requirement):
        raise InvalidRequest(f"a requirement is 'tag' or 'key=value', got {requirement[:80]!r}")


def satisfies(requirement: str, tags: Collection[str], attributes: Mapping[str, str]) -> bool:
    """Whether a worker meets one requirement.

    `tag` asks for a tag; `key=value` for an attribute of just that value, or a tag that reads so.
    """
    if requirement in tags:
        return True
    key, equals, value = requirement.partition("=")
    return bool(equals) and attributes.get(key) == value


def lacking(require: Iterable[str], tags: Collection[str], attributes: Mapping[str, str]) -> tuple[str, ...]:
    """Returns the requirements that a worker does not meet, in their order."""
    return tuple(each for each in require if not satisfies(each, tags, attributes))
