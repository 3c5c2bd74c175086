"""What a value was expected to be, in words, for an error of pydantic. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_KINDS = {
    "bool_parsing": "yes or no",
    "bool_type": "yes or no",
    "finite_number": "a finite number",
    "float_parsing": "a number",
    "float_type": "a number",
    "int_from_float": "a whole number",
    "int_parsing": "a whole number",
    "int_type": "a whole number",
    "list_type": "a list",
    "model_type": "fields",
    "path_type": "a path",
    "string_type": "text",
}
"""By pydantic's error type."""

_BOUNDS = {
    "greater_than": "a number above {gt:,.10g}",
    "greater_than_equal": "a number of at least {ge:,.10g}",
    "less_than": "a number below {lt:,.10g}",
    "less_than_equal": "a number of at most {le:,.10g}",
    "string_too_short": "text of at least {min_length} character",
    "string_too_long": "text of at most {max_length} characters",
    "literal_error": "{expected}",
    "enum": "{expected}",
}
"""By pydantic's error type, filled in with the context of the error."""


def expected_value(kind: str, limits: Mapping[str, Any]) -> str:
    """Returns what was expected, such as "a number of at least 0"; an empty text for an error of another type.

    Args:
        kind: The type of the error.
        limits: Its context.
    """
    return _KINDS.get(kind) or _BOUNDS.get(kind, "").format(**limits)
