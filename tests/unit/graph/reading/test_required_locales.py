"""Locales that text operators need: as ONNX Runtime loads them."""

from __future__ import annotations

from itertools import product

import onnxruntime
import pytest
from onnx import TensorProto, helper

from onnxmesh.errors import InvalidModel
from onnxmesh.graph.reading.required_locales import missing_locale, required_labels, required_locales
from onnxmesh.graph.runtime.session import StageSession, session_options
from tests.zoo.zoo_model import model, node

MISSING = "zz_ZZ.UTF-8"


def text_model(**attributes):
    given = {name: value for name, value in attributes.items() if value is not None}
    kinds = [helper.make_tensor_value_info(name, TensorProto.STRING, [name]) for name in ("x", "y")]
    return model([node("StringNormalizer", ["x"], ["y"], name="lower", **given)], kinds[:1], kinds[1:])


def is_loaded(made) -> bool:
    try:
        onnxruntime.InferenceSession(made.SerializeToString(), session_options(), ["CPUExecutionProvider"])
    except Exception:  # noqa: BLE001 # ONNX Runtime's errors share no base class of their own
        return False
    return True


@pytest.mark.parametrize(
    ("action", "case_sensitive", "stopwords"),
    list(product([None, "NONE", "LOWER", "UPPER"], [None, 0, 1], [None, ["a"]])),
)
def test_locale_is_required_where_onnx_runtime_loads_it(action, case_sensitive, stopwords):
    """With a locale that no machine has, ONNX Runtime refuses exactly those models."""
    made = text_model(
        case_change_action=action, is_case_sensitive=case_sensitive, stopwords=stopwords, locale=MISSING
    )
    assert is_loaded(made) == (MISSING not in required_locales(made))
    assert bool(missing_locale(made)) != is_loaded(made)


def test_default_locale_is_required_within_branches_and_functions():
    """Where no locale is named, it is ONNX Runtime's default; named ones are required under their label."""
    texts = [helper.make_tensor_value_info(name, TensorProto.STRING, None) for name in ("r", "q")]
    then = helper.make_graph(
        [node("StringNormalizer", ["x"], ["r"], case_change_action="UPPER")], "t", [], texts[:1]
    )
    other = helper.make_graph(
        [node("StringNormalizer", ["x"], ["q"], case_change_action="UPPER", locale="de_DE.utf8")], "e", [], texts[1:]
    )  # fmt: skip
    made = text_model()
    made.graph.node.append(node("If", ["c"], ["z"], then_branch=then, else_branch=other))
    assert set(required_locales(made)) == {"en_US.UTF-8", "de_DE.utf8"}
    assert required_labels(made) == ["locale.de_DE.utf8", "locale.en_US.utf8"]
    assert required_labels(text_model()) == []


def test_missing_locale_is_named_with_its_node_and_cure(tmp_path):
    """Before the model is loaded, and where a stage is loaded without that check."""
    made = text_model(case_change_action="LOWER", locale=MISSING)
    reason = missing_locale(made)
    assert reason.startswith(
        f"node 'lower' (StringNormalizer) needs the locale '{MISSING}', which this machine"
    )
    assert f"`localedef -i zz_ZZ -f UTF-8 {MISSING}`" in reason
    (tmp_path / "m.onnx").write_bytes(made.SerializeToString())
    with pytest.raises(InvalidModel, match=f"this machine lacks the locale '{MISSING}': install") as caught:
        StageSession(tmp_path / "m.onnx")
    assert "facet" not in caught.value.message


def test_locale_whose_name_is_not_utf8_is_missing():
    """The bytes of an attribute are whatever a model has; ONNX Runtime refuses such a model, too."""
    made = text_model(case_change_action="LOWER", locale=b"\xff")
    assert not is_loaded(made)
    assert "needs the locale '\ufffd'" in missing_locale(made)
