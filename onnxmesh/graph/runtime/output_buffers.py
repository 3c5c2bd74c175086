"""Outputs of a model that are computed where they are to be read."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import onnxruntime

from onnxmesh.graph.runtime.element_types import ELEMENT_TYPE_OF
from onnxmesh.graph.runtime.output_shapes import OutputShapes
from onnxmesh.tensors.allocation import Allocate
from onnxmesh.tensors.datatype import Datatype
from onnxmesh.tensors.rows import has_rows
from onnxmesh.tensors.tensor import Tensor

MIN_BOUND_BYTES = 128 << 10
"""Smaller outputs are copied once more: that costs less than binding them."""


@dataclass(frozen=True, slots=True)
class OutputBuffer:
    """A place for an output, for one run.

    Attributes:
        name: Of the output.
        datatype: Its type.
        shape: The shape that it is thought to have; ONNX Runtime fails if it has another.
        buffer: Exactly as many bytes.
        address: Where they begin.
    """

    name: str
    datatype: Datatype
    shape: tuple[int, ...]
    buffer: memoryview
    address: int

    def bind(self, binding: onnxruntime.IOBinding) -> None:
        """Has the output computed here; the buffer must be kept until it is."""
        code = ELEMENT_TYPE_OF[self.datatype]
        binding.bind_output(self.name, "cpu", 0, code, self.shape, self.address)

    def tensor(self, value: onnxruntime.OrtValue) -> Tensor | None:
        """Returns the output, which keeps the buffer; None where ONNX Runtime put it elsewhere after all."""
        if value.data_ptr() != self.address or tuple(value.shape()) != self.shape:
            return None
        return Tensor(self.name, self.datatype, self.shape, self.buffer.toreadonly())


class OutputBuffers:
    """Finds buffers for outputs whose shapes can be foretold. Several threads may use it at once.

    Args:
        datatypes: Types of the outputs.
    """

    def __init__(self, datatypes: Mapping[str, Datatype]) -> None:
        self._datatypes = {name: kind for name, kind in datatypes.items() if has_rows(kind)}
        self._shapes = OutputShapes()
        self._in_use = True

    def find(self, form: Hashable, wanted: Iterable[str], allocator: Allocate) -> dict[str, OutputBuffer]:
        """Returns a buffer for each output that is worth it and has one, by name.

        Args:
            form: Shapes of the inputs.
            wanted: Outputs that are to be computed.
            allocator: Where buffers come from.
        """
        shapes = self._shapes.predict(form) if self._in_use else {}
        buffers = {}
        for name in wanted:
            if (shape := shapes.get(name)) is not None:
                datatype = self._datatypes[name]
                buffer = allocator(math.prod(shape) * datatype.bits // 8)
                if buffer is not None:
                    address = np.frombuffer(buffer, np.uint8).ctypes.data
                    buffers[name] = OutputBuffer(name, datatype, shape, buffer, address)
        return buffers

    def observe(self, form: Hashable, outputs: Mapping[str, Tensor]) -> None:
        """Takes what came of a run."""
        large = {
            name: tensor.shape
            for name, tensor in outputs.items()
            if tensor.byte_size >= MIN_BOUND_BYTES and name in self._datatypes
        }
        if large:
            self._shapes.observe(form, large)

    def handle_refusal(self, buffers: Mapping[str, OutputBuffer], outputs: Mapping[str, Tensor]) -> None:
        """Takes that a run failed with these buffers, and gave these outputs without.

        One that has another shape than was foretold explains that; if none has, no more buffers are found: this model or its device
        does not take them.
        """
        self._in_use = any(outputs[name].shape != buffer.shape for name, buffer in buffers.items())
