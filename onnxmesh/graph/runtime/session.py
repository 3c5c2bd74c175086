"""A loaded partition as an ONNX Runtime session."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import onnxruntime

from onnxmesh.device.execution_provider import CPU
from onnxmesh.errors import InvalidModel, InvalidRequest, ModelRunFailed, Unsatisfiable
from onnxmesh.graph.runtime.arena_shrinkage import ArenaShrinkage
from onnxmesh.graph.runtime.element_types import ELEMENT_TYPE_OF, datatype_of_runtime_type
from onnxmesh.graph.runtime.output_buffers import MIN_BOUND_BYTES, OutputBuffer, OutputBuffers
from onnxmesh.graph.runtime.runtime_errors import error_reason
from onnxmesh.graph.runtime.runtime_values import from_runtime, on_device, to_runtime
from onnxmesh.graph.runtime.string_values import from_text, to_text
from onnxmesh.model.optimisation_level import OptimisationLevel
from onnxmesh.model.tensor_spec import TensorSpec
from onnxmesh.tensors.allocation import Allocate, Staging
from onnxmesh.tensors.arrays import from_array
from onnxmesh.tensors.datatype import NUMPY, Datatype
from onnxmesh.tensors.device_tensor import DeviceTensor
from onnxmesh.tensors.tensor import Tensor

_FATAL = 4

MIN_STAGED_BYTES = 64 << 10
"""Smaller inputs are copied to a device equally fast from unpinned memory."""

_LEVELS = {
    OptimisationLevel.NONE: onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL,
    OptimisationLevel.BASIC: onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    OptimisationLevel.EXTENDED: onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
    OptimisationLevel.ALL: onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL,
}


def session_options(
    threads: int = 1,
    level: OptimisationLevel = OptimisationLevel.NONE,
    *,
    prepack: bool = True,
    spinning: bool = False,
) -> onnxruntime.SessionOptions:
    """Returns the session options of every session of a mesh. ONNX Runtime logs nothing; errors are raised.

    Args:
        threads: Threads within an operator; operators run one after another.
        level: Optimisation at load; `none` for stages of exact mode, whose graph was optimised before the cut.
        prepack: Whether kernels keep packed copies of weights. If not, weights in files are only mapped.
        spinning: Whether threads within an operator spin while they wait: lower latency, but their cores are busy
            for every process that shares them.
    """
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = _LEVELS[level]
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    # A memory pattern allocates a whole run in addition to the arena of the run before: twice the memory, and no
    # faster (measured on CNNs and transformers).
    options.enable_mem_pattern = False
    options.log_severity_level = _FATAL
    options.add_session_config_entry("session.intra_op.allow_spinning", "1" if spinning else "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    if not prepack:
        options.add_session_config_entry("session.disable_prepacking", "1")
    return options


def make_session(
    model: Path,
    *,
    threads: int = 1,
    providers: Sequence[str] = (CPU,),
    level: OptimisationLevel = OptimisationLevel.NONE,
    prepack: bool = True,
    spinning: bool = False,
) -> onnxruntime.InferenceSession:
    """Creates an ONNX Runtime session.

    Args:
        model: The model file.
        threads: Threads within an operator.
        providers: ONNX Runtime execution providers, best first. A session that fell back to the CPU instead of one
            of them is an error.
        level: Optimisation at load; see `session_options`.
        prepack: See `session_options`.
        spinning: See `session_options`.

    Raises:
        Unsatisfiable: A provider is not built into this ONNX Runtime or found no device (FAILED_PRECONDITION).
        InvalidModel: ONNX Runtime cannot load the model (INVALID_ARGUMENT).
    """
    missing = set(providers) - set(onnxruntime.get_available_providers())
    if missing:
        raise Unsatisfiable(f"this ONNX Runtime lacks {', '.join(sorted(missing))}")
    try:
        session = onnxruntime.InferenceSession(
            str(model),
            session_options(threads, level, prepack=prepack, spinning=spinning),
            providers=list(providers),
        )
    except Exception as error:  # ONNX Runtime's errors share no base class of their own
        raise InvalidModel(f"ONNX Runtime cannot load '{model.name}': {error_reason(error)}") from error
    # A failure on a device is an error; it must not be repeated on the CPU.
    session.disable_fallback()
    unused = set(providers) - set(session.get_providers())
    if unused:
        raise Unsatisfiable(f"{', '.join(sorted(unused))} found no device; got {session.get_providers()}")
    return session


class StageSession:
    """A loaded partition: input tensors in, output tensors out. `run` is thread-safe.

    Args:
        model: A partition's folder, or a model file.
        threads: Threads within an operator.
        providers: ONNX Runtime execution providers, best first.
        level: Optimisation at load; none for partitions of a model that was cut in exact mode.
        prepack: See `session_options`.
        spinning: See `session_options`.
        device: ONNX Runtime's name of the device whose memory outputs may stay in, such as `cuda`; empty: host memory only.
        staging: Pinned memory that copies to and from the device pass through; None: unpinned memory.

    Raises:
        Unsatisfiable: A provider is not available (FAILED_PRECONDITION).
        InvalidModel: ONNX Runtime cannot load the model (INVALID_ARGUMENT).
    """

    def __init__(
        self,
        model: Path,
        *,
        threads: int = 1,
        providers: Sequence[str] = (CPU,),
        level: OptimisationLevel = OptimisationLevel.NONE,
        prepack: bool = True,
        spinning: bool = False,
        device: str = "",
        staging: Staging | None = None,
    ) -> None:
        path = model / "model.onnx" if model.is_dir() else model
        self._session = make_session(
            path, threads=threads, providers=providers, level=level, prepack=prepack, spinning=spinning
        )
        self.device = device
        self._staging = staging
        self.inputs: tuple[TensorSpec, ...] = tuple(map(_spec, self._session.get_inputs()))
        self.outputs: tuple[TensorSpec, ...] = tuple(map(_spec, self._session.get_outputs()))
        self._input_names = frozenset(spec.name for spec in self.inputs)
        self._datatypes = {spec.name: Datatype(spec.datatype) for spec in (*self.inputs, *self.outputs)}
        self._buffers = OutputBuffers({spec.name: Datatype(spec.datatype) for spec in self.outputs})
        self._arena = ArenaShrinkage()
        self._takes_strings = any(spec.datatype == Datatype.BYTES for spec in self.inputs)

    @property
    def providers(self) -> tuple[str, ...]:
        """The execution providers that the session uses."""
        return tuple(self._session.get_providers())

    @property
    def feed_allocator(self) -> Allocate | None:
        """Allocator of memory in which inputs should be concatenated; None: any memory."""
        return None if self._staging is None else self._staging.allocate

    def run(
        self,
        feeds: Mapping[str, Tensor],
        outputs: Collection[str] | None = None,
        allocator: Allocate | None = None,
        *,
        keep_on_device: bool = False,
    ) -> dict[str, Tensor]:
        """Runs the stage once.

        Args:
            feeds: A tensor for each input, by name; others are ignored. Used in place where aligned (see
                `runtime_values.KERNEL_ALIGNMENT`), never modified.
            outputs: Names of the outputs to compute; None for all.
            allocator: Allocator for large outputs; those with a predictable shape are computed in its memory.
            keep_on_device: Whether outputs stay in the device's memory, for another stage on the same device.

        Returns:
            The outputs by name: views that keep their memory alive.

        Raises:
            InvalidRequest: An input is missing, of another datatype, or malformed (INVALID_ARGUMENT).
            ModelRunFailed: ONNX Runtime refused these inputs (INVALID_ARGUMENT).
        """
        wanted = [spec.name for spec in self.outputs if outputs is None or spec.name in outputs]
        for name in self._input_names:
            if name not in feeds:
                raise InvalidRequest(f"input '{name}' is missing")
            if feeds[name].datatype is not self._datatypes[name]:
                raise InvalidRequest(
                    f"input '{name}': expected {self._datatypes[name]}, got {feeds[name].datatype}"
                )
        # ONNX Runtime would return a view of the caller's memory.
        passed_through = {name: feeds[name] for name in wanted if name in self._input_names}
        wanted = [name for name in wanted if name not in passed_through]
        if not wanted:
            return passed_through
        if self._takes_strings and all(self._has_numpy_type(name) for name in wanted):
            computed = self._run_arrays(feeds, wanted)
            if computed is not None:
                return passed_through | computed
        # `values` keeps the bound memory alive until the run ends.
        values = {name: self._bindable(feeds[name]) for name in self._input_names}
        if keep_on_device and self.device:
            kept = [name for name in wanted if self._datatypes[name] in NUMPY]
            return passed_through | self._run_bound(values, wanted, {}, kept)
        if allocator is None:
            allocator = self.feed_allocator
        if allocator is None:
            return passed_through | self._run_bound(values, wanted, {})
        input_shapes = tuple(feeds[name].shape for name in self._input_names)
        buffers = self._buffers.allocate(input_shapes, wanted, allocator)
        try:
            computed = self._run_bound(values, wanted, buffers)
        except ModelRunFailed:
            if not buffers:
                raise
            computed = self._run_bound(values, wanted, {})
            self._buffers.handle_refusal(buffers, computed)
        self._buffers.observe(input_shapes, computed)
        return passed_through | computed

    def _bindable(self, tensor: Tensor) -> onnxruntime.OrtValue | DeviceTensor:
        """Returns an input in a form that can be bound."""
        if isinstance(tensor, DeviceTensor) and tensor.memory.device == self.device:
            return tensor
        if self._staging is not None and tensor.byte_size >= MIN_STAGED_BYTES:
            tensor = Tensor(tensor.name, tensor.datatype, tensor.shape, self._staging.copy_in(tensor.data))
        return to_runtime(tensor)

    def _run_bound(
        self,
        values: Mapping[str, onnxruntime.OrtValue | DeviceTensor],
        wanted: list[str],
        buffers: Mapping[str, OutputBuffer],
        kept: Collection[str] = (),
    ) -> dict[str, Tensor]:
        # A binding: `run_with_ort_values` spends some 40 us for each value on checking it against the session.
        binding = self._session.io_binding()
        try:
            for name, value in values.items():
                if isinstance(value, DeviceTensor):
                    code = ELEMENT_TYPE_OF[value.datatype]
                    binding.bind_input(name, self.device, 0, code, value.shape, value.address)
                else:
                    binding.bind_ortvalue_input(name, value)
            for name in wanted:
                if name in buffers:
                    buffers[name].bind(binding)
                elif name in kept:
                    binding.bind_output(name, self.device)
                else:
                    binding.bind_output(name)
            self._session.run_with_iobinding(binding, self._arena.run_options())
        except Exception as error:  # ONNX Runtime's errors share no base class of their own
            raise ModelRunFailed(error_reason(error)) from error
        computed = {}
        for name, value in zip(wanted, binding.get_outputs(), strict=True):
            computed[name] = (
                on_device(name, value, self.device, self._session)
                if name in kept and self._is_on_device(value)
                else self._on_host(name, value, buffers.get(name))
            )
        return computed

    def _is_on_device(self, value: onnxruntime.OrtValue) -> bool:
        """Whether a value is in the device's memory, as requested, and not empty."""
        on_host: bool = value.device_name() == "cpu"
        return on_host == (self.device == "cpu") and bool(value.tensor_size_in_bytes())

    def _on_host(self, name: str, value: onnxruntime.OrtValue, buffer: OutputBuffer | None) -> Tensor:
        if buffer is not None and (tensor := buffer.tensor(value)) is not None:
            return tensor
        tensor = from_runtime(name, value, self._session)
        if tensor.byte_size >= MIN_BOUND_BYTES:
            self._arena.observe_output(tensor.byte_size)
        return tensor

    def _run_arrays(self, feeds: Mapping[str, Tensor], wanted: list[str]) -> dict[str, Tensor] | None:
        """Runs a stage with string inputs as arrays of text, which is faster than to bind them.

        Returns:
            The outputs by name; None where a string is not UTF-8, so that all must be bound.
        """
        values: dict[str, Any] = {}
        for name in self._input_names:
            text = self._datatypes[name] is Datatype.BYTES
            values[name] = to_text(feeds[name]) if text else to_runtime(feeds[name])
            if values[name] is None:
                return None
        try:
            results = self._session.run(wanted, values)
        except UnicodeDecodeError:
            return None
        except Exception as error:  # ONNX Runtime's errors share no base class of their own
            raise ModelRunFailed(error_reason(error)) from error
        return {
            name: from_text(name, array)
            if self._datatypes[name] is Datatype.BYTES
            else from_array(name, array, self._datatypes[name])
            for name, array in zip(wanted, results, strict=True)
        }

    def _has_numpy_type(self, name: str) -> bool:
        return self._datatypes[name] in NUMPY or self._datatypes[name] is Datatype.BYTES


def _spec(argument: onnxruntime.NodeArg) -> TensorSpec:
    datatype = datatype_of_runtime_type(argument.type)
    if datatype is None:
        raise InvalidModel(f"'{argument.name}' is a {argument.type}, which cannot be sent")
    # ONNX Runtime reports [] for a scalar and for an unknown rank: the shape is unknown then.
    shape = (
        tuple(dim if isinstance(dim, int) and dim >= 0 else -1 for dim in argument.shape)
        if argument.shape
        else None
    )
    return TensorSpec(argument.name, datatype.value, shape)
