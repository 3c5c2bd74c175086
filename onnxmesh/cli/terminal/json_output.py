"""Documents of `--json`: valid JSON, whatever their numbers and strings."""

from __future__ import annotations

import json
from collections.abc import Mapping
from math import isfinite, isnan
from typing import Any

import typer


def print_json(document: Any) -> None:
    """Prints one document on one line of standard output."""
    typer.echo(json_text(document))


def json_text(document: Any) -> str:
    """Returns a document as one line of JSON, as strict parsers read it.

    Numbers that JSON lacks are the strings "NaN", "Infinity" and "-Infinity".

    Source: the JSON mapping of protobuf, which `onnxmesh explain --json` uses as well
    (https://protobuf.dev/programming-guides/json/).
    """
    return json.dumps(_plain(document), allow_nan=False)


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        if isfinite(value):
            return value
        return "NaN" if isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value
