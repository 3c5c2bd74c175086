"""Buffers that outputs are computed in, so that they need not be copied to where they are read."""

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
"""Smaller outputs are copied: that costs less than binding a buffer."""


@dataclass(frozen=True, slots=True)
class OutputBuffer:
    """The buffer of one output for one run.

    Attributes:
        name: Name of the output.
        datatype: Its datatype.
        shape: Its predicted shape; the run fails if the output has another.
        memory: Writable memory of exactly its size.
        address: Address of the first byte.
    """

    name: str
    datatype: Datatype
    shape: tuple[int, ...]
    memory: memoryview
    address: int

    def bind(self, binding: onnxruntime.IOBinding) -> None:
        """Binds the output to this buffer, which must be kept alive until the run ends."""
        code = ELEMENT_TYPE_OF[self.datatype]
        binding.bind_output(self.name, "cpu", 0, code, self.shape, self.address)

    def tensor(self, value: onnxruntime.OrtValue) -> Tensor | None:
        """Returns the output as a view of this buffer; None where ONNX Runtime allocated it elsewhere."""
        if value.data_ptr() != self.address or tuple(value.shape()) != self.shape:
            return None
        return Tensor(self.name, self.datatype, self.shape, self.memory.toreadonly())


class OutputBuffers:
    """Allocates buffers for outputs whose shapes can be predicted. Thread-safe.

    Args:
        datatypes: Datatypes of the outputs, by name.
    """

    def __init__(self, datatypes: Mapping[str, Datatype]) -> None:
        self._datatypes = {name: kind for name, kind in datatypes.items() if has_rows(kind)}
        self._shapes = OutputShapes()
        self._enabled = True

    def allocate(
        self, input_shapes: Hashable, wanted: Iterable[str], allocator: Allocate
    ) -> dict[str, OutputBuffer]:
        """Returns buffers by output name, for large outputs with a predicted shape for which memory was available.

        Args:
            input_shapes: Shapes of the inputs.
            wanted: Names of the outputs to compute.
            allocator: Returns writable memory of a given size, or None.
        """
        shapes = self._shapes.predict(input_shapes) if self._enabled else {}
        buffers = {}
        for name in wanted:
            if (shape := shapes.get(name)) is not None:
                datatype = self._datatypes[name]
                memory = allocator(math.prod(shape) * datatype.bits // 8)
                if memory is not None:
                    address = np.frombuffer(memory, np.uint8).ctypes.data
                    buffers[name] = OutputBuffer(name, datatype, shape, memory, address)
        return buffers

    def observe(self, input_shapes: Hashable, outputs: Mapping[str, Tensor]) -> None:
        """Records the outputs of a run, for later predictions."""
        large = {
            name: tensor.shape
            for name, tensor in outputs.items()
            if tensor.byte_size >= MIN_BOUND_BYTES and name in self._datatypes
        }
        if large:
            self._shapes.observe(input_shapes, large)

    def handle_refusal(self, buffers: Mapping[str, OutputBuffer], outputs: Mapping[str, Tensor]) -> None:
        """Handles a run that failed with these buffers and succeeded without them.

        An output of another shape than predicted explains the failure. Otherwise the model or its device cannot write
        to bound buffers, and none is allocated any more.
        """
        self._enabled = any(outputs[name].shape != buffer.shape for name, buffer in buffers.items())
