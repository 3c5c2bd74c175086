"""Rules of recurrent and attention operators."""

from __future__ import annotations

import numpy as np
import pytest

from onnxmesh.graph.rows.row_state import Mixed, Rows
from onnxmesh.graph.rows.sizes import ROWS
from tests.unit.graph.rows.one_node import outputs, reason, state, with_rows

MS = {"domain": "com.microsoft"}
W, R = np.ones((1, 8, 3), np.float32), np.ones((1, 8, 2), np.float32)


def test_recurrent_states_are_rows_in_both_layouts():
    """Time comes first by default; rows there are refused."""
    x = with_rows(5, 1, 3, axis=1)
    y, h, c = outputs("LSTM", [x, W, R], hidden_size=2, num_outputs=3)
    assert (y.state, h.state, c.state) == (Rows(2), Rows(1), Rows(1))
    assert y.shape == (5, 1, ROWS, 2)
    y, h = outputs("LSTM", [with_rows(1, 5, 3), W, R], hidden_size=2, layout=1, num_outputs=2)
    assert (y.state, h.state) == (Rows(0), Rows(0))
    assert "along axis 0" in reason("LSTM", [with_rows(1, 5, 3), W, R], hidden_size=2)


def test_recurrent_lengths_must_have_rows():
    """Shared ones would be those of certain rows."""
    x = with_rows(5, 1, 3, axis=1)
    lengths = np.array([5], np.int32)
    assert state("LSTM", [x, W, R, None, with_rows(1)], hidden_size=2) == Rows(2)
    assert isinstance(state("LSTM", [x, W, R, None, lengths], hidden_size=2), Mixed)


def test_attention_masks_must_have_rows_or_be_broadcast():
    """A mask with the starts and ends of all rows in one vector is refused."""
    x, w, b = with_rows(1, 5, 4), np.ones((4, 12), np.float32), np.ones(12, np.float32)
    assert outputs("Attention", [x, w, b], num_heads=2, **MS)[0].shape == (ROWS, 5, 4)
    assert state("Attention", [x, w, b, with_rows(1, 5)], num_heads=2, **MS) == Rows(0)
    assert state("Attention", [x, w, b, with_rows(1)], num_heads=2, **MS) == Rows(0)
    assert isinstance(state("Attention", [x, w, b, np.ones((1, 5), np.int32)], num_heads=2, **MS), Mixed)
    bias = np.ones((1, 2, 5, 5), np.float32)
    assert state("Attention", [x, w, b, None, None, bias], num_heads=2, **MS) == Rows(0)
    assert isinstance(state("Attention", [x, w, b, None, None, bias.repeat(2, 0)], num_heads=2, **MS), Mixed)


def test_attention_caches_have_rows():
    """At axis 1 of the packed one, at axis 0 of keys and values."""
    x, w, b = with_rows(1, 1, 4), np.ones((4, 12), np.float32), np.ones(12, np.float32)
    past = with_rows(2, 1, 2, 3, 2, axis=1)
    found = outputs("Attention", [x, w, b, None, past], num_heads=2, num_outputs=2, **MS)
    assert [each.state for each in found] == [Rows(0), Rows(1)]
    assert isinstance(state("Attention", [x, w, b, None, with_rows(1, 2, 2, 3, 2)], num_heads=2, **MS), Mixed)
    cache = with_rows(1, 2, 3, 2)
    inputs = [x, x, x, None, None, None, cache, cache]
    found = outputs("MultiHeadAttention", inputs, num_heads=2, num_outputs=3, **MS)
    assert [each.state for each in found] == [Rows(0)] * 3


@pytest.mark.parametrize("total", [np.array(4, np.int32), with_rows(1)])
def test_grouped_attention_shares_its_total_length(total):
    """One that depends on rows is refused."""
    q, kv, cache = with_rows(1, 1, 16), with_rows(1, 1, 8), with_rows(1, 1, 4, 8)
    found = state("GroupQueryAttention", [q, kv, kv, cache, cache, with_rows(1), total], num_heads=2, kv_num_heads=1, **MS)  # fmt: skip
    assert found == Rows(0) if isinstance(total, np.ndarray) else isinstance(found, Mixed)


def test_keys_of_other_rows_are_refused():
    """Shared keys have no batch of their own."""
    x, shared = with_rows(1, 5, 4), np.ones((1, 5, 4), np.float32)
    assert state("MultiHeadAttention", [x, x, x], num_heads=2, **MS) == Rows(0)
    assert isinstance(state("MultiHeadAttention", [x, shared, shared], num_heads=2, **MS), Mixed)
    assert isinstance(state("MultiHeadAttention", [shared, x, x], num_heads=2, **MS), Mixed)


def test_embeddings_and_skips_keep_rows():
    """With positions and skips that are broadcast."""
    table, ones = np.ones((9, 4), np.float32), np.ones(4, np.float32)
    ids = with_rows(1, 5)
    inputs = [ids, None, table, table, None, ones, ones]
    assert state("EmbedLayerNormalization", inputs, num_outputs=2, **MS) == Rows(0)
    x = with_rows(1, 5, 4)
    assert state("SkipLayerNormalization", [x, np.ones((1, 5, 4), np.float32), ones], **MS) == Rows(0)
    assert isinstance(state("SkipLayerNormalization", [x, np.ones((2, 5, 4), np.float32), ones], **MS), Mixed)


def test_rotary_positions_have_rows_or_are_broadcast():
    """An offset for all, or positions of each row."""
    x, table = with_rows(1, 2, 5, 8), np.ones((9, 4), np.float32)
    assert state("RotaryEmbedding", [x, np.array([0]), table, table], **MS) == Rows(0)
    assert state("RotaryEmbedding", [x, with_rows(1, 5), table, table], **MS) == Rows(0)
    assert isinstance(state("RotaryEmbedding", [x, np.zeros((2, 5), np.int64), table, table], **MS), Mixed)
