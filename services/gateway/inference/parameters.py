"""Request parameters: which are applied, which are ignored, which are refused. Pure.

Source: Triton's protocol extensions (sequence, schedule policy, parameters) name most of them.
"""

from __future__ import annotations

from collections.abc import Mapping

from onnxmesh.errors import InvalidRequest
from onnxmesh.oip.open_inference_pb2 import InferParameter
from onnxmesh.routing.selectors.preference import Preference, parse_preferences
from onnxmesh.routing.selectors.selector import ANY_WORKER, Selector
from onnxmesh.routing.selectors.selector_text import parse_selector
from services.gateway.requests.request_options import DEFAULT_OPTIONS, RequestOptions

TRACE = "mesh.trace"
"""Requests the trace of the route; the response has it as JSON under the same name."""

REQUIRE = "mesh.require"
"""A selector: requirements that every worker of the route must meet."""

PREFER = "mesh.prefer"
"""Preferences separated by semicolons: selectors that workers should meet, each with an optional `:WEIGHT`."""

SESSION = "mesh.session"
"""Name of the session that the request belongs to; its requests go to the same workers where possible."""

MAX_SESSION_BYTES = 256
"""The longest name of a session, in UTF-8."""
MAX_PRIORITY = 2**32 - 1
"""Less urgent priorities count as this one."""

_SEQUENCE = frozenset({"sequence_id", "sequence_start", "sequence_end"})
_HARMLESS_TRITON = "triton_enable_empty_final_response"  # has a meaning only on streams


def read_options(parameters: Mapping[str, InferParameter]) -> RequestOptions:
    """Returns the options that the parameters give.

    Names without a reserved prefix are for models that take parameters; ONNX models take none, so they are ignored.

    Raises:
        InvalidRequest: A parameter that would change the result if it were applied, an unknown reserved name,
            or a value of the wrong type (INVALID_ARGUMENT).
    """
    if not parameters:
        return DEFAULT_OPTIONS
    timeout_s: float | None = None
    trace = False
    require: Selector = ANY_WORKER
    prefer: tuple[Preference, ...] = ()
    session = ""
    priority = 0
    for name, parameter in parameters.items():
        kind = parameter.WhichOneof("parameter_choice")
        value = getattr(parameter, kind) if kind is not None else None
        if name == "timeout":
            timeout_s = _count(name, value) / 1e6 or None
        elif name == "priority":
            priority = min(_count(name, value), MAX_PRIORITY)
        elif name == TRACE:
            trace = _flag(name, value)
        elif name == REQUIRE:
            require = parse_selector(text) if (text := _text(name, value)) else ANY_WORKER
        elif name == PREFER:
            prefer = parse_preferences(each.strip() for each in _text(name, value).split(";") if each.strip())
        elif name == SESSION:
            session = _session(name, value)
        elif name in _SEQUENCE:
            if value not in (0, "", False, None):
                raise InvalidRequest(
                    f"parameter '{name}' is not supported: models keep no state between requests"
                )
        elif name == _HARMLESS_TRITON:
            _flag(name, value)
        elif name.startswith(("triton_", "mesh.")):
            raise InvalidRequest(f"unknown parameter '{name}': its prefix is reserved")
    return RequestOptions(
        timeout_s=timeout_s,
        trace=trace,
        require=require,
        prefer=prefer,
        session=session,
        priority=priority,
    )


def refuse_tensor_parameters(what: str, parameters: Mapping[str, InferParameter]) -> None:
    """Refuses parameters of one tensor that would change its contents.

    Args:
        what: Names the tensor: `input 'X'`.
        parameters: Of the tensor; unknown ones are ignored.

    Raises:
        InvalidRequest: Shared memory or classification (INVALID_ARGUMENT).
    """
    for name in parameters:
        if name.startswith("shared_memory_"):
            raise InvalidRequest(f"{what}: shared memory (parameter '{name}') is not supported")
        if name == "classification":
            raise InvalidRequest(f"{what}: parameter 'classification' is not supported")


def _count(name: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise InvalidRequest(f"parameter '{name}': expected a whole number of at least 0, got {value!r}")
    return value


def _text(name: str, value: object) -> str:
    if not isinstance(value, str):
        raise InvalidRequest(f"parameter '{name}': expected a string, got {value!r}")
    return value


def _session(name: str, value: object) -> str:
    session = _text(name, value)
    num_bytes = len(session.encode())
    if num_bytes > MAX_SESSION_BYTES:
        raise InvalidRequest(
            f"parameter '{name}': expected at most {MAX_SESSION_BYTES} bytes, got {num_bytes}"
        )
    return session


def _flag(name: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise InvalidRequest(f"parameter '{name}': expected true or false, got {value!r}")
    return value
