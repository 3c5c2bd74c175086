"""Rules of recurrent and attention operators, and of normalisations fused with them."""

from __future__ import annotations

from collections.abc import Sequence

from onnxmesh.graph.rows.node_view import NodeView, NotProven, RowsMeet, result, shared
from onnxmesh.graph.rows.row_state import Rows, RowValue
from onnxmesh.graph.rows.rules.element_rules import broadcast
from onnxmesh.graph.rows.sizes import ROWS, Dim, unknown_size


def recurrent(view: NodeView) -> list[RowValue]:
    """RNN, GRU and LSTM in both layouts; state and lengths have one row for each sequence."""
    batch_first = view.int_attribute("layout", 0) == 1
    shape, rows = view.shape(0), view.rows(0)
    batch_axis = 0 if batch_first else 1
    view.require_shared(1, 2, 3, 7)
    if rows is not None and rows.axis != batch_axis:
        raise RowsMeet(f"works along axis {rows.axis}, which holds the rows")
    state_axis = 0 if batch_first else 1
    for index, axis in ((4, 0), (5, state_axis), (6, state_axis)):
        if not view.has(index):
            continue
        own = view.rows(index)
        if rows is None:
            view.require_shared(index)
        elif own != Rows(axis, rows.outer, rows.inner):
            raise NotProven(f"its input {index} has no rows at axis {axis}")
    directions = 2 if view.text_attribute("direction") == "bidirectional" else 1
    hidden: Dim = view.int_attribute("hidden_size", 0) or view.shape(2)[-1]
    time, batch = (shape[1], shape[0]) if batch_first else (shape[0], shape[1])
    if batch_first:
        shapes = [[batch, time, directions, hidden]] + [[batch, directions, hidden]] * 2
        axes = (0, 0, 0)
    else:
        shapes = [[time, directions, batch, hidden]] + [[directions, batch, hidden]] * 2
        axes = (2, 1, 1)
    return [
        result(None if rows is None else Rows(axis, rows.outer, rows.inner), of)
        for axis, of in zip(axes[: view.num_outputs], shapes, strict=False)
    ]


def _batch(view: NodeView, indices: Sequence[int], *, optional: Sequence[int] = ()) -> Rows | None:
    """Checks inputs that have one row for each of the batch, or that none of them has.

    Args:
        view: The node.
        indices: Inputs that have rows at axis 0 if one of them has; omitted ones are left out.
        optional: Inputs that have rows at axis 0, or a first axis of 1.

    Returns:
        Where the rows are; None without rows.
    """
    given = [index for index in indices if view.has(index)]
    others = [index for index in optional if view.has(index)]
    rows = next((found for index in given if (found := view.rows(index)) is not None), None)
    if rows is None:
        view.require_shared(*range(len(view.inputs)))
        return None
    for index in given + others:
        own = view.rows(index)
        if own is None and index in others and view.shape(index)[:1] == (1,):
            continue
        if own != Rows(0):
            raise NotProven(f"its input {index} has not one row for each of the batch at its first axis")
    view.require_shared(*[index for index in range(len(view.inputs)) if index not in (*given, *others)])
    return rows


def _cache(view: NodeView, rows: Rows | None, index: int) -> RowValue:
    """Returns a cache of keys or values [batch, heads, length, size], longer than the given one."""
    shape = view.shape(index) if view.has(index) else (ROWS, unknown_size(), 1, unknown_size())
    grown = [shape[0], shape[1], unknown_size(), shape[3]] if len(shape) == 4 else list(shape)
    return result(rows, grown)


def packed_attention(view: NodeView) -> list[RowValue]:
    """Attention of com.microsoft: input, weights, bias, mask, past [2, batch, …], attention bias."""
    if view.has(4) and view.rows(4) != (None if view.rows(0) is None else Rows(1)):
        raise NotProven("its past has no rows at axis 1")
    if view.has(3) and view.rows(0) is not None and len(view.shape(3)) == 1 and view.shape(3) != (ROWS,):
        raise NotProven("its mask has starts and ends in one vector")
    rest = NodeView(
        view.node, [value if index != 4 else None for index, value in enumerate(view.inputs)], view.version
    )
    rows = _batch(rest, (0, 3), optional=(5,))
    batch, length, _ = view.shape(0)
    sizes = view.ints_attribute("qkv_hidden_sizes")
    hidden: Dim = sizes[2] if sizes else unknown_size()
    bias = view.input(2).shape if view.has(2) else None
    if not sizes and bias and isinstance(bias[0], int):
        hidden = bias[0] // 3
    found = [result(rows, [batch, length, hidden])]
    if view.num_outputs > 1:
        present = None if rows is None else Rows(1)
        found.append(result(present, [2, batch, unknown_size(), unknown_size(), unknown_size()]))
    return found


def multi_head_attention(view: NodeView) -> list[RowValue]:
    """MultiHeadAttention of com.microsoft: query, key, value, bias, padding mask, attention bias, past key and value."""
    if view.has(4) and view.rows(4) is not None and len(view.shape(4)) == 1 and view.shape(4) != (ROWS,):
        raise NotProven("its mask has starts and ends in one vector")
    rows = _batch(view, (0, 1, 2, 4, 6, 7), optional=(5,))
    query = view.shape(0)
    hidden = query[2] if len(query) == 3 else unknown_size()
    if view.has(2):
        value = view.shape(2)
        hidden = value[2] if len(value) == 3 else value[1] * value[3]
    caches = [_cache(view, rows, index) for index in (6, 7)]
    return [result(rows, [query[0], query[1], hidden]), *caches][: view.num_outputs]


def grouped_attention(view: NodeView) -> list[RowValue]:
    """GroupQueryAttention: query, key, value, past key and value, lengths; total length and caches of angles are shared."""
    rows = _batch(view, (0, 1, 2, 3, 4, 5, 9), optional=(10,))
    query = view.shape(0)
    packed = not view.has(1)
    hidden = unknown_size() if packed else query[2]
    return [result(rows, [query[0], query[1], hidden]), _cache(view, rows, 3), _cache(view, rows, 4)][
        : view.num_outputs
    ]


def attention(view: NodeView) -> list[RowValue]:
    """Attention of the standard: query, key, value, mask, past key and value."""
    if view.has(3) and view.rows(3) is None and view.rows(0) is not None:
        mask = view.shape(3)
        if len(mask) == 4 and mask[0] != 1:
            raise NotProven("its mask has a fixed size at the rows' axis")
        rows = _batch(_without(view, 3), (0, 1, 2, 4, 5, 6))
    else:
        if view.has(3) and view.rows(3) is not None and len(view.shape(3)) != 4:
            raise NotProven("its mask has not four axes")
        rows = _batch(view, (0, 1, 2, 3, 4, 5, 6))
    query, value = view.shape(0), view.shape(2)
    if len(query) == 4:
        found = result(rows, [*query[:3], value[3]])
    else:
        found = result(rows, [query[0], query[1], unknown_size()])
    scores = result(rows, [query[0], unknown_size(), unknown_size(), unknown_size()])
    return [found, _cache(view, rows, 4), _cache(view, rows, 5), scores][: view.num_outputs]


def _without(view: NodeView, omitted: int) -> NodeView:
    inputs = [None if index == omitted else value for index, value in enumerate(view.inputs)]
    return NodeView(view.node, inputs, view.version)


def rotary_embedding(view: NodeView) -> list[RowValue]:
    """RotaryEmbedding: the input with angles from shared tables, or from tables of each row."""
    positions = (1,) if view.node.domain == "com.microsoft" else (3,)
    shared_positions = view.has(positions[0]) and view.rows(positions[0]) is None
    rest = _without(view, positions[0]) if shared_positions else view
    if shared_positions and view.rows(0) is not None and view.shape(positions[0])[:1] != (1,):
        raise NotProven("its positions have a fixed size at the rows' axis")
    tables = () if view.node.domain == "com.microsoft" else (1, 2)
    with_rows = [index for index in tables if view.rows(index) is not None]
    rows = _batch(rest, (0, *with_rows, *([] if shared_positions else positions)))
    return [result(rows, view.shape(0))]


def skip_normalization(view: NodeView) -> list[RowValue]:
    """SkipLayerNormalization: sum of input, skip and bias, normalised over the last axis."""
    shape, rows = view.shape(0), view.rows(0) or view.rows(1)
    if rows is not None and rows.axis == len(shape) - 1:
        raise RowsMeet("normalises over the rows' axis")
    view.require_shared(*range(2, len(view.inputs)))
    total = broadcast(view, range(len(view.inputs)))
    if len(total.dims) != len(shape):
        raise NotProven("a parameter has more axes than its input 0")
    statistics = result(rows, [*shape[:-1], 1])
    return [total, statistics, statistics, total][: view.num_outputs]


def embedding_normalization(view: NodeView) -> list[RowValue]:
    """EmbedLayerNormalization: ids of words and segments, tables, mask, positions."""
    positions_shared = view.has(8) and view.rows(8) is None
    if positions_shared and view.rows(0) is not None and view.shape(8)[:1] != (1,):
        raise NotProven("its positions have a fixed size at the rows' axis")
    rows = _batch(_without(view, 8) if positions_shared else view, (0, 1, 7, 8))
    batch, length = view.shape(0)
    found = result(rows, [batch, length, view.shape(2)[1]])
    return [found, result(rows, [batch]), found][: view.num_outputs]


def quantized_embedding_normalization(view: NodeView) -> list[RowValue]:
    """QEmbedLayerNormalization: as EmbedLayerNormalization, with the mask as input 7 and quantised tables."""
    rows = _batch(view, (0, 1, 7))
    batch, length = view.shape(0)
    return [result(rows, [batch, length, view.shape(2)[1]]), result(rows, [batch])][: view.num_outputs]


def gated_normalization(view: NodeView) -> list[RowValue]:
    """BiasSplitGelu: halves of the last axis, one as the gate of the other."""
    shape, rows = view.shape(0), view.rows(0)
    view.require_shared(1)
    if rows is not None and rows.axis == len(shape) - 1:
        raise RowsMeet("works along the rows' axis")
    half = shape[-1] // 2 if isinstance(shape[-1], int) else unknown_size()
    return [result(rows, [*shape[:-1], half])]


def none_at_all(view: NodeView) -> list[RowValue]:
    """Windows and filter banks, which are computed from shared numbers."""
    view.require_shared(*range(len(view.inputs)))
    return [shared()] * view.num_outputs
