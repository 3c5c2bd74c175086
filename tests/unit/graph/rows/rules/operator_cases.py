"""Random single-node models for each operator of the table, with the axes at which their inputs hold rows."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

ML, MICROSOFT = "ai.onnx.ml", "com.microsoft"


@dataclass
class Case:
    """A model of one node under construction; sizes of a row axis are those of one row.

    Attributes:
        op: The operator.
        domain: Its domain.
        opset: Version of the standard operator set.
        with_rows: The axis of rows of each input that has them.
        feeds: Inputs of one row each, by name: one array for each row.
        constants: Inputs that are weights.
        names: Inputs of the node in order.
        attributes: Its attributes.
        num_outputs: The number of its outputs.
    """

    op: str
    domain: str = ""
    opset: int = 21
    with_rows: dict[str, int] = field(default_factory=dict)
    feeds: dict[str, list[np.ndarray]] = field(default_factory=dict)
    constants: dict[str, np.ndarray] = field(default_factory=dict)
    names: list[str] = field(default_factory=list)
    attributes: dict[str, object] = field(default_factory=dict)
    num_outputs: int = 1

    def rows(self, arrays: list[np.ndarray], axis: int) -> Case:
        """Adds an input with rows: one array for each of them, which are concatenated along `axis`."""
        name = f"x{len(self.names)}"
        self.feeds[name], self.with_rows[name] = arrays, axis
        self.names.append(name)
        return self

    def constant(self, array: np.ndarray) -> Case:
        """Adds an input that is a weight."""
        name = f"w{len(self.names)}"
        self.constants[name] = np.asarray(array)
        self.names.append(name)
        return self

    def omitted(self) -> Case:
        """Omits an input."""
        self.names.append("")
        return self

    def model(self) -> onnx.ModelProto:
        """Returns the model; the row axes are free."""
        inputs = []
        for name, arrays in self.feeds.items():
            dims: list[object] = list(arrays[0].shape)
            dims[self.with_rows[name]] = "N" if arrays[0].shape[self.with_rows[name]] == 1 else "M"
            inputs.append(
                helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(arrays[0].dtype), dims)
            )
        outputs = [f"y{index}" for index in range(self.num_outputs)]
        node = helper.make_node(
            self.op, self.names, outputs, name="tested", domain=self.domain, **self.attributes
        )
        graph = helper.make_graph(
            [node],
            "case",
            inputs,
            [onnx.ValueInfoProto(name=name) for name in outputs],
            [numpy_helper.from_array(array, name) for name, array in self.constants.items()],
        )
        opsets = [
            helper.make_opsetid("", self.opset),
            helper.make_opsetid(ML, 3),
            helper.make_opsetid(MICROSOFT, 1),
        ]
        return helper.make_model(graph, opset_imports=opsets, ir_version=9)


NUM_ROWS = 3
Maker = Callable[[random.Random], Case]
MAKERS: dict[tuple[str, str], Maker] = {}
"""Generator of cases by domain and operator."""


def _register(names: str, domain: str = "") -> Callable[[Callable[[random.Random, Case], Case]], object]:
    def keep(make: Callable[[random.Random, Case], Case]) -> object:
        for name in names.split():
            MAKERS[(domain, name)] = lambda rng, name=name: make(rng, Case(name, domain))
        return make

    return keep


def shape_of(rng: random.Random, low: int = 1, high: int = 4) -> list[int]:
    """Returns a random small shape."""
    return [rng.randint(1, 4) for _ in range(rng.randint(low, high))]


def noise(rng: random.Random, shape: list[int], dtype: object = np.float32) -> np.ndarray:
    """Returns random numbers of varied magnitude."""
    generator = np.random.default_rng(rng.getrandbits(32))
    if np.dtype(dtype).kind == "f":
        return (generator.standard_normal(shape) * rng.choice([0.1, 1.0, 30.0])).astype(dtype)
    if np.dtype(dtype).kind == "b":
        return generator.integers(0, 2, shape).astype(bool)
    return generator.integers(0, 100, shape).astype(dtype)


def many(rng: random.Random, shape: list[int], axis: int, dtype: object = np.float32) -> list[np.ndarray]:
    """Returns an array for each row, with one index at the row axis."""
    one = [*shape]
    one[axis] = 1
    return [noise(rng, one, dtype) for _ in range(NUM_ROWS)]


def _data(
    rng: random.Random, case: Case, low: int = 1, high: int = 4, dtype: object = np.float32
) -> tuple[list[int], int]:
    shape = shape_of(rng, low, high)
    axis = rng.randrange(len(shape))
    case.rows(many(rng, shape, axis, dtype), axis)
    return shape, axis


@_register(
    "Abs Ceil Celu Clip Cos Elu Erf Exp Floor Gelu HardSigmoid HardSwish Identity IsInf IsNaN LeakyRelu Mish Neg "
    "Reciprocal Relu Round Selu Shrink Sigmoid Sign Sin Softplus Softsign Tanh ThresholdedRelu Atan Sinh Cosh Tan "
    "Asinh Acos Acosh Asin Atanh Log Sqrt Dropout"
)
def _unary(rng, case):
    _data(rng, case)
    return case


@_register("Gelu QuickGelu FastGelu", MICROSOFT)
def _unary_microsoft(rng, case):
    _data(rng, case)
    return case


@_register("Cast")
def _cast(rng, case):
    _data(rng, case)
    case.attributes["to"] = rng.choice([TensorProto.INT32, TensorProto.DOUBLE, TensorProto.BOOL])
    return case


def _broadcast_pair(rng, case, dtype=np.float32, count=2):
    shape, axis = _data(rng, case, dtype=dtype)
    for _ in range(count - 1):
        other = [rng.choice([1, size]) for size in shape][rng.randint(0, len(shape)) :]
        at = axis - (len(shape) - len(other))
        if at >= 0 and rng.random() < 0.5:
            case.rows(many(rng, other, at, dtype), at)
        elif at >= 0 and rng.random() < 0.8:
            other[at] = 1
            case.constant(noise(rng, other, dtype))
        elif other and rng.random() < 0.3:
            wrong = rng.randrange(len(other))
            case.rows(many(rng, other, wrong, dtype), wrong)
        else:
            case.constant(noise(rng, other, dtype))
    return case


@_register("Add Div Mul Sub Max Min Mean Sum Greater GreaterOrEqual Less LessOrEqual Pow PRelu Equal")
def _binary(rng, case):
    return _broadcast_pair(rng, case)


@_register("And Or Xor")
def _logical(rng, case):
    return _broadcast_pair(rng, case, bool)


@_register("Not")
def _not(rng, case):
    _data(rng, case, dtype=bool)
    return case


@_register("BitwiseAnd BitwiseOr BitwiseXor Mod")
def _integers(rng, case):
    case = _broadcast_pair(rng, case, np.int32)
    for name, arrays in case.feeds.items():
        case.feeds[name] = [array + 1 for array in arrays]
    for name, array in case.constants.items():
        case.constants[name] = array + 1
    return case


@_register("BitShift")
def _shift(rng, case):
    case.attributes["direction"] = "LEFT"
    return _broadcast_pair(rng, case, np.uint32)


@_register("BitwiseNot")
def _bitwise_not(rng, case):
    _data(rng, case, dtype=np.int32)
    return case


@_register("Where")
def _where(rng, case):
    shape, axis = shape_of(rng), 0
    axis = rng.randrange(len(shape))
    case.rows(many(rng, shape, axis, bool), axis)
    case.rows(many(rng, shape, axis), axis)
    case.constant(noise(rng, []))
    return case


@_register("CastLike")
def _cast_like(rng, case):
    _data(rng, case)
    return case.constant(np.zeros((), np.int32))


@_register("QuantizeLinear")
def _quantize(rng, case):
    shape, _ = _data(rng, case, 2)
    return _scales(rng, case, shape)


@_register("DequantizeLinear")
def _dequantize(rng, case):
    shape, _ = _data(rng, case, 2, dtype=np.uint8)
    return _scales(rng, case, shape)


def _scales(rng, case, shape):
    if rng.random() < 0.6:
        return case.constant(np.float32(0.3)).constant(np.uint8(3))
    axis = rng.randrange(len(shape))
    case.attributes["axis"] = axis
    size = shape[axis] if case.with_rows["x0"] != axis else 1
    return case.constant(np.full(size, 0.2, np.float32)).constant(np.full(size, 4, np.uint8))


@_register("Softmax LogSoftmax Hardmax LpNormalization")
def _softmax(rng, case):
    shape, _ = _data(rng, case)
    case.opset = rng.choice([11, 13, 21])
    case.attributes["axis"] = rng.randrange(len(shape))
    return case


@_register("LayerNormalization")
def _layer_normalization(rng, case):
    shape, row_axis = _data(rng, case, 2)
    axis = rng.randrange(1, len(shape))
    case.attributes["axis"] = axis
    if row_axis >= axis:
        return case.constant(noise(rng, [1] * (len(shape) - axis)))
    return case.constant(noise(rng, shape[axis:])).constant(noise(rng, shape[axis:]))


@_register("SimplifiedLayerNormalization")
def _simplified(rng, case):
    shape, row_axis = _data(rng, case, 2)
    case.attributes["axis"] = -1
    return case.constant(noise(rng, [1 if row_axis == len(shape) - 1 else shape[-1]]))


@_register(
    "ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare"
)
def _reduce(rng, case):
    shape, _ = _data(rng, case)
    axes = sorted(rng.sample(range(len(shape)), rng.randint(0, len(shape))))
    case.opset = rng.choice([13, 18])
    case.attributes["keepdims"] = rng.randint(0, 1)
    if case.opset == 18 or case.op == "ReduceSum":
        if axes:
            case.constant(np.array(axes, np.int64))
        case.attributes["noop_with_empty_axes"] = rng.randint(0, 1)
    elif axes:
        case.attributes["axes"] = axes
    return case


@_register("ArgMax ArgMin")
def _arg(rng, case):
    shape, _ = _data(rng, case)
    case.attributes |= {"axis": rng.randrange(len(shape)), "keepdims": rng.randint(0, 1)}
    return case


@_register("TopK")
def _top_k(rng, case):
    shape, _ = _data(rng, case)
    case.attributes["axis"] = rng.randrange(len(shape))
    case.num_outputs = 2
    return case.constant(np.array([1], np.int64))


@_register("CumSum")
def _cumulative(rng, case):
    shape, _ = _data(rng, case)
    case.attributes["exclusive"] = rng.randint(0, 1)
    return case.constant(np.array(rng.randrange(len(shape)), np.int64))


@_register("Concat")
def _concat(rng, case):
    shape, axis = _data(rng, case)
    case.rows(many(rng, shape, axis), axis)
    if rng.random() < 0.2:
        case.constant(noise(rng, shape))
    case.attributes["axis"] = rng.randrange(len(shape))
    return case


@_register("Split")
def _split(rng, case):
    shape = shape_of(rng, 2)
    axis = rng.randrange(len(shape))
    at = rng.randrange(len(shape))
    shape[at] = 4
    case.rows(many(rng, shape, axis), axis)
    case.attributes["axis"] = at
    case.num_outputs = 2
    if rng.random() < 0.5 and at != axis:
        return case.constant(np.array([1, 3], np.int64))
    case.attributes["num_outputs"] = 2
    return case


@_register("Slice")
def _slice(rng, case):
    shape, _ = _data(rng, case, 2)
    at = rng.randrange(len(shape))
    start, end = rng.choice(
        [(0, 2**63 - 1), (0, 1), (-1, 2**63 - 1), (1, 10**9), (0, -1), (-1, -(2**63) + 1)]
    )
    step = -1 if end < -(2**60) else 1
    for values in ([start], [end], [at], [step]):
        case.constant(np.array(values, np.int64))
    return case


@_register("Gather")
def _gather(rng, case):
    if rng.random() < 0.3:
        case.constant(noise(rng, [5, *shape_of(rng, 0, 2)]))
        shape = shape_of(rng, 1, 3)
        axis = rng.randrange(len(shape))
        return case.rows([array % 5 for array in many(rng, shape, axis, np.int64)], axis)
    shape, _ = _data(rng, case)
    case.attributes["axis"] = rng.randrange(len(shape))
    return case.constant(np.zeros(shape_of(rng, 0, 2), np.int64))


@_register("GatherElements")
def _gather_elements(rng, case):
    shape, axis = _data(rng, case)
    case.attributes["axis"] = rng.randrange(len(shape))
    return case.rows([array * 0 for array in many(rng, shape, axis, np.int64)], axis)


@_register("GatherND")
def _gather_nd(rng, case):
    shape, axis = _data(rng, case, 2)
    depth = rng.randint(1, len(shape))
    if axis == 0 and depth < len(shape) and rng.random() < 0.6:
        case.attributes["batch_dims"] = 1
        return case.rows([np.zeros([1, 2, depth], np.int64) for _ in range(NUM_ROWS)], 0)
    return case.constant(np.zeros([2, depth], np.int64))


@_register("ScatterElements")
def _scatter(rng, case):
    shape, axis = _data(rng, case)
    case.attributes["axis"] = rng.randrange(len(shape))
    one = [1 if at == case.attributes["axis"] else size for at, size in enumerate(shape)]
    case.rows([array * 0 for array in many(rng, one, axis, np.int64)], axis)
    return case.rows(many(rng, one, axis), axis)


@_register("OneHot")
def _one_hot(rng, case):
    shape, _ = _data(rng, case, 1, 3, np.int64)
    case.attributes["axis"] = rng.randint(0, len(shape))
    return case.constant(np.array(5, np.int64)).constant(np.array([0, 1], np.float32))


@_register("ReverseSequence")
def _reverse(rng, case):
    shape = shape_of(rng, 2)
    axis = rng.randint(0, 1)
    case.rows(many(rng, shape, axis), axis)
    case.attributes |= {"batch_axis": axis, "time_axis": 1 - axis}
    return case.rows([np.array([rng.randint(1, shape[1 - axis])], np.int64) for _ in range(NUM_ROWS)], 0)


@_register("Trilu")
def _trilu(rng, case):
    _data(rng, case, 2)
    return case


@_register("MeanVarianceNormalization")
def _mean_variance(rng, case):
    _data(rng, case, 4)
    case.attributes["axes"] = sorted(rng.sample(range(4), 2))
    return case


@_register("MatMul")
def _matmul(rng, case):
    inner = rng.randint(1, 4)
    one, other = [*shape_of(rng, 0, 2), inner], [inner, *shape_of(rng, 0, 1)]
    if rng.random() < 0.3:
        batch = shape_of(rng, 1, 2)
        one, other = [*batch, 2, inner], [*batch, inner, 3]
    axis = rng.randrange(len(one))
    if len(other) > 2 and axis < len(other) - 2:
        if rng.random() < 0.5:
            case.rows(many(rng, one, axis), axis)
            return case.rows(many(rng, other, axis), axis)
        other[axis] = 1
    if axis == len(one) - 1:
        other[max(0, len(other) - 2)] = 1
        case.rows(many(rng, one, axis), axis)
        return case.rows(many(rng, other, max(0, len(other) - 2)), max(0, len(other) - 2))
    if rng.random() < 0.3 and len(other) == 2:
        case.constant(noise(rng, one))
        return case.rows(many(rng, other, 1), 1)
    case.rows(many(rng, one, axis), axis)
    return case.constant(noise(rng, other))


@_register("FusedMatMul", MICROSOFT)
def _fused_matmul(rng, case):
    if rng.random() < 0.4:
        case.attributes["transBatchA"] = 1
        axis = rng.randrange(3)
        case.rows(many(rng, [2, 3, 5, 4], axis), axis)
        other = [rng.choice([1, 3]), rng.choice([1, 5]), 4, 2]
        for at, source in enumerate((1, 2)):
            if axis == source:
                other[at] = 1
        return case.constant(noise(rng, other))
    return _gemm_like(rng, case, bias=False)


@_register("Gemm")
def _gemm(rng, case):
    return _gemm_like(rng, case, bias=rng.random() < 0.6)


def _gemm_like(rng, case, *, bias):
    trans_a, trans_b = rng.randint(0, 1), rng.randint(0, 1)
    case.attributes |= {"transA": trans_a, "transB": trans_b}
    case.rows(many(rng, [2, 4] if not trans_a else [4, 2], trans_a), trans_a)
    case.constant(noise(rng, [3, 4] if trans_b else [4, 3]))
    return case.constant(noise(rng, rng.choice([[3], [1, 3], [1], []]))) if bias else case


@_register("Einsum")
def _einsum(rng, case):
    equation, one, other, axis, second = rng.choice(
        [
            ("ij,jk->ik", [2, 3], [3, 4], 0, None),
            ("bij,bjk->bik", [2, 2, 3], [2, 3, 4], 0, 0),
            ("bhid,bhjd->bhij", [1, 2, 3, 4], [1, 2, 5, 4], 0, 0),
            ("...ij,jk->...ik", [2, 3, 3], [3, 4], 0, None),
            ("ij,jk->ik", [1, 3], [3, 4], 1, 0),
            ("tbd,de->bte", [3, 2, 4], [4, 2], 1, None),
            ("ij,jk", [2, 3], [3, 4], 0, None),
        ]
    )
    case.attributes["equation"] = equation
    case.rows(many(rng, one, axis), axis)
    return case.constant(noise(rng, other)) if second is None else case.rows(many(rng, other, second), second)


@_register("MatMulInteger")
def _matmul_integer(rng, case):
    case.rows(many(rng, [2, 4], 0, np.uint8), 0)
    return case.constant(noise(rng, [4, 3], np.int8))


@_register("QLinearMatMul")
def _quantized_matmul(rng, case):
    case.rows(many(rng, [2, 4], 0, np.uint8), 0)
    case.constant(np.float32(0.1)).constant(np.uint8(3))
    case.constant(noise(rng, [4, 3], np.uint8)).constant(np.float32(0.2)).constant(np.uint8(7))
    return case.constant(np.float32(3.0)).constant(np.uint8(9))


@_register("MatMulIntegerToFloat", MICROSOFT)
def _matmul_to_float(rng, case):
    case.rows(many(rng, [2, 4], 0, np.uint8), 0)
    case.constant(noise(rng, [4, 3], np.uint8)).constant(np.float32(0.1)).constant(np.float32(0.2))
    return case


@_register("Transpose")
def _transpose(rng, case):
    shape, _ = _data(rng, case)
    if rng.random() < 0.8:
        case.attributes["perm"] = rng.sample(range(len(shape)), len(shape))
    return case


@_register("Reshape")
def _reshape(rng, case):
    shape = [rng.choice([1, 2, 4]) for _ in range(rng.randint(1, 4))]
    axis = rng.randrange(len(shape))
    case.rows(many(rng, shape, axis), axis)
    wanted = rng.choice(
        [
            [0, -1],
            [-1, 2],
            [-1],
            [2, -1],
            [1, -1, 1],
            [-1, 4],
            [0, 0, -1],
            [0, 2, -1],
            [-1, 1, 2, 2],
            [4, -1],
            [2, -1, 2],
        ]
    )
    return case.constant(np.array(wanted, np.int64))


@_register("Flatten")
def _flatten(rng, case):
    shape, _ = _data(rng, case)
    case.attributes["axis"] = rng.randint(0, len(shape))
    return case


@_register("Squeeze")
def _squeeze(rng, case):
    shape, axis = shape_of(rng, 2), 0
    shape[1] = 1
    case.rows(many(rng, shape, axis), axis)
    return case.constant(np.array([1], np.int64)) if rng.random() < 0.8 else case


@_register("Unsqueeze")
def _unsqueeze(rng, case):
    shape, _ = _data(rng, case)
    return case.constant(np.array([rng.randint(-len(shape) - 1, len(shape))], np.int64))


@_register("Expand")
def _expand(rng, case):
    shape, axis = _data(rng, case)
    return case.constant(
        np.array([2] * rng.randint(0, 1) + [1 if at == axis else size for at, size in enumerate(shape)])
    )


@_register("Tile")
def _tile(rng, case):
    shape, _ = _data(rng, case)
    return case.constant(np.array([rng.randint(1, 2) for _ in shape]))


@_register("DepthToSpace")
def _depth_to_space(rng, case):
    case.rows(many(rng, [2, 8, 2, 3], 0), 0)
    case.attributes |= {"blocksize": 2, "mode": rng.choice(["DCR", "CRD"])}
    return case


@_register("SpaceToDepth")
def _space_to_depth(rng, case):
    case.rows(many(rng, [2, 2, 4, 6], 0), 0)
    case.attributes["blocksize"] = 2
    return case


@_register("Pad")
def _pad(rng, case):
    shape, axis = _data(rng, case)
    ends = [rng.randint(0, 1) for _ in range(2 * len(shape))]
    if rng.random() < 0.7:
        ends[axis] = ends[axis + len(shape)] = 0
    return case.constant(np.array(ends, np.int64))


def _image(rng, case, dtype=np.float32, channels=3):
    axis = rng.choice([0, 0, 0, 1])
    channels = 1 if axis == 1 else channels
    case.rows(many(rng, [2, channels, 6, 5], axis, dtype), axis)
    return channels


@_register("Conv")
def _conv(rng, case):
    channels = _image(rng, case)
    case.attributes |= {
        "kernel_shape": [3, 2],
        "strides": [rng.randint(1, 2)] * 2,
        "auto_pad": rng.choice(["NOTSET", "SAME_UPPER", "VALID"]),
    }
    return case.constant(noise(rng, [4, channels, 3, 2]))


@_register("ConvInteger")
def _conv_integer(rng, case):
    channels = _image(rng, case, np.uint8)
    return case.constant(noise(rng, [4, channels, 3, 2], np.uint8))


@_register("ConvTranspose")
def _conv_transpose(rng, case):
    channels = _image(rng, case)
    return case.constant(noise(rng, [channels, 4, 3, 2]))


@_register("QLinearConv")
def _quantized_conv(rng, case):
    channels = _image(rng, case, np.uint8)
    case.constant(np.float32(0.1)).constant(np.uint8(3))
    case.constant(noise(rng, [4, channels, 3, 2], np.uint8)).constant(np.float32(0.2)).constant(np.uint8(7))
    return case.constant(np.float32(3.0)).constant(np.uint8(9))


@_register("FusedConv", MICROSOFT)
def _fused_conv(rng, case):
    case.attributes["activation"] = "Relu"
    case.rows(many(rng, [2, 3, 6, 5], 0), 0)
    case.constant(noise(rng, [4, 3, 3, 2])).constant(noise(rng, [4]))
    return case.rows(many(rng, [2, 4, 4, 4], 0), 0)


@_register("AveragePool LpPool MaxPool")
def _pool(rng, case):
    _image(rng, case)
    case.attributes |= {"kernel_shape": [2, 2], "strides": [rng.randint(1, 2)] * 2}
    if case.op == "MaxPool" and rng.random() < 0.3:
        case.num_outputs = 2
    if case.op != "LpPool":
        case.attributes["ceil_mode"] = rng.randint(0, 1)
    return case


@_register("GlobalAveragePool GlobalLpPool GlobalMaxPool")
def _global_pool(rng, case):
    _image(rng, case)
    return case


@_register("LRN")
def _lrn(rng, case):
    _image(rng, case)
    case.attributes["size"] = 3
    return case


@_register("InstanceNormalization")
def _instance(rng, case):
    channels = _image(rng, case)
    return case.constant(noise(rng, [channels])).constant(noise(rng, [channels]))


@_register("GroupNormalization")
def _group(rng, case):
    case.rows(many(rng, [2, 4, 3, 3], 0), 0)
    case.attributes["num_groups"] = 2
    return case.constant(noise(rng, [4])).constant(noise(rng, [4]))


@_register("BatchNormalization")
def _batch_normalization(rng, case):
    case.rows(many(rng, [2, 4, 3, 3], 0), 0)
    if rng.random() < 0.3:
        case.attributes["training_mode"] = 1
        case.num_outputs = 3
    for _ in range(4):
        case.constant(np.abs(noise(rng, [4])) + 0.1)
    return case


@_register("Resize")
def _resize(rng, case):
    _data(rng, case, 4)
    scales = [1.0, 1.0, 2.0, 1.5]
    case.omitted()
    case.attributes["mode"] = rng.choice(["nearest", "linear"])
    return case.constant(np.array(scales, np.float32))


@_register("GridSample")
def _grid_sample(rng, case):
    case.rows(many(rng, [2, 3, 4, 4], 0), 0)
    return case.rows(many(rng, [2, 5, 6, 2], 0), 0)


@_register("Col2Im")
def _columns(rng, case):
    case.rows(many(rng, [2, 8, 4], 0), 0)
    case.attributes["strides"] = [2, 2]
    return case.constant(np.array([4, 4], np.int64)).constant(np.array([2, 2], np.int64))


@_register("DFT")
def _dft(rng, case):
    case.opset = 20
    axis = rng.randint(0, 1)
    case.rows(many(rng, [2, 4, 1], axis), axis)
    return case.omitted().constant(np.array(rng.randint(0, 1), np.int64))


@_register("STFT")
def _stft(rng, case):
    case.rows(many(rng, [2, 16, 1], 0), 0)
    return case.constant(np.array(4, np.int64)).omitted().constant(np.array(8, np.int64))


@_register("GRU LSTM RNN")
def _recurrent(rng, case):
    gates = {"GRU": 3, "LSTM": 4, "RNN": 1}[case.op]
    axis = rng.choice([1, 1, 1, 0])
    case.rows(many(rng, [4, 4, 3], axis), axis)
    case.constant(noise(rng, [1, gates * 2, 3])).constant(noise(rng, [1, gates * 2, 2]))
    case.attributes["hidden_size"] = 2
    case.num_outputs = 2
    if axis == 1 and rng.random() < 0.5:
        case.omitted()
        case.rows([np.array([rng.randint(1, 4)], np.int32) for _ in range(NUM_ROWS)], 0)
        case.rows(many(rng, [1, 2, 2], 1), 1)
    return case


@_register("SkipLayerNormalization", MICROSOFT)
def _skip(rng, case):
    case.rows(many(rng, [2, 3, 4], 0), 0)
    if rng.random() < 0.6:
        case.rows(many(rng, [2, 3, 4], 0), 0)
    else:
        case.constant(noise(rng, [1, 3, 4]))
    return case.constant(noise(rng, [4])).constant(noise(rng, [4]))


@_register("BiasGelu", MICROSOFT)
def _bias_gelu(rng, case):
    case.rows(many(rng, [2, 3, 4], 0), 0)
    return case.constant(noise(rng, [4]))


@_register("EmbedLayerNormalization", MICROSOFT)
def _embed(rng, case):
    case.rows([noise(rng, [1, 3], np.int32) % 5 for _ in range(NUM_ROWS)], 0)
    case.omitted().constant(noise(rng, [5, 4])).constant(noise(rng, [3, 4])).omitted()
    case.num_outputs = 2
    return case.constant(noise(rng, [4])).constant(noise(rng, [4]))


@_register("Attention", MICROSOFT)
def _attention(rng, case):
    case.rows(many(rng, [2, 3, 4], 0), 0)
    case.attributes["num_heads"] = 2
    case.constant(noise(rng, [4, 12])).constant(noise(rng, [12]))
    if rng.random() < 0.5:
        case.rows([np.array([[1, 1, rng.randint(0, 1)]], np.int32) for _ in range(NUM_ROWS)], 0)
    return case


@_register("MultiHeadAttention", MICROSOFT)
def _multi_head(rng, case):
    case.attributes["num_heads"] = 2
    for length in (3, 5, 5):
        case.rows(many(rng, [2, length, 4], 0), 0)
    return case


@_register("GroupQueryAttention", MICROSOFT)
def _grouped(rng, case):
    case.attributes |= {"num_heads": 2, "kv_num_heads": 1}
    case.num_outputs = 3
    case.rows(many(rng, [2, 1, 16], 0), 0)
    case.rows(many(rng, [2, 1, 8], 0), 0).rows(many(rng, [2, 1, 8], 0), 0)
    case.rows(many(rng, [2, 1, 4, 8], 0), 0).rows(many(rng, [2, 1, 4, 8], 0), 0)
    case.rows([np.array([4], np.int32) for _ in range(NUM_ROWS)], 0)
    return case.constant(np.array(5, np.int32))


@_register("RotaryEmbedding", MICROSOFT)
def _rotary(rng, case):
    case.rows(many(rng, [2, 2, 3, 8], 0), 0)
    if rng.random() < 0.5:
        case.constant(np.array([0], np.int64))
    else:
        case.rows([np.array([[0, 1, rng.randint(0, 3)]], np.int64) for _ in range(NUM_ROWS)], 0)
    return case.constant(noise(rng, [6, 4])).constant(noise(rng, [6, 4]))


@_register("Scaler", ML)
def _scaler(rng, case):
    case.rows(many(rng, [2, 3], 0), 0)
    case.attributes |= {"offset": [1.0, 2.0, 3.0], "scale": [2.0, 0.5, 1.0]}
    return case


@_register("Normalizer", ML)
def _normalizer(rng, case):
    _data(rng, case, 1, 2)
    case.attributes["norm"] = rng.choice(["L1", "L2", "MAX"])
    return case


@_register("Binarizer", ML)
def _binarizer(rng, case):
    _data(rng, case, 2, 2)
    case.attributes["threshold"] = 0.3
    return case


@_register("Imputer", ML)
def _imputer(rng, case):
    case.rows(many(rng, [2, 3], 0), 0)
    case.attributes |= {"imputed_value_floats": [1.0, 2.0, 3.0], "replaced_value_float": 0.0}
    return case


@_register("LabelEncoder", ML)
def _label_encoder(rng, case):
    _data(rng, case, 1, 3, np.int64)
    case.attributes |= {"keys_int64s": [1, 2, 3], "values_floats": [0.1, 0.2, 0.3], "default_float": 9.0}
    return case


@_register("LinearRegressor", ML)
def _linear_regressor(rng, case):
    case.rows(many(rng, [2, 3], 0), 0)
    case.attributes |= {"coefficients": [1.0, 2.0, 3.0], "intercepts": [0.5], "targets": 1}
    return case


@_register("LinearClassifier", ML)
def _linear_classifier(rng, case):
    case.rows(many(rng, [2, 3], 0), 0)
    case.attributes |= {
        "coefficients": [1.0, 2.0, 3.0, -1.0, -2.0, 0.5],
        "intercepts": [0.5, 0.1],
        "classlabels_ints": [0, 1],
    }
    case.num_outputs = 2
    return case


@_register("TreeEnsembleRegressor", ML)
def _tree(rng, case):
    case.rows(many(rng, [2, 3], 0), 0)
    case.attributes |= {
        "n_targets": 1, "nodes_treeids": [0, 0, 0], "nodes_nodeids": [0, 1, 2], "nodes_featureids": [1, 0, 0],
        "nodes_modes": ["BRANCH_LEQ", "LEAF", "LEAF"], "nodes_values": [0.2, 0.0, 0.0],
        "nodes_truenodeids": [1, 0, 0], "nodes_falsenodeids": [2, 0, 0], "target_treeids": [0, 0],
        "target_nodeids": [1, 2], "target_ids": [0, 0], "target_weights": [1.5, -2.5],
    }  # fmt: skip
    return case


@_register("ArrayFeatureExtractor", ML)
def _extractor(rng, case):
    case.rows(many(rng, [2, 3], 0), 0)
    return case.constant(np.array([0, 2], np.int64))


@_register("OneHotEncoder", ML)
def _encoder(rng, case):
    _data(rng, case, 1, 2, np.int64)
    case.attributes |= {"cats_int64s": [1, 2, 3], "zeros": 1}
    return case


@_register("FeatureVectorizer", ML)
def _vectorizer(rng, case):
    case.attributes["inputdimensions"] = [3, 2]
    return case.rows(many(rng, [2, 3], 0), 0).rows(many(rng, [2, 2], 0), 0)


@_register("QLinearAdd QLinearMul", MICROSOFT)
def _quantized_pair(rng, case):
    case.rows(many(rng, [2, 3, 4], 0, np.uint8), 0)
    case.constant(np.float32(0.1)).constant(np.uint8(3))
    if rng.random() < 0.5:
        case.rows(many(rng, [2, 3, 4], 0, np.uint8), 0)
    else:
        case.constant(noise(rng, [3, 4], np.uint8))
    return (
        case.constant(np.float32(0.2)).constant(np.uint8(7)).constant(np.float32(0.5)).constant(np.uint8(9))
    )


@_register("QLinearSigmoid QLinearLeakyRelu QLinearGlobalAveragePool QLinearAveragePool", MICROSOFT)
def _quantized_unary(rng, case):
    case.rows(many(rng, [2, 3, 4, 4], 0, np.uint8), 0)
    if case.op == "QLinearAveragePool":
        case.attributes["kernel_shape"] = [2, 2]
    return (
        case.constant(np.float32(0.1)).constant(np.uint8(3)).constant(np.float32(0.2)).constant(np.uint8(9))
    )


@_register("QLinearConcat", MICROSOFT)
def _quantized_concat(rng, case):
    case.attributes["axis"] = rng.randint(0, 2)
    case.constant(np.float32(0.1)).constant(np.uint8(3))
    for _ in range(2):
        case.rows(many(rng, [2, 3, 4], 0, np.uint8), 0).constant(np.float32(0.2)).constant(np.uint8(9))
    return case


@_register("QLinearSoftmax", MICROSOFT)
def _quantized_softmax(rng, case):
    case.rows(many(rng, [2, 3, 4], 0, np.uint8), 0)
    case.attributes |= {"axis": rng.randint(0, 2), "opset": rng.choice([11, 13])}
    return (
        case.constant(np.float32(0.1)).constant(np.uint8(3)).constant(np.float32(0.004)).constant(np.uint8(0))
    )


@_register("MatMulNBits", MICROSOFT)
def _blocked(rng, case):
    case.rows(many(rng, [2, 3, 32], 0), 0)
    case.attributes |= {"K": 32, "N": 4, "bits": 4, "block_size": 32}
    return case.constant(noise(rng, [4, 1, 16], np.uint8)).constant(np.abs(noise(rng, [4])))


@_register("FusedGemm", MICROSOFT)
def _fused_gemm(rng, case):
    case.attributes["activation"] = "Relu"
    return _gemm_like(rng, case, bias=True)


@_register("SkipSimplifiedLayerNormalization", MICROSOFT)
def _skip_simplified(rng, case):
    case.rows(many(rng, [2, 3, 4], 0), 0).rows(many(rng, [2, 3, 4], 0), 0)
    return case.constant(noise(rng, [4]))


@_register("SVMRegressor", ML)
def _svm(rng, case):
    case.rows(many(rng, [2, 3], 0), 0)
    case.attributes |= {
        "coefficients": [1.0, -0.5], "kernel_params": [0.1, 0.0, 3.0], "kernel_type": "RBF", "n_supports": 2,
        "rho": [0.2], "support_vectors": [0.1, 0.2, 0.3, 1.0, -1.0, 0.5],
    }  # fmt: skip
    return case


@_register("TfIdfVectorizer")
def _ngrams(rng, case):
    case.rows([noise(rng, [1, 5], np.int32) % 4 for _ in range(NUM_ROWS)], 0)
    case.attributes |= {
        "max_gram_length": 1, "max_skip_count": 0, "min_gram_length": 1, "mode": "TF", "ngram_counts": [0],
        "ngram_indexes": [0, 1, 2], "pool_int64s": [1, 2, 3],
    }  # fmt: skip
    return case


@_register("DynamicQuantizeLinear")
def _dynamic(rng, case):
    _data(rng, case)
    case.num_outputs = 3
    return case
