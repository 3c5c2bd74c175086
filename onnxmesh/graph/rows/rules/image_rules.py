"""Rules of convolution, pooling, resampling and normalisation: row-wise where axis 0 holds the rows."""

from __future__ import annotations

import math
from collections.abc import Sequence

from onnxmesh.graph.rows.node_view import NodeView, NotProven, RowsMeet, result
from onnxmesh.graph.rows.row_state import RowValue
from onnxmesh.graph.rows.sizes import Dim, Size, counts_rows, floor_divide, unknown_size


def _images(view: NodeView, *others: int) -> tuple[Dim, ...]:
    """Returns the shape of input 0, one image a row; `others` may be images too, all further inputs are shared."""
    shape = view.shape(0)
    if view.rows(0) is not None:
        view.require_first_axis(0)
    for index in range(1, len(view.inputs)):
        if index not in others:
            view.require_shared(index)
        elif view.has(index) and view.rows(index) != view.rows(0):
            raise NotProven(f"its input {index} has other rows than its input 0")
    return shape


def convolution(view: NodeView) -> list[RowValue]:
    """Conv, with a fused addend as input 3."""
    fused = view.node.op_type == "FusedConv" or view.node.domain == "com.microsoft.nchwc"
    shape = _images(view, *([3] if fused else []))
    return [result(view.rows(0), _convolved(view, shape, view.shape(1)))]


def quantized_convolution(view: NodeView) -> list[RowValue]:
    """QLinearConv: image, scale, zero point; weight, scale, zero point; those of the output; bias."""
    shape = _images(view)
    _require_scalars(view, 1, 2)
    weight = view.shape(3)
    if view.int_attribute("channels_last", 0):
        first = [shape[0], shape[-1], *shape[1:-1]]
        batch, channels, *spatial = _convolved(view, first, weight)
        return [result(view.rows(0), [batch, *spatial, channels])]
    return [result(view.rows(0), _convolved(view, shape, weight))]


def integer_convolution(view: NodeView) -> list[RowValue]:
    """ConvInteger: image, weight, shared zero points."""
    shape = _images(view)
    _require_scalars(view, 2)
    return [result(view.rows(0), _convolved(view, shape, view.shape(1)))]


def _require_scalars(view: NodeView, *indices: int) -> None:
    for index in indices:
        if view.has(index) and view.input(index).shape not in ((), (1,)):
            raise NotProven(f"its input {index} is not one number")


def transposed_convolution(view: NodeView) -> list[RowValue]:
    """ConvTranspose."""
    shape, weight = _images(view), view.shape(1)
    channels = weight[1] * view.int_attribute("group", 1)
    return [result(view.rows(0), [shape[0], channels, *(unknown_size() for _ in shape[2:])])]


def _convolved(view: NodeView, shape: Sequence[Dim], weight: Sequence[Dim]) -> list[Dim]:
    kernel: Sequence[Dim] = view.ints_attribute("kernel_shape") or weight[2:]
    sizes = [size for size in kernel if isinstance(size, int)]
    if len(sizes) != len(shape) - 2:
        return [shape[0], weight[0], *(unknown_size() for _ in shape[2:])]
    return [shape[0], weight[0], *_windows(view, shape[2:], sizes)]


def pooling(view: NodeView) -> list[RowValue]:
    """Pools over windows of each image; MaxPool has indices as a second output."""
    shape = _images(view)
    if view.has_output(1) and view.rows(0) is not None:
        raise RowsMeet("has indices that count over the whole tensor")
    kernel = view.ints_attribute("kernel_shape")
    if view.node.op_type.startswith("Nhwc") or view.int_attribute("channels_last", 0):
        batch, *spatial, channels = shape
        return [result(view.rows(0), [batch, *_windows(view, spatial, kernel), channels])]
    return [result(view.rows(0), [*shape[:2], *_windows(view, shape[2:], kernel)])] * view.num_outputs


def _windows(view: NodeView, spatial: Sequence[Dim], kernel: Sequence[int]) -> list[Dim]:
    strides = view.ints_attribute("strides") or (1,) * len(kernel)
    dilations = view.ints_attribute("dilations") or (1,) * len(kernel)
    pads = view.ints_attribute("pads") or (0,) * (2 * len(kernel))
    auto = view.text_attribute("auto_pad", "NOTSET")
    found: list[Dim] = []
    for axis, size in enumerate(spatial):
        window = dilations[axis] * (kernel[axis] - 1) + 1
        if auto in {"SAME_UPPER", "SAME_LOWER"}:
            found.append(floor_divide(size + (strides[axis] - 1), strides[axis]))
            continue
        padded = size if auto == "VALID" else size + pads[axis] + pads[axis + len(kernel)]
        if view.int_attribute("ceil_mode", 0):
            # Windows that would begin in the padding at the end are left out, by rules of the operator set.
            exact = strides[axis] == 1
            found.append(padded - window + 1 if exact else unknown_size())
            continue
        found.append(floor_divide(padded - window, strides[axis]) + 1)
    return found


def global_pooling(view: NodeView) -> list[RowValue]:
    """Pools over whole images."""
    shape = _images(view)
    if view.int_attribute("channels_last", 0):
        return [result(view.rows(0), [shape[0], *[1] * (len(shape) - 2), shape[-1]])]
    return [result(view.rows(0), [*shape[:2], *[1] * (len(shape) - 2)])]


def quantized_pooling(view: NodeView) -> list[RowValue]:
    """QLinearAveragePool."""
    _require_scalars(view, 1, 2)
    return pooling(view)


def per_image(view: NodeView) -> list[RowValue]:
    """Normalisation of each image with shared parameters; the shape stays."""
    return [result(view.rows(0), _images(view))] * view.num_outputs


def batch_normalization(view: NodeView) -> list[RowValue]:
    """BatchNormalization with the statistics of training as parameters."""
    trains = view.int_attribute("training_mode", 0) or (
        view.version < 7 and not view.int_attribute("is_test", 0)
    )
    if view.rows(0) is not None and (trains or any(view.has_output(index) for index in range(1, 5))):
        raise RowsMeet("normalises by the statistics of the batch: it is in training mode")
    return per_image(view)


def mean_variance_normalization(view: NodeView) -> list[RowValue]:
    """Normalisation over axes, by default over the first one too."""
    shape, rows = view.shape(0), view.rows(0)
    axes = {view.axis(axis, len(shape)) for axis in view.ints_attribute("axes") or (0, 2, 3)}
    if rows is not None and rows.axis in axes:
        raise RowsMeet(f"normalises over axis {rows.axis}, which holds the rows")
    return [result(rows, shape)]


def resize(view: NodeView) -> list[RowValue]:
    """Resampling of axes that do not hold the rows."""
    shape, rows = list(view.shape(0)), view.rows(0)
    if view.text_attribute("coordinate_transformation_mode") == "tf_crop_and_resize":
        raise NotProven("it crops by a region")
    if view.text_attribute("keep_aspect_ratio_policy", "stretch") != "stretch":
        raise NotProven("its scales depend on several axes")
    axes = [view.axis(axis, len(shape)) for axis in view.ints_attribute("axes")] or list(range(len(shape)))
    sizes = _resized(view, [shape[axis] for axis in axes])
    for axis, size in zip(axes, sizes, strict=True):
        if rows is not None and axis == rows.axis and size != shape[axis]:
            raise RowsMeet(f"resamples axis {axis}, which holds the rows")
        if counts_rows(size) and size != shape[axis]:
            raise RowsMeet("has sizes that depend on the number of rows")
        shape[axis] = size
    return [result(rows, shape)]


def _resized(view: NodeView, before: Sequence[Dim]) -> Sequence[Dim]:
    """Returns the new sizes of the axes that Resize or Upsample resamples."""
    is_new = view.version >= 11 and view.node.op_type != "Upsample"
    if is_new and view.has(3):
        sizes = view.contents(3)
        if len(sizes) != len(before):
            raise NotProven("its sizes are not one for each axis")
        return sizes
    scales: Sequence[Dim | float]
    if view.has(2 if is_new else 1):
        scales = view.contents(2 if is_new else 1)
    else:
        attribute = view.node.attributes.get("scales")
        scales = () if attribute is None else tuple(attribute.as_floats())
    if len(scales) != len(before):
        raise NotProven("its scales are not known")
    return [_scaled(size, scale) for size, scale in zip(before, scales, strict=True)]


def _scaled(size: Dim, scale: Dim | float) -> Dim:
    if scale == 1:
        return size
    if isinstance(scale, Size):
        return unknown_size(counts_rows=scale.counts_rows)
    if isinstance(size, int):
        return math.floor(size * scale)
    return size * int(scale) if float(scale).is_integer() else unknown_size(counts_rows=size.counts_rows)


def grid_sample(view: NodeView) -> list[RowValue]:
    """Samples of each image at the positions of its grid."""
    image, grid = view.shape(0), view.shape(1)
    if view.rows(0) is not None or view.rows(1) is not None:
        view.require_first_axis(0, 1)
        if view.rows(0) != view.rows(1):
            raise RowsMeet("samples images by grids of other rows")
    return [result(view.rows(0), [image[0], image[1], *grid[1:-1]])]


def columns_to_image(view: NodeView) -> list[RowValue]:
    """Col2Im."""
    view.require_shared(1, 2)
    _images(view)
    sizes = view.input(1).shape
    if sizes is None or len(sizes) != 1 or not isinstance(sizes[0], int):
        raise NotProven("the rank of its image is not known")
    spatial = [unknown_size() for _ in range(sizes[0])]
    return [result(view.rows(0), [view.shape(0)[0], unknown_size(), *spatial])]


def nchwc_reorder_input(view: NodeView) -> list[RowValue]:
    """Images to blocks of channels."""
    shape = _images(view)
    if view.int_attribute("channels_last", 0):
        shape = (shape[0], shape[-1], *shape[1:-1])
    return [result(view.rows(0), [shape[0], unknown_size(), *shape[2:]])]


def nchwc_reorder_output(view: NodeView) -> list[RowValue]:
    """Images from blocks of channels."""
    shape = _images(view)
    channels: Dim = view.int_attribute("channels", 0) or unknown_size()
    if view.int_attribute("channels_last", 0):
        return [result(view.rows(0), [shape[0], *shape[2:], channels])]
    return [result(view.rows(0), [shape[0], channels, *shape[2:]])]


def nchwc_upsample(view: NodeView) -> list[RowValue]:
    """Upsampling of images in blocks of channels by whole scales."""
    shape, scales = _images(view), view.ints_attribute("scales")
    if len(scales) != len(shape) or scales[:2] != (1, 1):
        raise NotProven("it has scales for rows or channels")
    return [result(view.rows(0), [dim * scale for dim, scale in zip(shape, scales, strict=True)])]


def spectrum(view: NodeView) -> list[RowValue]:
    """DFT along an axis of the signal."""
    shape, rows = view.shape(0), view.rows(0)
    view.require_shared(1, 2)
    of_input = view.constants(2)[0] if view.has(2) else -2
    axis = of_input if view.version >= 20 else view.int_attribute("axis", 1)
    axis = view.axis(axis, len(shape))
    if rows is not None and rows.axis in (axis, len(shape) - 1):
        raise RowsMeet(f"works along axis {rows.axis}, which holds the rows")
    onesided = view.int_attribute("onesided", 0)
    size = shape[axis] if not view.has(1) and not onesided else unknown_size()
    return [result(rows, [*shape[:axis], size, *shape[axis + 1 : -1], unknown_size()])]


def short_time_spectrum(view: NodeView) -> list[RowValue]:
    """STFT of each signal of a batch."""
    view.require_shared(1, 2, 3)
    shape = view.shape(0)
    if view.rows(0) is not None:
        view.require_first_axis(0)
    return [result(view.rows(0), [shape[0], unknown_size(), unknown_size(), 2])]
