"""Elements of small values that are computed from shapes, with the number of rows as a symbol."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir

from onnxmesh.graph.reading.attributes import int_attribute
from onnxmesh.graph.rows.node_view import NodeView
from onnxmesh.graph.rows.row_state import Contents, as_contents
from onnxmesh.graph.rows.size_arithmetic import (
    UnknownElement,
    chosen_element,
    element_difference,
    element_product,
    element_sum,
    elements_equal,
    exact_quotient,
    extreme_element,
    float_quotient,
    integer_quotient,
    number_of,
    rounded_by,
)
from onnxmesh.graph.rows.sizes import Size, product

MAX_ELEMENTS = 4096
"""Values with more elements are no shapes; theirs are not tracked."""


def known_contents(view: NodeView) -> Contents | None:
    """Returns the elements of a node's first output where they follow from shapes and constants; else None."""
    if view.node.domain not in {"", "ai.onnx"}:
        return None
    if view.node.op_type in _OF_SHAPE:
        return _OF_SHAPE[view.node.op_type](view)
    evaluate = _OPERATORS.get(view.node.op_type)
    if evaluate is None or not view.given:
        return None
    operands: list[Contents | None] = []
    for value in view.inputs:
        if value is not None and value.contents is None:
            return None
        operands.append(None if value is None else value.contents)
    try:
        found = evaluate(view, operands)
    except (ArithmeticError, IndexError, TypeError, ValueError, UnknownElement):
        return None
    return found if found.size <= MAX_ELEMENTS else None


_FLOATS = frozenset({onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.DOUBLE})
_INTEGERS = frozenset({onnx.TensorProto.INT32, onnx.TensorProto.INT64})


def _shape(view: NodeView) -> Contents | None:
    shape = view.input(0).shape
    if shape is None:
        return None
    start, end = view.int_attribute("start", 0), view.int_attribute("end", len(shape))
    return as_contents_of(list(shape)[start:end])


def _size(view: NodeView) -> Contents | None:
    shape = view.input(0).shape
    return None if shape is None else as_contents_of(product(shape))


def as_contents_of(elements: Any) -> Contents:
    """Returns sizes as an array of objects: a list as rank 1, a single one as a scalar."""
    if isinstance(elements, list):
        found = np.empty(len(elements), dtype=object)
        found[:] = elements
        return found
    scalar = np.empty((), dtype=object)
    scalar[()] = elements
    return scalar


_OF_SHAPE: dict[str, Callable[[NodeView], Contents | None]] = {"Shape": _shape, "Size": _size}

_Operands = Sequence[Contents | None]


def _at(operands: _Operands, index: int) -> Contents:
    value = operands[index] if index < len(operands) else None
    if value is None:
        raise UnknownElement
    return value


def _ints(operands: _Operands, index: int) -> list[int]:
    found = _at(operands, index).reshape(-1).tolist()
    if not all(isinstance(each, int) for each in found):
        raise UnknownElement
    return [int(each) for each in found]


def _elementwise(compute: Callable[..., Any]) -> Callable[[NodeView, _Operands], Contents]:
    def evaluate(view: NodeView, operands: _Operands) -> Contents:
        arrays = np.broadcast_arrays(*[_at(operands, index) for index in range(len(operands))])
        found = np.empty(arrays[0].shape, dtype=object)
        for index in np.ndindex(found.shape):
            found[index] = compute(*[array[index] for array in arrays])
        return found

    return evaluate


def _division(view: NodeView, operands: _Operands) -> Contents:
    # Integers are rounded, floats are not; the elements of floats that are whole numbers are integers here too.
    floating = [_is_floating(value) for value in view.node.inputs if value is not None]
    if True in floating:
        return _elementwise(float_quotient)(view, operands)
    return _elementwise(exact_quotient if None in floating else integer_quotient)(view, operands)


def _is_floating(value: ir.Value) -> bool | None:
    """Whether a value has floats; None if that is not known."""
    for _ in range(100):
        if value.dtype is not None:
            return value.dtype.is_floating_point()
        producer = value.producer()
        if producer is None or not producer.inputs:
            return None
        if producer.op_type in {"Shape", "Size"}:
            return False
        if producer.op_type == "Cast":
            return int_attribute(producer, "to", 0) in _FLOATS
        inputs = producer.inputs[1:] if producer.op_type == "Where" else producer.inputs
        if producer.op_type not in _OPERATORS or inputs[0] is None:
            return None
        value = inputs[0]
    return None


def _cast(view: NodeView, operands: _Operands) -> Contents:
    array = _at(operands, 0)
    to = view.int_attribute("to", 0)
    if to in _FLOATS:
        return array
    if to not in _INTEGERS:
        raise UnknownElement
    found = np.empty(array.shape, dtype=object)
    for index in np.ndindex(array.shape):
        element = array[index]
        found[index] = element if isinstance(element, Size) else int(number_of(element))
    return found


def _gather(view: NodeView, operands: _Operands) -> Contents:
    indices = np.array(_ints(operands, 1), dtype=np.int64).reshape(_at(operands, 1).shape)
    return as_array(np.take(_at(operands, 0), indices, axis=view.int_attribute("axis", 0)))


def as_array(value: Any) -> Contents:
    """Returns a result of numpy as an array, which gives single elements of arrays of objects as such."""
    return value if isinstance(value, np.ndarray) else as_contents_of(value)


def _slice(view: NodeView, operands: _Operands) -> Contents:
    data = _at(operands, 0)
    if view.version < 10:
        starts, ends, axes = (
            list(view.ints_attribute("starts")),
            list(view.ints_attribute("ends")),
            list(view.ints_attribute("axes")),
        )
        steps: list[int] = []
    else:
        starts, ends = _ints(operands, 1), _ints(operands, 2)
        axes = _ints(operands, 3) if view.has(3) else []
        steps = _ints(operands, 4) if view.has(4) else []
    cut = [slice(None)] * data.ndim
    for number, (start, end) in enumerate(zip(starts, ends, strict=True)):
        step = steps[number] if steps else 1
        axis = axes[number] if axes else number
        # A backward slice ends before index 0 where its end is below every index.
        last = None if step < 0 and end < -data.shape[axis] else end
        cut[axis] = slice(start, last, step)
    return as_array(data[tuple(cut)])


def _concat(view: NodeView, operands: _Operands) -> Contents:
    return np.concatenate(
        [_at(operands, index) for index in range(len(operands))], axis=view.int_attribute("axis", 0)
    )


def _axes(view: NodeView, operands: _Operands) -> list[int]:
    return _ints(operands, 1) if view.has(1) else list(view.ints_attribute("axes"))


def _squeeze(view: NodeView, operands: _Operands) -> Contents:
    axes = tuple(_axes(view, operands))
    return as_array(np.squeeze(_at(operands, 0), axis=axes or None))


def _unsqueeze(view: NodeView, operands: _Operands) -> Contents:
    return np.expand_dims(_at(operands, 0), tuple(_axes(view, operands)))


def _reshape(view: NodeView, operands: _Operands) -> Contents:
    if 0 in (shape := _ints(operands, 1)):
        raise UnknownElement
    return _at(operands, 0).reshape(shape)


def _identity(view: NodeView, operands: _Operands) -> Contents:
    return _at(operands, 0)


def _transpose(view: NodeView, operands: _Operands) -> Contents:
    return np.transpose(_at(operands, 0), view.ints_attribute("perm") or None)


def _reduce_product(view: NodeView, operands: _Operands) -> Contents:
    array = _at(operands, 0)
    axes = _axes(view, operands)
    if (
        array.ndim != 1
        or axes not in ([], [0], [-1])
        or (not axes and view.int_attribute("noop_with_empty_axes", 0))
    ):
        raise UnknownElement
    found = product(array.tolist())
    return as_contents_of([found] if view.int_attribute("keepdims", 1) else found)


def _constant_of_shape(view: NodeView, operands: _Operands) -> Contents:
    shape = _ints(operands, 0)
    if math.prod(shape) > MAX_ELEMENTS:
        raise UnknownElement
    value = view.node.attributes.get("value")
    element = 0 if value is None else as_contents(value.as_tensor().numpy()).reshape(-1)[0]
    found = np.empty(shape, dtype=object)
    found[...] = element
    return found


def _range(view: NodeView, operands: _Operands) -> Contents:
    start, limit, delta = (_ints(operands, index)[0] for index in range(3))
    if not delta or abs((limit - start) // delta) > MAX_ELEMENTS:
        raise UnknownElement
    return as_contents_of(list(range(start, limit, delta)))


_OPERATORS: dict[str, Callable[[NodeView, _Operands], Contents]] = {
    "Add": _elementwise(element_sum),
    "Cast": _cast,
    "Ceil": _elementwise(rounded_by(math.ceil)),
    "Concat": _concat,
    "ConstantOfShape": _constant_of_shape,
    "Div": _division,
    "Equal": _elementwise(elements_equal),
    "Floor": _elementwise(rounded_by(math.floor)),
    "Gather": _gather,
    "Identity": _identity,
    "Max": _elementwise(extreme_element(lambda difference: difference > 0)),
    "Min": _elementwise(extreme_element(lambda difference: difference < 0)),
    "Mul": _elementwise(element_product),
    "Neg": _elementwise(lambda value: element_product(value, -1)),
    "Range": _range,
    "ReduceProd": _reduce_product,
    "Reshape": _reshape,
    "Slice": _slice,
    "Squeeze": _squeeze,
    "Sub": _elementwise(element_difference),
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
    "Where": _elementwise(chosen_element),
}
"""Operators of shape arithmetic. Others give values whose elements are not known."""
