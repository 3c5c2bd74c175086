"""The locales that a model's text operators need where they run."""

from __future__ import annotations

import onnx

from onnxmesh.device.locales import DEFAULT_LOCALE, has_locale, locale_cure, locale_label
from onnxmesh.graph.reading.normalise import nodes_in
from onnxmesh.graph.runtime.node_name import describe_node


def required_locales(model: onnx.ModelProto) -> dict[str, onnx.NodeProto]:
    """Returns the names of the locales that ONNX Runtime loads with a model, each with the first node that needs it.

    A StringNormalizer needs one to change case, and to compare stop words regardless of case.

    Source: ONNX Runtime, `core/providers/cpu/text/string_normalizer.cc`.
    """
    found: dict[str, onnx.NodeProto] = {}
    for node in nodes_in(model):
        if node.op_type != "StringNormalizer" or node.domain not in {"", "ai.onnx"}:
            continue
        attributes = {
            attribute.name: onnx.helper.get_attribute_value(attribute) for attribute in node.attribute
        }
        changes_case = attributes.get("case_change_action", b"NONE") != b"NONE"
        ignores_case = not attributes.get("is_case_sensitive", 0) and bool(attributes.get("stopwords"))
        if changes_case or ignores_case:
            found.setdefault(attributes.get("locale", DEFAULT_LOCALE.encode()).decode(errors="replace"), node)
    return found


def required_labels(model: onnx.ModelProto) -> list[str]:
    """Returns the labels that a worker needs to run a model, sorted; none if every machine can."""
    return sorted({locale_label(name) for name in required_locales(model)} - {""})


def missing_locale(model: onnx.ModelProto) -> str:
    """Returns why this machine cannot run a model: the node, the locale that it needs, and the cure; else empty."""
    for name, node in required_locales(model).items():
        if not has_locale(name):
            return f"{describe_node(node)} needs the locale '{name}', which this machine lacks: {locale_cure(name)}"
    return ""
