"""Readable reasons from ONNX Runtime's error messages."""

from __future__ import annotations

import re

import onnx

from onnxmesh.device.locales import locale_cure
from onnxmesh.graph.runtime.node_name import describe_node, nodes_of

_STATUS = re.compile(r"\[ONNXRuntimeError\] : \d+ : \w+ : ")
_SOURCE = re.compile(r"\S*/onnxruntime(?:_src)?/\S+:\d+ (?:[^\n]*?\)\s(?:const\s)?)?")
_LOAD = re.compile(r"Load model from .*? failed:\s*")
_INVALID = re.compile(r"This is an invalid model\.\s*")
_IN_NODE = re.compile(
    r'In Node, \("(?P<name>[^"]*)", (?P<op>[^,]+), "(?P<domain>[^"]*)"[^)]*\)[^\n]*?, Error\s*'
)
_PLACE = re.compile(r"\b\w+\.(?:cc|h):\d+ \w+ ")
_PREFIX = re.compile(r"^(?:Exception during (?:initialization|loading): |Error in execution: |Error[: ]\s*)+")
_UNKNOWN = re.compile(r"(?P<domain>[\w.]*):(?P<op>\w+)\(-?\d+\) is not a registered function/op")
_LOCALE = re.compile(r"Failed to construct locale with name:(?P<name>[^:]*):.*")
_MAX_REASON_CHARS = 500


def error_reason(error: BaseException) -> str:
    """Returns the reason of an ONNX Runtime error in one line, without status codes, paths and C++ signatures."""
    text = _STATUS.sub("", str(error))
    text = _LOAD.sub("", text)
    text = _INVALID.sub("", text)
    text = _IN_NODE.sub(_node, text)
    text = _PLACE.sub("", _SOURCE.sub("", text))
    text = _LOCALE.sub(_missing_locale, " ".join(text.split()))
    text = _PREFIX.sub("", text).strip()
    return text if len(text) <= _MAX_REASON_CHARS else f"{text[:_MAX_REASON_CHARS]} …"


def load_error_reason(error: BaseException, model: onnx.ModelProto) -> str:
    """Returns the reason of a failed load, with the name of the node where ONNX Runtime names its operator only.

    Args:
        error: What ONNX Runtime raised.
        model: The model that was loaded; its weights are not needed.
    """
    reason = error_reason(error)
    if (unknown := _UNKNOWN.search(reason)) is None:
        return reason
    domain = "" if unknown["domain"] == "ai.onnx" else unknown["domain"]
    for node in nodes_of(model.graph):
        if (node.domain, node.op_type) == (domain, unknown["op"]):
            return f"{describe_node(node)}: this ONNX Runtime lacks the operator"
    return reason


def _node(match: re.Match[str]) -> str:
    operator = f"{match['domain']}.{match['op']}" if match["domain"] else match["op"]
    return f"node '{match['name']}' ({operator}): "


def _missing_locale(match: re.Match[str]) -> str:
    return f"this machine lacks the locale '{match['name']}': {locale_cure(match['name'])}"
