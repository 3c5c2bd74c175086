"""What a request wants of its route."""

from __future__ import annotations

from dataclasses import dataclass

from onnxmesh.oip.open_inference_pb2 import ModelInferRequest
from onnxmesh.routing.selectors.preference import parse_preferences
from onnxmesh.routing.selectors.selector_text import all_of


@dataclass(frozen=True, slots=True)
class RouteOptions:
    """Where a request should run.

    Attributes:
        require: Selectors that each worker must meet.
        prefer: What it should meet, as `SELECTOR` or `SELECTOR:WEIGHT`.
        session: Its requests go to the workers that served the last one, where they can; empty: no session.
    """

    require: tuple[str, ...] = ()
    prefer: tuple[str, ...] = ()
    session: str = ""

    def put_into(self, request: ModelInferRequest) -> None:
        """Sets the parameters that say so.

        Raises:
            InvalidRequest: A selector or a weight is none (INVALID_ARGUMENT).
        """
        said = {
            "mesh.require": str(all_of(self.require)),
            "mesh.prefer": "; ".join(str(each) for each in parse_preferences(self.prefer)),
            "mesh.session": self.session,
        }
        for name, text in said.items():
            if text:
                request.parameters[name].string_param = text


NO_OPTIONS = RouteOptions()
"""Anywhere."""
