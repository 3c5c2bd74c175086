"""Errors in a devices file, as text that names the field."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from onnxmesh.cli.devices_file.marked_yaml import FieldPath
from onnxmesh.cli.devices_file.schema import DevicesFields, KindFields, LinkFields, LinkSpeedFields
from onnxmesh.error_text import did_you_mean, listed
from onnxmesh.expected_values import expected_value

_LONGEST_VALUE = 60


@dataclass(frozen=True, slots=True)
class FieldError:
    """One wrong field.

    Attributes:
        path: The field.
        text: What was expected and what was found.
    """

    path: FieldPath
    text: str


def field_errors(error: ValidationError) -> list[FieldError]:
    """Returns pydantic's errors as text."""
    return [FieldError(tuple(detail["loc"]), _error_text(detail)) for detail in error.errors()]


def name_errors(devices: DevicesFields) -> Iterator[FieldError]:
    """Yields an error for each duplicate kind, each link to an unknown kind and each duplicate link."""
    names: list[str] = []
    for position, kind in enumerate(devices.kinds):
        if kind.name in names:
            yield FieldError(
                ("kinds", position, "name"),
                f"'{kind.name}' is already the name of kinds[{names.index(kind.name)}]",
            )
        names.append(kind.name)
    pairs: list[frozenset[str]] = []
    for position, link in enumerate(devices.links):
        for end, name in enumerate(link.between):
            if name not in names:
                hint = did_you_mean(name, names) or f"; the kinds are {listed(names)}"
                yield FieldError(("links", position, "between", end), f"there is no kind '{name}'{hint}")
        pair = frozenset(link.between)
        if pair in pairs:
            both = " and ".join(f"'{name}'" for name in link.between)
            yield FieldError(
                ("links", position, "between"),
                f"the link between {both} is already links[{pairs.index(pair)}]",
            )
        pairs.append(pair)


def path_text(path: FieldPath) -> str:
    """Returns a path as text: `kinds[0].count`."""
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else step
    return text


def _error_text(detail: ErrorDetails) -> str:
    kind, limits = detail["type"], detail.get("ctx", {})
    got = f"got {_shown(detail['input'])}"
    if kind == "extra_forbidden":
        known = _known_fields(detail["loc"])
        return "unknown field" + (
            did_you_mean(str(detail["loc"][-1]), known) or f"; the fields here are {', '.join(known)}"
        )
    if kind == "missing":
        return "this field is required"
    if kind == "value_error":
        return str(limits["error"])
    if kind in {"too_short", "too_long"}:
        return _wrong_length(kind, limits, got)
    expected = expected_value(kind, limits)
    hint = " (put it in quotes)" if kind == "string_type" and isinstance(detail["input"], int | float) else ""
    return f"expected {expected}, {got}{hint}" if expected else f"{detail['msg']}, {got}"


def _wrong_length(kind: str, limits: dict[str, Any], got: str) -> str:
    limit = limits["min_length"] if kind == "too_short" else limits["max_length"]
    if limit == 1:
        return "expected at least one, got none"
    return f"expected {limit} names, {got}"


def _known_fields(path: Sequence[str | int]) -> list[str]:
    models: dict[str | int, type[BaseModel]] = {
        "kinds": KindFields,
        "links": LinkFields,
        "default_link": LinkSpeedFields,
    }
    model = models.get(path[0], DevicesFields) if len(path) > 1 else DevicesFields
    # `between` first: it identifies a link.
    return sorted(model.model_fields, key=lambda name: name != "between")


def _shown(value: object) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "yes" if value else "no"
    text = f"'{value}'" if isinstance(value, str) else str(value)
    if isinstance(value, dict | list):
        text = "fields" if isinstance(value, dict) else f"a list of {len(value)}"
    return text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]}…"
