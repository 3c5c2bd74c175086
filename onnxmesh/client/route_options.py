"""Routing constraints of one request."""

from __future__ import annotations

from dataclasses import dataclass

from onnxmesh.oip.open_inference_pb2 import ModelInferRequest
from onnxmesh.routing.selectors.preference import parse_preferences
from onnxmesh.routing.selectors.selector_text import all_of


@dataclass(frozen=True, slots=True)
class RouteOptions:
    """Routing constraints of one request: selectors and a session.

    Attributes:
        require: Selectors that each worker must match.
        prefer: Selectors that each worker should match, as `SELECTOR` or `SELECTOR:WEIGHT`.
        session: Requests of one session prefer the workers that served the last one; empty: no session.
    """

    require: tuple[str, ...] = ()
    prefer: tuple[str, ...] = ()
    session: str = ""

    def set_parameters(self, request: ModelInferRequest) -> None:
        """Sets the parameters `mesh.require`, `mesh.prefer` and `mesh.session` of a request.

        Raises:
            InvalidRequest: A selector or a weight cannot be parsed (INVALID_ARGUMENT).
        """
        parameters = {
            "mesh.require": str(all_of(self.require)),
            "mesh.prefer": "; ".join(str(each) for each in parse_preferences(self.prefer)),
            "mesh.session": self.session,
        }
        for name, text in parameters.items():
            if text:
                request.parameters[name].string_param = text


NO_OPTIONS = RouteOptions()
"""No constraints."""
