"""What is wrong with a devices file, in words that name the field."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from onnxmesh.cli.devices_file.marked_yaml import Place
from onnxmesh.cli.devices_file.schema import DevicesFields, KindFields, LinkFields, SpeedOfLink

_LONGEST_VALUE = 60

_EXPECTED = {
    "bool_type": "yes or no",
    "float_type": "a number",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "list_type": "a list",
    "model_type": "fields",
    "string_type": "text",
    "finite_number": "a finite number",
}
"""By pydantic's type of error."""


@dataclass(frozen=True, slots=True)
class Mistake:
    """One thing that is wrong.

    Attributes:
        place: The field.
        text: What was expected and what came.
    """

    place: Place
    text: str


def mistakes_of(error: ValidationError) -> list[Mistake]:
    """Puts into words what pydantic found."""
    return [Mistake(tuple(detail["loc"]), _words(detail)) for detail in error.errors()]


def mistaken_names(devices: DevicesFields) -> Iterator[Mistake]:
    """Finds names of kinds that are given twice, and links of unknown kinds or that are given twice."""
    names: list[str] = []
    for position, kind in enumerate(devices.kinds):
        if kind.name in names:
            yield Mistake(
                ("kinds", position, "name"),
                f"'{kind.name}' is the name of kinds[{names.index(kind.name)}] already",
            )
        names.append(kind.name)
    pairs: list[frozenset[str]] = []
    for position, link in enumerate(devices.links):
        for end, name in enumerate(link.between):
            if name not in names:
                known = ", ".join(f"'{known}'" for known in names)
                hint = suggestion(name, names) or f"; the kinds are {known}"
                yield Mistake(("links", position, "between", end), f"there is no kind '{name}'{hint}")
        pair = frozenset(link.between)
        if pair in pairs:
            both = " and ".join(f"'{name}'" for name in link.between)
            yield Mistake(
                ("links", position, "between"),
                f"the link between {both} is links[{pairs.index(pair)}] already",
            )
        pairs.append(pair)


def suggestion(word: str, known: Iterable[str]) -> str:
    """Returns "; did you mean …?" where a known word is alike, and nothing otherwise."""
    alike = get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f"; did you mean '{alike[0]}'?" if alike else ""


def path_of(place: Place) -> str:
    """Returns a place as people write it: `kinds[0].count`."""
    text = ""
    for step in place:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else step
    return text


def _words(detail: ErrorDetails) -> str:
    kind, limits = detail["type"], detail.get("ctx", {})
    got = f"got {_shown(detail['input'])}"
    if kind == "extra_forbidden":
        known = _known_fields(detail["loc"])
        return "no such field" + (
            suggestion(str(detail["loc"][-1]), known) or f"; the fields here are {', '.join(known)}"
        )
    if kind == "missing":
        return "this field is missing"
    if kind == "value_error":
        return str(limits["error"])
    if kind in {"too_short", "too_long"}:
        return _wrong_length(kind, limits, got)
    bounds = {
        "greater_than": "above {gt:g}",
        "greater_than_equal": "of at least {ge:g}",
        "less_than_equal": "of at most {le:g}",
        "string_too_short": "of at least {min_length} character",
        "string_too_long": "of at most {max_length} characters",
    }
    if kind in bounds:
        what = "text" if kind.startswith("string") else "a figure"
        return f"expected {what} {bounds[kind].format(**limits)}, {got}"
    expected = _EXPECTED.get(kind)
    hint = " (put it in quotes)" if kind == "string_type" and isinstance(detail["input"], int | float) else ""
    return f"expected {expected}, {got}{hint}" if expected else f"{detail['msg']}, {got}"


def _wrong_length(kind: str, limits: dict[str, Any], got: str) -> str:
    limit = limits["min_length"] if kind == "too_short" else limits["max_length"]
    if limit == 1:
        return "expected at least one, got none"
    return f"expected {limit} names, {got}"


def _known_fields(place: Sequence[str | int]) -> list[str]:
    models: dict[str | int, type[BaseModel]] = {
        "kinds": KindFields,
        "links": LinkFields,
        "default_link": SpeedOfLink,
    }
    model = models.get(place[0], DevicesFields) if len(place) > 1 else DevicesFields
    # `between` first: a link is told by its ends.
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
