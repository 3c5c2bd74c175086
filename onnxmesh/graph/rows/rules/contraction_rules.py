"""Rules of operators that sum products over an axis."""

from __future__ import annotations

from collections.abc import Sequence

from onnxmesh.graph.rows.node_view import NodeView, NotProven, RowsMeet, result, shared
from onnxmesh.graph.rows.row_state import Rows, RowValue
from onnxmesh.graph.rows.rules.element_rules import broadcast_shape
from onnxmesh.graph.rows.sizes import Dim, unknown_size


def matrix_product(view: NodeView) -> list[RowValue]:
    """Product of matrices; axes before the last two are broadcast."""
    view.require_shared(*range(2, len(view.inputs)))
    return [_product(view, 0, 1)]


def fused_matrix_product(view: NodeView) -> list[RowValue]:
    """FusedMatMul: with transposed operands."""
    names = ("transA", "transB"), ("transBatchA", "transBatchB")
    (trans_a, trans_b), (batch_a, batch_b) = (
        [bool(view.int_attribute(name, 0)) for name in pair] for pair in names
    )
    if (trans_a and batch_a) or (trans_b and batch_b):
        raise NotProven("it transposes an operand in two ways")
    inputs = [
        _batch_last(view.input(0)) if batch_a else view.input(0),
        _batch_last(view.input(1)) if batch_b else view.input(1),
    ]
    return [_product(NodeView(view.node, inputs, view.version), 0, 1, transposed=(trans_a, trans_b))]


def _batch_last(value: RowValue) -> RowValue:
    """Returns an operand whose first axis is moved behind the other batch axes."""
    shape = value.dims
    if len(shape) < 3:
        raise NotProven("it transposes batch axes that it lacks")
    order = [*range(1, len(shape) - 1), 0, len(shape) - 1]
    state = value.state
    if isinstance(state, Rows):
        state = Rows(order.index(state.axis), state.outer, state.inner)
    return RowValue(state, tuple(shape[axis] for axis in order))


def quantized_matrix_product(view: NodeView) -> list[RowValue]:
    """QLinearMatMul: tensor, scale, zero point; twice; scale and zero point of the output."""
    view.require_shared(1, 2, 4, 5, 6, 7)
    _require_scalars(view, 1, 2)
    return [_product(view, 0, 3)]


def integer_matrix_product(view: NodeView) -> list[RowValue]:
    """MatMulInteger and MatMulIntegerToFloat: two matrices, then shared scales and zero points."""
    view.require_shared(*range(2, len(view.inputs)))
    _require_scalars(view, 2)
    if view.node.op_type == "MatMulIntegerToFloat":
        _require_scalars(view, 4)
    return [_product(view, 0, 1)]


def _require_scalars(view: NodeView, *indices: int) -> None:
    for index in indices:
        if view.has(index) and view.input(index).shape not in ((), (1,)):
            raise NotProven(f"its input {index} is not one number")


def blocked_matrix_product(view: NodeView) -> list[RowValue]:
    """MatMulNBits and its kin: a matrix of rows with a packed, shared one of N columns."""
    view.require_shared(*range(1, len(view.inputs)))
    shape, rows = view.shape(0), view.rows(0)
    if rows is not None and rows.axis == len(shape) - 1:
        raise RowsMeet("sums over the rows' axis")
    return [result(rows, [*shape[:-1], view.int_attribute("N", 0) or unknown_size()])]


def general_product(view: NodeView) -> list[RowValue]:
    """Gemm: A·B + C, with A or B transposed."""
    return _general_product(view, bias=2)


def quantized_general_product(view: NodeView) -> list[RowValue]:
    """QGemm: A and B with scales and zero points, then C."""
    view.require_shared(1, 2, 3, 4, 5, 6, 7, 8)
    found = _product(
        view, 0, 3, transposed=(bool(view.int_attribute("transA", 0)), bool(view.int_attribute("transB", 0)))
    )
    _require_scalars(view, 1, 2)
    return [found]


def _general_product(view: NodeView, bias: int) -> list[RowValue]:
    found = _product(
        view, 0, 1, transposed=(bool(view.int_attribute("transA", 0)), bool(view.int_attribute("transB", 0)))
    )
    if not view.has(bias):
        return [found]
    shape, rows = view.shape(bias), view.rows(bias)
    if not isinstance(found.state, Rows):
        if rows is not None:
            raise NotProven("its bias depends on rows and its product does not")
        return [found]
    axis = found.state.axis - (len(found.dims) - len(shape))
    if rows is not None and (
        axis != rows.axis or (rows.outer, rows.inner) != (found.state.outer, found.state.inner)
    ):
        raise RowsMeet("adds rows at another axis")
    if rows is None and axis >= 0 and shape[axis] != 1:
        raise NotProven("its bias has a fixed size at the rows' axis")
    return [found]


def _product(
    view: NodeView, left: int, right: int, transposed: tuple[bool, bool] = (False, False)
) -> RowValue:
    one, one_rows = _matrix(view, left, transposed[0])
    other, other_rows = _matrix(view, right, transposed[1])
    # A vector is a matrix of one row on the left, and of one column on the right.
    drop_left, drop_right = len(one) == 1, len(other) == 1
    if drop_left:
        one = [1, *one]
        one_rows = None if one_rows is None else Rows(1, one_rows.outer, one_rows.inner)
    if drop_right:
        other = [*other, 1]
    batch_rank = max(len(one), len(other)) - 2
    batch = broadcast_shape([one[:-2], other[:-2]])
    shape = [*batch, one[-2], other[-1]]
    found: set[Rows] = set()
    if one_rows is not None:
        found.add(_result_axis(one_rows, len(one), batch_rank, contracted=1, other=other, kept=batch_rank))
    if other_rows is not None:
        found.add(
            _result_axis(other_rows, len(other), batch_rank, contracted=2, other=one, kept=batch_rank + 1)
        )
    if one_rows is not None and other_rows is not None:
        (rows,) = found if len(found) == 1 else (None,)
        if rows is None or rows.axis >= batch_rank:
            raise RowsMeet("multiplies rows with all rows")
    elif one_rows is not None or other_rows is not None:
        (rows,) = found
        against, shared_shape = (right, other) if one_rows is not None else (left, one)
        at = rows.axis - (batch_rank - (len(shared_shape) - 2))
        if rows.axis < batch_rank and at >= 0 and shared_shape[at] != 1:
            raise NotProven(f"its input {against} has a fixed size at the rows' axis")
    else:
        rows = None
    dropped = [axis for axis, drop in ((batch_rank, drop_left), (batch_rank + 1, drop_right)) if drop]
    if rows is not None:
        rows = Rows(rows.axis - sum(axis < rows.axis for axis in dropped), rows.outer, rows.inner)
    return result(rows, [dim for axis, dim in enumerate(shape) if axis not in dropped])


def _matrix(view: NodeView, index: int, transposed: bool) -> tuple[list[Dim], Rows | None]:
    shape, rows = list(view.shape(index)), view.rows(index)
    if not shape:
        raise NotProven(f"its input {index} is a scalar")
    if not transposed or len(shape) < 2:
        return shape, rows
    last = len(shape) - 1
    if rows is not None and rows.axis >= last - 1:
        rows = Rows(2 * last - 1 - rows.axis, rows.outer, rows.inner)
    return [*shape[:-2], shape[-1], shape[-2]], rows


def _result_axis(
    rows: Rows, rank: int, batch_rank: int, *, contracted: int, other: Sequence[Dim], kept: int
) -> Rows:
    """Returns where the rows of an operand are in the product; `contracted` counts from the last axis, from 1."""
    if rows.axis == rank - contracted:
        raise RowsMeet("sums over the rows' axis")
    if rows.axis >= rank - 2:
        return Rows(kept, rows.outer, rows.inner)
    return Rows(rows.axis + batch_rank - (rank - 2), rows.outer, rows.inner)


def einsum(view: NodeView) -> list[RowValue]:
    """Products summed over the labels that the result lacks."""
    labelled, target = _equation(view)
    sizes: dict[str, list[Dim]] = {}
    found: set[tuple[str, Dim, Dim]] = set()
    for index, labels in enumerate(labelled):
        for label, size in zip(labels, view.shape(index), strict=True):
            sizes.setdefault(label, []).append(size)
        rows = view.rows(index)
        if rows is not None:
            if labels.count(labels[rows.axis]) > 1:
                raise RowsMeet("takes a diagonal over the rows")
            found.add((labels[rows.axis], rows.outer, rows.inner))
    shape = [broadcast_shape([[size] for size in sizes[label]])[0] for label in target]
    if not found:
        return [shared(shape)]
    if len(found) > 1:
        raise RowsMeet("combines rows with rows at another axis")
    ((label, outer, inner),) = found
    if target.count(label) != 1:
        raise RowsMeet("sums over the rows' axis")
    for index, labels in enumerate(labelled):
        if view.rows(index) is None and label in labels and view.shape(index)[labels.index(label)] != 1:
            raise NotProven(f"its input {index} has a fixed size at the rows' axis")
    return [result(Rows(target.index(label), outer, inner), shape)]


def _equation(view: NodeView) -> tuple[list[list[str]], list[str]]:
    """Returns the labels of the axes of each operand and of the result; those of an ellipsis count from its last axis."""
    terms, arrow, wanted = view.text_attribute("equation").replace(" ", "").partition("->")
    operands = terms.split(",")
    if len(operands) != len(view.inputs):
        raise NotProven("its equation has another number of operands")
    sizes = [len(view.shape(index)) - len(term.replace("...", "")) for index, term in enumerate(operands)]
    rest = max((size for size, term in zip(sizes, operands, strict=True) if "..." in term), default=0)
    labelled = [
        _labels(term, [f"...{number}" for number in range(rest - size, rest)])
        for size, term in zip(sizes, operands, strict=True)
    ]
    if any(len(labels) != len(view.shape(index)) for index, labels in enumerate(labelled)):
        raise NotProven("its equation has another number of axes")
    if not arrow:
        every = [label for labels in labelled for label in labels if not label.startswith("...")]
        once = sorted(label for label in set(every) if every.count(label) == 1)
        wanted = "".join(["..."] * bool(rest) + once)
    return labelled, _labels(wanted, [f"...{number}" for number in range(rest)])


def _labels(term: str, rest: Sequence[str]) -> list[str]:
    before, dots, after = term.partition("...")
    return [*before, *(rest if dots else []), *after]
