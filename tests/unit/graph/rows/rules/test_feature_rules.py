"""Rules of `ai.onnx.ml`."""

from __future__ import annotations

import numpy as np
import pytest

from onnxmesh.graph.rows.row_state import Mixed, Rows
from onnxmesh.graph.rows.sizes import ROWS
from tests.unit.graph.rows.one_node import outputs, reason, state, with_rows

ML = {"domain": "ai.onnx.ml"}


@pytest.mark.parametrize(
    "op", ["Scaler", "Normalizer", "LinearRegressor", "TreeEnsembleClassifier", "SVMRegressor"]
)
def test_rows_of_features_are_independent(op):
    """At axis 0 of two; a single axis is one row of features."""
    assert state(op, [with_rows(1, 3)], **ML) == Rows(0)
    assert isinstance(state(op, [with_rows(1)], **ML), Mixed)
    assert isinstance(state(op, [with_rows(3, 1, axis=1)], **ML), Mixed)


def test_classifier_has_a_label_and_scores_for_each_row():
    """Labels have one axis."""
    label, scores = outputs("LinearClassifier", [with_rows(1, 3)], num_outputs=2, **ML)
    assert label.shape == (ROWS,)
    assert scores.state == Rows(0)


def test_selection_is_along_the_last_axis():
    """Which must not hold the rows."""
    indices = np.array([0, 1])
    assert state("ArrayFeatureExtractor", [with_rows(1, 3), indices], **ML) == Rows(0)
    assert "rows' axis" in reason("ArrayFeatureExtractor", [with_rows(3, 1, axis=1), indices], **ML)


def test_words_are_counted_for_each_row():
    """A vector of words is one row, whatever its length."""
    assert state("TfIdfVectorizer", [with_rows(1, 5)]) == Rows(0)
    assert isinstance(state("TfIdfVectorizer", [with_rows(1)]), Mixed)
