"""The table of operators: for each one the rule that says where its outputs have their rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from functools import partial

from onnxmesh.graph.rows.node_view import NodeView, RowsMeet
from onnxmesh.graph.rows.row_state import RowValue
from onnxmesh.graph.rows.rules import (
    contraction_rules,
    element_rules,
    feature_rules,
    image_rules,
    layout_rules,
    reduction_rules,
    selection_rules,
    sequence_rules,
    slice_rules,
)

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


_TABLE: tuple[tuple[str, OperatorKind, Rule, str], ...] = (
    (
        ONNX,
        OperatorKind.ELEMENT_WISE,
        element_rules.element_wise,
        (
            "Abs Acos Acosh Add And Asin Asinh Atan Atanh BitShift BitwiseAnd BitwiseNot BitwiseOr "
            "BitwiseXor Cast Ceil Celu Clip Cos Cosh Div Elu Equal Erf Exp Floor Gelu Greater GreaterOrEqual "
            "HardSigmoid HardSwish Identity IsInf IsNaN LeakyRelu Less LessOrEqual Log Max Mean Min Mish Mod "
            "Mul Neg Not Or Pow Reciprocal RegexFullMatch Relu Round Selu Shrink Sigmoid Sign Sin Sinh "
            "Softplus Softsign Sqrt StringConcat Sub Sum Swish Tan Tanh ThresholdedRelu Where Xor"
        ),
    ),
    (ONNX, OperatorKind.ELEMENT_WISE, element_rules.first_input_wise, "CastLike"),
    (ONNX, OperatorKind.ELEMENT_WISE, element_rules.parametric, "PRelu"),
    (ONNX, OperatorKind.ELEMENT_WISE, element_rules.dropout, "Dropout"),
    (ONNX, OperatorKind.ELEMENT_WISE, element_rules.quantized, "QuantizeLinear DequantizeLinear"),
    (MICROSOFT, OperatorKind.ELEMENT_WISE, element_rules.quantized, "QuantizeLinear DequantizeLinear"),
    (
        MICROSOFT,
        OperatorKind.ELEMENT_WISE,
        element_rules.element_wise,
        "BiasAdd BiasGelu FastGelu Gelu QuickGelu",
    ),
    (MICROSOFT, OperatorKind.ELEMENT_WISE, element_rules.first_input_wise, "QLinearLeakyRelu QLinearSigmoid"),
    (MICROSOFT, OperatorKind.ELEMENT_WISE, element_rules.quantized_pair, "QLinearAdd QLinearMul"),
    (MICROSOFT, OperatorKind.ELEMENT_WISE, element_rules.quantized_where, "QLinearWhere"),
    (ML, OperatorKind.ELEMENT_WISE, element_rules.element_wise, "Binarizer CategoryMapper LabelEncoder"),
    (ONNX, OperatorKind.ALONG_AXES, reduction_rules.softmax, "Hardmax LogSoftmax Softmax"),
    (ONNX, OperatorKind.ALONG_AXES, reduction_rules.along_axis, "LpNormalization"),
    (
        ONNX,
        OperatorKind.ALONG_AXES,
        reduction_rules.trailing_axes,
        "LayerNormalization RMSNormalization SimplifiedLayerNormalization",
    ),
    (
        MICROSOFT,
        OperatorKind.ALONG_AXES,
        reduction_rules.trailing_axes,
        "LayerNormalization SimplifiedLayerNormalization",
    ),
    (MICROSOFT, OperatorKind.ALONG_AXES, reduction_rules.quantized_softmax, "QLinearSoftmax"),
    (
        ONNX,
        OperatorKind.ALONG_AXES,
        reduction_rules.reduction,
        (
            "ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd "
            "ReduceSum ReduceSumSquare"
        ),
    ),
    (MICROSOFT, OperatorKind.ALONG_AXES, reduction_rules.quantized_mean, "QLinearReduceMean"),
    (ONNX, OperatorKind.ALONG_AXES, reduction_rules.arg_extreme, "ArgMax ArgMin"),
    (ONNX, OperatorKind.ALONG_AXES, reduction_rules.top_k, "TopK"),
    (ONNX, OperatorKind.ALONG_AXES, reduction_rules.cumulative, "CumSum"),
    (ONNX, OperatorKind.ALONG_AXES, slice_rules.concatenation, "Concat"),
    (MICROSOFT, OperatorKind.ALONG_AXES, slice_rules.quantized_concatenation, "QLinearConcat"),
    (ONNX, OperatorKind.ALONG_AXES, slice_rules.split_parts, "Split"),
    (ONNX, OperatorKind.ALONG_AXES, slice_rules.slices, "Slice"),
    (ONNX, OperatorKind.ALONG_AXES, selection_rules.gather, "Gather"),
    (ONNX, OperatorKind.ALONG_AXES, selection_rules.gather_elements, "GatherElements"),
    (ONNX, OperatorKind.ALONG_AXES, selection_rules.gather_nd, "GatherND"),
    (ONNX, OperatorKind.ALONG_AXES, selection_rules.scatter_elements, "ScatterElements"),
    (ONNX, OperatorKind.ALONG_AXES, selection_rules.one_hot, "OneHot"),
    (ONNX, OperatorKind.ALONG_AXES, selection_rules.reverse_sequence, "ReverseSequence"),
    (ONNX, OperatorKind.ALONG_AXES, selection_rules.triangle, "Trilu"),
    (ONNX, OperatorKind.ALONG_AXES, image_rules.mean_variance_normalization, "MeanVarianceNormalization"),
    (ONNX, OperatorKind.ALONG_AXES, image_rules.spectrum, "DFT"),
    (ONNX, OperatorKind.CONTRACTION, contraction_rules.matrix_product, "MatMul"),
    (ONNX, OperatorKind.CONTRACTION, contraction_rules.general_product, "Gemm"),
    (ONNX, OperatorKind.CONTRACTION, contraction_rules.einsum, "Einsum"),
    (ONNX, OperatorKind.CONTRACTION, contraction_rules.integer_matrix_product, "MatMulInteger"),
    (ONNX, OperatorKind.CONTRACTION, contraction_rules.quantized_matrix_product, "QLinearMatMul"),
    (MICROSOFT, OperatorKind.CONTRACTION, contraction_rules.fused_matrix_product, "FusedMatMul"),
    (MICROSOFT, OperatorKind.CONTRACTION, contraction_rules.general_product, "FusedGemm"),
    (MICROSOFT, OperatorKind.CONTRACTION, contraction_rules.integer_matrix_product, "MatMulIntegerToFloat"),
    (
        MICROSOFT,
        OperatorKind.CONTRACTION,
        contraction_rules.blocked_matrix_product,
        "MatMulBnb4 MatMulFpQ4 MatMulNBits",
    ),
    (MICROSOFT, OperatorKind.CONTRACTION, contraction_rules.quantized_general_product, "QGemm"),
    (ONNX, OperatorKind.LAYOUT, layout_rules.transpose, "Transpose"),
    (ONNX, OperatorKind.LAYOUT, layout_rules.reshape, "Reshape"),
    (ONNX, OperatorKind.LAYOUT, layout_rules.flatten, "Flatten"),
    (ONNX, OperatorKind.LAYOUT, layout_rules.squeeze, "Squeeze"),
    (ONNX, OperatorKind.LAYOUT, layout_rules.unsqueeze, "Unsqueeze"),
    (ONNX, OperatorKind.LAYOUT, layout_rules.expand, "Expand"),
    (ONNX, OperatorKind.LAYOUT, layout_rules.tile, "Tile"),
    (ONNX, OperatorKind.LAYOUT, layout_rules.constant_of_shape, "ConstantOfShape"),
    (ONNX, OperatorKind.LAYOUT, layout_rules.constant, "Constant"),
    (ONNX, OperatorKind.LAYOUT, layout_rules.positions, "Range"),
    (ONNX, OperatorKind.LAYOUT, layout_rules.optional_value, "Optional OptionalGetElement"),
    (ONNX, OperatorKind.LAYOUT, layout_rules.has_value, "OptionalHasElement"),
    (ONNX, OperatorKind.LAYOUT, layout_rules.depth_to_space, "DepthToSpace"),
    (ONNX, OperatorKind.LAYOUT, layout_rules.space_to_depth, "SpaceToDepth"),
    (ONNX, OperatorKind.LAYOUT, layout_rules.pad, "Pad"),
    (MICROSOFT, OperatorKind.LAYOUT, layout_rules.pad, "Pad"),
    (ONNX, OperatorKind.IMAGE, image_rules.convolution, "Conv"),
    (MICROSOFT, OperatorKind.IMAGE, image_rules.convolution, "FusedConv"),
    (NCHWC, OperatorKind.IMAGE, image_rules.convolution, "Conv"),
    (ONNX, OperatorKind.IMAGE, image_rules.quantized_convolution, "QLinearConv"),
    (MICROSOFT, OperatorKind.IMAGE, image_rules.quantized_convolution, "QLinearConv"),
    (ONNX, OperatorKind.IMAGE, image_rules.integer_convolution, "ConvInteger"),
    (ONNX, OperatorKind.IMAGE, image_rules.transposed_convolution, "ConvTranspose"),
    (ONNX, OperatorKind.IMAGE, image_rules.pooling, "AveragePool LpPool MaxPool"),
    (MICROSOFT, OperatorKind.IMAGE, image_rules.pooling, "NhwcMaxPool"),
    (NCHWC, OperatorKind.IMAGE, image_rules.pooling, "AveragePool MaxPool"),
    (MICROSOFT, OperatorKind.IMAGE, image_rules.quantized_pooling, "QLinearAveragePool"),
    (ONNX, OperatorKind.IMAGE, image_rules.global_pooling, "GlobalAveragePool GlobalLpPool GlobalMaxPool"),
    (MICROSOFT, OperatorKind.IMAGE, image_rules.global_pooling, "QLinearGlobalAveragePool"),
    (NCHWC, OperatorKind.IMAGE, image_rules.global_pooling, "GlobalAveragePool GlobalMaxPool"),
    (ONNX, OperatorKind.IMAGE, image_rules.per_image, "GroupNormalization InstanceNormalization LRN"),
    (ONNX, OperatorKind.IMAGE, image_rules.batch_normalization, "BatchNormalization"),
    (ONNX, OperatorKind.IMAGE, image_rules.resize, "Resize Upsample"),
    (ONNX, OperatorKind.IMAGE, image_rules.grid_sample, "GridSample"),
    (MICROSOFT, OperatorKind.IMAGE, image_rules.grid_sample, "GridSample"),
    (ONNX, OperatorKind.IMAGE, image_rules.columns_to_image, "Col2Im"),
    (NCHWC, OperatorKind.IMAGE, image_rules.nchwc_reorder_input, "ReorderInput"),
    (NCHWC, OperatorKind.IMAGE, image_rules.nchwc_reorder_output, "ReorderOutput"),
    (NCHWC, OperatorKind.IMAGE, image_rules.nchwc_upsample, "Upsample"),
    (ONNX, OperatorKind.SEQUENCE, sequence_rules.recurrent, "GRU LSTM RNN"),
    (ONNX, OperatorKind.SEQUENCE, sequence_rules.attention, "Attention"),
    (ONNX, OperatorKind.SEQUENCE, sequence_rules.rotary_embedding, "RotaryEmbedding"),
    (ONNX, OperatorKind.SEQUENCE, image_rules.short_time_spectrum, "STFT"),
    (MICROSOFT, OperatorKind.SEQUENCE, sequence_rules.packed_attention, "Attention"),
    (MICROSOFT, OperatorKind.SEQUENCE, sequence_rules.multi_head_attention, "MultiHeadAttention"),
    (MICROSOFT, OperatorKind.SEQUENCE, sequence_rules.grouped_attention, "GroupQueryAttention"),
    (MICROSOFT, OperatorKind.SEQUENCE, sequence_rules.rotary_embedding, "RotaryEmbedding"),
    (
        MICROSOFT,
        OperatorKind.SEQUENCE,
        sequence_rules.skip_normalization,
        "SkipLayerNormalization SkipSimplifiedLayerNormalization",
    ),
    (MICROSOFT, OperatorKind.SEQUENCE, sequence_rules.embedding_normalization, "EmbedLayerNormalization"),
    (
        MICROSOFT,
        OperatorKind.SEQUENCE,
        sequence_rules.quantized_embedding_normalization,
        "QEmbedLayerNormalization",
    ),
    (MICROSOFT, OperatorKind.SEQUENCE, sequence_rules.gated_normalization, "BiasSplitGelu"),
    (
        ONNX,
        OperatorKind.SEQUENCE,
        sequence_rules.none_at_all,
        "BlackmanWindow HammingWindow HannWindow MelWeightMatrix",
    ),
    (ML, OperatorKind.FEATURES, feature_rules.features_wise, "Imputer Normalizer Scaler"),
    (
        ML,
        OperatorKind.FEATURES,
        feature_rules.classifier,
        "LinearClassifier SVMClassifier TreeEnsembleClassifier",
    ),
    (
        ML,
        OperatorKind.FEATURES,
        feature_rules.regressor,
        "LinearRegressor SVMRegressor TreeEnsemble TreeEnsembleRegressor",
    ),
    (ML, OperatorKind.FEATURES, feature_rules.feature_selection, "ArrayFeatureExtractor"),
    (ML, OperatorKind.FEATURES, feature_rules.categories, "OneHotEncoder"),
    (ML, OperatorKind.FEATURES, slice_rules.feature_concatenation, "FeatureVectorizer"),
    (ONNX, OperatorKind.FEATURES, feature_rules.vectorizer, "TfIdfVectorizer"),
    (ONNX, OperatorKind.MIXING, partial(_mixing, "takes one scale for all rows"), "DynamicQuantizeLinear"),
    (
        MICROSOFT,
        OperatorKind.MIXING,
        partial(_mixing, "takes one scale for all rows"),
        "DynamicQuantizeLSTM DynamicQuantizeMatMul QAttention",
    ),
    (
        ONNX,
        OperatorKind.MIXING,
        partial(_mixing, "is random"),
        "Bernoulli Multinomial RandomNormal RandomNormalLike RandomUniform RandomUniformLike",
    ),
    (
        ONNX,
        OperatorKind.MIXING,
        partial(_mixing, "selects among all rows"),
        "Compress NonMaxSuppression NonZero Unique",
    ),
    (ONNX, OperatorKind.MIXING, partial(_mixing, "addresses rows by index"), "MaxRoiPool RoiAlign ScatterND"),
    (
        ONNX,
        OperatorKind.MIXING,
        partial(_mixing, "sums over all rows"),
        "NegativeLogLikelihoodLoss SoftmaxCrossEntropyLoss",
    ),
    (MICROSOFT, OperatorKind.MIXING, partial(_mixing, "sums over all rows"), "IsAllFinite"),
    (ONNX, OperatorKind.MIXING, partial(_mixing, "numbers positions across rows"), "EyeLike"),
)
"""Domain, kind, rule, and the names of the operators that follow it."""

OPERATORS: dict[tuple[str, str], OperatorRule] = {
    (domain, name): OperatorRule(domain, name, kind, rule)
    for domain, kind, rule, names in _TABLE
    for name in names.split()
}
"""Rules by domain and name. An operator that is not here ends a proof. If, Loop and Scan are analysed by `subgraphs`."""

RANDOM = frozenset(
    {"Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"}
)
"""Operators whose outputs differ from run to run, although no input has rows."""
