"""Rules of `ai.onnx.ml`: models of features, one row of features for each row of the batch."""

from __future__ import annotations

from onnxmesh.graph.rows.node_view import NodeView, NotProven, RowsMeet, result
from onnxmesh.graph.rows.row_state import Rows, RowValue
from onnxmesh.graph.rows.sizes import Dim, unknown_size


def _features(view: NodeView) -> tuple[Rows | None, Dim]:
    shape = view.shape(0)
    view.require_shared(*range(1, len(view.inputs)))
    if view.rows(0) is None:
        return None, shape[0] if shape else 1
    if len(shape) != 2:
        raise NotProven("its input has not two axes")
    view.require_first_axis(0)
    return view.rows(0), shape[0]


def features_wise(view: NodeView) -> list[RowValue]:
    """Each row of features on its own, with parameters in attributes; the shape stays."""
    rows, _ = _features(view)
    return [result(rows, view.shape(0))]


def classifier(view: NodeView) -> list[RowValue]:
    """A label for each row, and the scores of the classes."""
    rows, batch = _features(view)
    found = [result(rows, [batch])]
    if view.num_outputs > 1:
        found.append(result(rows, [batch, unknown_size()]))
    return found


def regressor(view: NodeView) -> list[RowValue]:
    """Targets for each row."""
    rows, batch = _features(view)
    return [
        result(
            rows, [batch, view.int_attribute("n_targets", view.int_attribute("targets", 0)) or unknown_size()]
        )
    ]


def vectorizer(view: NodeView) -> list[RowValue]:
    """Counts of sequences of words for each row."""
    rows, batch = _features(view)
    return [result(rows, [batch, unknown_size()])]


def feature_selection(view: NodeView) -> list[RowValue]:
    """ArrayFeatureExtractor: selection along the last axis."""
    shape, rows = view.shape(0), view.rows(0)
    view.require_shared(1)
    if rows is not None and rows.axis == len(shape) - 1:
        raise RowsMeet("selects along the rows' axis")
    if len(shape) < 2:
        raise NotProven("its input has one axis")
    return [result(rows, [*shape[:-1], unknown_size()])]


def categories(view: NodeView) -> list[RowValue]:
    """OneHotEncoder: a new last axis of categories."""
    return [result(view.rows(0), [*view.shape(0), unknown_size()])]
