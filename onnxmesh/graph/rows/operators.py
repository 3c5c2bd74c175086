"""The table of operators: for each one the rule that says where its outputs have their rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from functools import partial

from onnxmesh.graph.rows import (
    axis_rules,
    contraction_rules,
    element_rules,
    feature_rules,
    image_rules,
    layout_rules,
    sequence_rules,
)
from onnxmesh.graph.rows.node_view import NodeView, RowsMeet
from onnxmesh.graph.rows.row_state import RowValue

Rule = Callable[[NodeView], list[RowValue]]

ONNX, ML, MICROSOFT, NCHWC = "", "ai.onnx.ml", "com.microsoft", "com.microsoft.nchwc"


class OperatorKind(StrEnum):
    """Where an operator may combine rows."""

    ELEMENT_WISE = "element-wise"
    """Each element from the elements at its indices, with broadcasting: rows must be at one axis."""
    ALONG_AXES = "along axes"
    """Row-wise unless the axes in which it works hold the rows."""
    CONTRACTION = "contraction"
    """Sums products over an axis, which must not hold the rows."""
    LAYOUT = "layout"
    """Moves, repeats or creates elements; the rows must stay apart."""
    IMAGE = "per image"
    """Works within each index of axis 0."""
    SEQUENCE = "per sequence"
    """Works within each index of the batch axis."""
    FEATURES = "per row of features"
    MIXING = "mixing"
    """Combines the rows, however they are arranged."""


@dataclass(frozen=True, slots=True)
class OperatorRule:
    """Entry of the table.

    Attributes:
        domain: Domain of the operator.
        name: Its name.
        kind: Where it may combine rows.
        rule: Maps a node with rows among its inputs to its outputs. Raises `RowsMeet` or `NotProven`.
    """

    domain: str
    name: str
    kind: OperatorKind
    rule: Rule

    @property
    def source(self) -> str:
        """Address of the operator's specification."""
        if self.domain == MICROSOFT:
            return f"https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md#com.microsoft.{self.name}"
        if self.domain == NCHWC:
            return "https://github.com/microsoft/onnxruntime/blob/main/onnxruntime/core/graph/contrib_ops/nchwc_schema_defs.cc"
        prefix = "onnx_aionnxml_" if self.domain == ML else "onnx__"
        return f"https://onnx.ai/onnx/operators/{prefix}{self.name}.html"


def _mixing(why: str, view: NodeView) -> list[RowValue]:
    raise RowsMeet(why)


def _entries() -> Iterable[tuple[str, OperatorKind, Rule, str]]:
    element = OperatorKind.ELEMENT_WISE
    yield ONNX, element, element_rules.element_wise, (
        "Abs Acos Acosh Add And Asin Asinh Atan Atanh BitShift BitwiseAnd BitwiseNot BitwiseOr BitwiseXor Cast Ceil Celu "
        "Clip Cos Cosh Div Elu Equal Erf Exp Floor Gelu Greater GreaterOrEqual HardSigmoid HardSwish Identity IsInf "
        "IsNaN LeakyRelu Less LessOrEqual Log Max Mean Min Mish Mod Mul Neg Not Or Pow Reciprocal RegexFullMatch Relu "
        "Round Selu Shrink Sigmoid Sign Sin Sinh Softplus Softsign Sqrt StringConcat Sub Sum Swish Tan Tanh "
        "ThresholdedRelu Where Xor"
    )  # fmt: skip
    yield ONNX, element, element_rules.first_input_wise, "CastLike"
    yield ONNX, element, element_rules.parametric, "PRelu"
    yield ONNX, element, element_rules.dropout, "Dropout"
    yield ONNX, element, element_rules.quantized, "QuantizeLinear DequantizeLinear"
    yield MICROSOFT, element, element_rules.quantized, "QuantizeLinear DequantizeLinear"
    yield MICROSOFT, element, element_rules.element_wise, (
        "BiasAdd BiasGelu FastGelu Gelu QuickGelu"
    )  # fmt: skip
    yield MICROSOFT, element, element_rules.first_input_wise, "QLinearLeakyRelu QLinearSigmoid"
    yield MICROSOFT, element, element_rules.quantized_pair, "QLinearAdd QLinearMul"
    yield MICROSOFT, element, element_rules.quantized_where, "QLinearWhere"
    yield ML, element, element_rules.element_wise, "Binarizer CategoryMapper LabelEncoder"

    axes = OperatorKind.ALONG_AXES
    yield ONNX, axes, axis_rules.softmax, "Hardmax LogSoftmax Softmax"
    yield ONNX, axes, axis_rules.along_axis, "LpNormalization"
    yield (
        ONNX,
        axes,
        axis_rules.trailing_axes,
        "LayerNormalization RMSNormalization SimplifiedLayerNormalization",
    )
    yield MICROSOFT, axes, axis_rules.trailing_axes, "LayerNormalization SimplifiedLayerNormalization"
    yield MICROSOFT, axes, axis_rules.quantized_softmax, "QLinearSoftmax"
    yield ONNX, axes, axis_rules.reduction, (
        "ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum "
        "ReduceSumSquare"
    )  # fmt: skip
    yield MICROSOFT, axes, axis_rules.quantized_mean, "QLinearReduceMean"
    yield ONNX, axes, axis_rules.arg_extreme, "ArgMax ArgMin"
    yield ONNX, axes, axis_rules.top_k, "TopK"
    yield ONNX, axes, axis_rules.cumulative, "CumSum"
    yield ONNX, axes, axis_rules.concatenation, "Concat"
    yield MICROSOFT, axes, axis_rules.quantized_concatenation, "QLinearConcat"
    yield ONNX, axes, axis_rules.split, "Split"
    yield ONNX, axes, axis_rules.slices, "Slice"
    yield ONNX, axes, axis_rules.gather, "Gather"
    yield ONNX, axes, axis_rules.gather_elements, "GatherElements"
    yield ONNX, axes, axis_rules.gather_nd, "GatherND"
    yield ONNX, axes, axis_rules.scatter_elements, "ScatterElements"
    yield ONNX, axes, axis_rules.one_hot, "OneHot"
    yield ONNX, axes, axis_rules.reverse_sequence, "ReverseSequence"
    yield ONNX, axes, axis_rules.triangle, "Trilu"
    yield ONNX, axes, image_rules.mean_variance_normalization, "MeanVarianceNormalization"
    yield ONNX, axes, image_rules.spectrum, "DFT"

    product = OperatorKind.CONTRACTION
    yield ONNX, product, contraction_rules.matrix_product, "MatMul"
    yield ONNX, product, contraction_rules.general_product, "Gemm"
    yield ONNX, product, contraction_rules.einsum, "Einsum"
    yield ONNX, product, contraction_rules.integer_matrix_product, "MatMulInteger"
    yield ONNX, product, contraction_rules.quantized_matrix_product, "QLinearMatMul"
    yield MICROSOFT, product, contraction_rules.fused_matrix_product, "FusedMatMul"
    yield MICROSOFT, product, contraction_rules.general_product, "FusedGemm"
    yield MICROSOFT, product, contraction_rules.integer_matrix_product, "MatMulIntegerToFloat"
    yield MICROSOFT, product, contraction_rules.blocked_matrix_product, "MatMulBnb4 MatMulFpQ4 MatMulNBits"
    yield MICROSOFT, product, contraction_rules.quantized_general_product, "QGemm"

    layout = OperatorKind.LAYOUT
    yield ONNX, layout, layout_rules.transpose, "Transpose"
    yield ONNX, layout, layout_rules.reshape, "Reshape"
    yield ONNX, layout, layout_rules.flatten, "Flatten"
    yield ONNX, layout, layout_rules.squeeze, "Squeeze"
    yield ONNX, layout, layout_rules.unsqueeze, "Unsqueeze"
    yield ONNX, layout, layout_rules.expand, "Expand"
    yield ONNX, layout, layout_rules.tile, "Tile"
    yield ONNX, layout, layout_rules.constant_of_shape, "ConstantOfShape"
    yield ONNX, layout, layout_rules.constant, "Constant"
    yield ONNX, layout, layout_rules.positions, "Range"
    yield ONNX, layout, layout_rules.depth_to_space, "DepthToSpace"
    yield ONNX, layout, layout_rules.space_to_depth, "SpaceToDepth"
    yield ONNX, layout, layout_rules.pad, "Pad"
    yield MICROSOFT, layout, layout_rules.pad, "Pad"

    image = OperatorKind.IMAGE
    yield ONNX, image, image_rules.convolution, "Conv"
    yield MICROSOFT, image, image_rules.convolution, "FusedConv"
    yield NCHWC, image, image_rules.convolution, "Conv"
    yield ONNX, image, image_rules.quantized_convolution, "QLinearConv"
    yield MICROSOFT, image, image_rules.quantized_convolution, "QLinearConv"
    yield ONNX, image, image_rules.integer_convolution, "ConvInteger"
    yield ONNX, image, image_rules.transposed_convolution, "ConvTranspose"
    yield ONNX, image, image_rules.pooling, "AveragePool LpPool MaxPool"
    yield MICROSOFT, image, image_rules.pooling, "NhwcMaxPool"
    yield NCHWC, image, image_rules.pooling, "AveragePool MaxPool"
    yield MICROSOFT, image, image_rules.quantized_pooling, "QLinearAveragePool"
    yield ONNX, image, image_rules.global_pooling, "GlobalAveragePool GlobalLpPool GlobalMaxPool"
    yield MICROSOFT, image, image_rules.global_pooling, "QLinearGlobalAveragePool"
    yield NCHWC, image, image_rules.global_pooling, "GlobalAveragePool GlobalMaxPool"
    yield ONNX, image, image_rules.per_image, "GroupNormalization InstanceNormalization LRN"
    yield ONNX, image, image_rules.batch_normalization, "BatchNormalization"
    yield ONNX, image, image_rules.resize, "Resize Upsample"
    yield ONNX, image, image_rules.grid_sample, "GridSample"
    yield MICROSOFT, image, image_rules.grid_sample, "GridSample"
    yield ONNX, image, image_rules.columns_to_image, "Col2Im"
    yield NCHWC, image, image_rules.nchwc_reorder_input, "ReorderInput"
    yield NCHWC, image, image_rules.nchwc_reorder_output, "ReorderOutput"
    yield NCHWC, image, image_rules.nchwc_upsample, "Upsample"

    sequence = OperatorKind.SEQUENCE
    yield ONNX, sequence, sequence_rules.recurrent, "GRU LSTM RNN"
    yield ONNX, sequence, sequence_rules.attention, "Attention"
    yield ONNX, sequence, sequence_rules.rotary_embedding, "RotaryEmbedding"
    yield ONNX, sequence, image_rules.short_time_spectrum, "STFT"
    yield MICROSOFT, sequence, sequence_rules.packed_attention, "Attention"
    yield MICROSOFT, sequence, sequence_rules.multi_head_attention, "MultiHeadAttention"
    yield MICROSOFT, sequence, sequence_rules.grouped_attention, "GroupQueryAttention"
    yield MICROSOFT, sequence, sequence_rules.rotary_embedding, "RotaryEmbedding"
    yield MICROSOFT, sequence, sequence_rules.skip_normalization, (
        "SkipLayerNormalization SkipSimplifiedLayerNormalization"
    )  # fmt: skip
    yield MICROSOFT, sequence, sequence_rules.embedding_normalization, "EmbedLayerNormalization"
    yield MICROSOFT, sequence, sequence_rules.quantized_embedding_normalization, "QEmbedLayerNormalization"
    yield MICROSOFT, sequence, sequence_rules.gated_normalization, "BiasSplitGelu"
    yield ONNX, sequence, sequence_rules.none_at_all, (
        "BlackmanWindow HammingWindow HannWindow MelWeightMatrix"
    )  # fmt: skip

    features = OperatorKind.FEATURES
    yield ML, features, feature_rules.features_wise, "Imputer Normalizer Scaler"
    yield ML, features, feature_rules.classifier, "LinearClassifier SVMClassifier TreeEnsembleClassifier"
    yield (
        ML,
        features,
        feature_rules.regressor,
        "LinearRegressor SVMRegressor TreeEnsemble TreeEnsembleRegressor",
    )
    yield ML, features, feature_rules.feature_selection, "ArrayFeatureExtractor"
    yield ML, features, feature_rules.categories, "OneHotEncoder"
    yield ML, features, axis_rules.feature_concatenation, "FeatureVectorizer"
    yield ONNX, features, feature_rules.vectorizer, "TfIdfVectorizer"

    mixing = OperatorKind.MIXING
    one_scale = partial(_mixing, "takes one scale for all rows")
    yield ONNX, mixing, one_scale, "DynamicQuantizeLinear"
    yield MICROSOFT, mixing, one_scale, "DynamicQuantizeLSTM DynamicQuantizeMatMul QAttention"
    random = partial(_mixing, "is random")
    yield (
        ONNX,
        mixing,
        random,
        "Bernoulli Multinomial RandomNormal RandomNormalLike RandomUniform RandomUniformLike",
    )
    yield (
        ONNX,
        mixing,
        partial(_mixing, "selects among all rows"),
        "Compress NonMaxSuppression NonZero Unique",
    )
    yield ONNX, mixing, partial(_mixing, "addresses rows by index"), "MaxRoiPool RoiAlign ScatterND"
    yield (
        ONNX,
        mixing,
        partial(_mixing, "sums over all rows"),
        "NegativeLogLikelihoodLoss SoftmaxCrossEntropyLoss",
    )
    yield MICROSOFT, mixing, partial(_mixing, "sums over all rows"), "IsAllFinite"
    yield ONNX, mixing, partial(_mixing, "numbers positions across rows"), "EyeLike"


OPERATORS: dict[tuple[str, str], OperatorRule] = {
    (domain, name): OperatorRule(domain, name, kind, rule)
    for domain, kind, rule, names in _entries()
    for name in names.split()
}
"""Rules by domain and name. An operator that is not here ends a proof. If, Loop and Scan are analysed by `subgraphs`."""

RANDOM = frozenset(
    {"Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"}
)
"""Operators whose outputs are never shared, although no input has rows."""
